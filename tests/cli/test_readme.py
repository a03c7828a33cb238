"""The README: a front page whose output, commands, Python and exit codes are real."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from commands import call
from places import EXPERIMENTS, REPOSITORY

from floss_sim.cli.exit_codes import ExitCode

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TABLE = README.split("## Your question")[1].split("##")[0]
COMMANDS = re.findall(r"`(floss-(?:sim|plan) [^`]+)`", TABLE)
PLAN = 'plan(Request.of("digits", "lte", budget="20MB"))'
SMALL_PLAN = (
    'plan(Request.of("digits", "lte", budget="3-dense-rounds", max_rounds=5, effort=1, '
    "candidates=grid([1], [1.0], [1.0, 0.25])), workers=1)"
)


def test_it_is_a_front_page():
    page, lines = README.split("```")[1].splitlines(), README.splitlines()
    assert page[1].startswith("digits on paper-200-20")
    assert len(page) <= 90
    assert len(lines) - len(page) <= 165


def test_its_output_is_what_the_plan_prints(monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(monkeypatch, capfd, "floss-plan", "show", str(EXPERIMENTS / "default_plan"))
    assert code == 0
    printed = "\n".join(line.rstrip() for line in out.splitlines())
    assert printed.strip() in README


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_have_these_options(command: str, monkeypatch: pytest.MonkeyPatch, capfd):
    words = shlex.split(command)
    subcommands = []
    for word in words[1:3]:
        code, _, _ = call(monkeypatch, capfd, words[0], *subcommands, word, "--help")
        if word.startswith("-") or code:
            break
        subcommands.append(word)
    code, out, _ = call(monkeypatch, capfd, words[0], *subcommands, "--help")
    assert code == 0
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", out), option


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert PLAN in code
    assert len(code.strip().splitlines()) <= 12
    small = code.replace(PLAN, SMALL_PLAN).replace("rounds=20", "rounds=2")
    exec("from planner import grid\n" + small, {})  # noqa: S102
    out = capfd.readouterr().out
    assert "RunRecord(digits, seed 0: 2 rounds" in out
    assert "digits on lte: 3-dense-rounds" in out
    assert (tmp_path / "runs" / "first" / "accuracy.png").exists()
    assert (tmp_path / "models" / "mine" / "adapter").is_dir()


def test_its_exit_codes_are_those_of_the_commands():
    table = README.split("## Exit codes")[1].split("##")[0]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert codes == [int(code) for code in ExitCode]


def test_the_error_of_the_default_plans_sizes_is_that_of_its_file():
    told = re.search(
        r"default plan is predicted ([\d.]+) % too large down and right to ([\d.]+) %", README
    )
    assert told
    plan = json.loads((EXPERIMENTS / "default_plan" / "plan.json").read_text(encoding="utf-8"))
    best, axes = plan["recommendation"], ("rank", "down_density", "up_density")
    (cost,) = (one for one in plan["costs"] if all(one[axis] == best[axis] for axis in axes))
    down, up = (
        cost[f"{way}_bytes"] / best[f"{way}_bytes_per_client_round"] - 1 for way in ("down", "up")
    )
    assert 100 * down == pytest.approx(float(told[1]), abs=0.05)
    assert abs(100 * up) <= float(told[2])
