"""``--framework`` of run, replay, estimate and plans: bytes, seconds, and the floor in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import call
from made_runs import make_run

from floss_sim.network.frameworks.law import load_framework

NAME = "flower-1.42"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "first", [(0.5, 4000, 4000, 1.0)])
    return tmp_path


def test_estimate_says_the_floor(home: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    words = ("floss-sim", "estimate", "--rounds", "3", "--framework", NAME)
    code, out, _ = call(monkeypatch, capfd, *words)
    assert code == 0
    told = " ".join(out.split())
    assert "are the floor of flower-1.42: its polls and process starts." in told
    _, plain, _ = call(monkeypatch, capfd, *words[:-2], "--json")
    _, made, _ = call(monkeypatch, capfd, *words, "--json")
    first, second = json.loads(plain), json.loads(made)
    law = load_framework(NAME)
    for way, more in (("download", law.down_bytes), ("upload", law.up_bytes)):
        assert second[way]["message"] - first[way]["payload"] == pytest.approx(more + 28)
    assert second["round_shares"]["framework"] > 0.1
    assert second["run_time"]["median_s"] > first["run_time"]["median_s"] + 3 * law.start / 2


def test_an_unknown_framework_is_refused_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    for words in (
        ("floss-sim", "estimate", "--framework", "flower-0"),
        ("floss-sim", "run", "--framework", "flower-0"),
        ("floss-sim", "replay", "runs/first", "--network", "lte", "--framework", "flower-0"),
        ("floss-plan", "--framework", "flower-0"),
    ):
        code, _, err = call(monkeypatch, capfd, *words)
        assert code == 2, words
        assert "unknown framework 'flower-0'; valid: flower-1.39, flower-1.42" in err
        assert err.count("\n") == 1
