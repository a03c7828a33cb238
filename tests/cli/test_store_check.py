"""``floss-plan store check``, and searches beside damaged runs."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import commands
import pytest
from damage import contents, flip_bit

from floss_sim.records.file_checks import FileSum
from planner.execution.curve_store import store_checks

PLAN = [
    "floss-plan", "--budget", "3-dense-rounds", "--upload-ratio", "16", "--ranks", "1,2",
    "--down-densities", "1", "--up-densities", "1/16", "--reference-rank", "2", "--max-rounds",
    "3", "--workers", "1", "--json",
]  # fmt: skip
SEARCH = [*PLAN, "--effort", "1", "--out", "plan"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store and a plan."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("sys.argv", [*SEARCH, "--store", str(home / "store")])
        with pytest.raises(SystemExit) as stop:
            commands._MAINS["floss-plan"]()
        assert stop.value.code == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOSS_SIM_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture
def call(monkeypatch, capfd, home: Path):
    return lambda *words: commands.call(monkeypatch, capfd, *words)


def damaged_run(home: Path) -> Path:
    """Flip a bit in the rounds of the run that the plan recommends."""
    (run, *_) = sorted(path.parent for path in (home / "store").glob("*/test.json"))
    flip_bit(min(run.glob("rounds-*")), random.Random(4))
    return run


def test_a_whole_store_is_verified(call, home: Path):
    before = contents(home)
    code, out, err = call("floss-plan", "store", "check")
    assert (code, err) == (0, "")
    count = len(list((home / "store").glob("*/run.json")))
    assert out == f"{home / 'store'}: {count} runs, {count} verified, 0 damaged\n"
    assert contents(home) == before


def test_a_damaged_run_stops_a_search_until_it_is_set_aside(call, home: Path):
    run, before = damaged_run(home), contents(home)
    for words in (SEARCH, ["floss-plan", "apply", "plan"]):
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        err = err.splitlines(keepends=True)[-1]  # the progress stands before it
        assert err.startswith("floss-plan: ")
        assert "its SHA-256 differs" in err
        assert err.endswith(
            f"`floss-plan store check {home / 'store'} --quarantine` sets it aside\n"
        )
        assert contents(home) == before
    code, out, _ = call(*PLAN, "--effort", "0")
    assert code == 0
    assert json.loads(out)["answers"][0]["skipped"] == 1
    code, out, err = call("floss-plan", "store", "check", "--json")
    assert code == 2
    assert "1 of" in err
    assert "--quarantine sets them aside" in err
    found = json.loads(out)
    assert (found["damaged"], found["unchecked"]) == (1, 0)
    assert [r["run"] for r in found["runs"] if r["state"] == "damaged"] == [str(run)]
    code, out, err = call("floss-plan", "store", "check", str(home / "store"), "--quarantine")
    assert (code, err) == (0, "")
    assert f"moved to {home / 'store' / 'quarantine' / run.name}" in out
    plan = json.loads((home / "plan" / "plan.json").read_text())
    code, out, err = call(*SEARCH)
    assert code == 0, err
    again = json.loads(out)
    assert again["effort"].pop("trained_now_rounds") > 0
    assert again["effort"].pop("trained_now_runs") == 1
    for key in ("trained_now_rounds", "trained_now_runs"):
        del plan["effort"][key]
    assert again == plan
    assert (run / "manifest.json").exists()


def test_a_run_folder_is_no_store(call, home: Path):
    run = min((home / "store").glob("*/run.json")).parent
    before = contents(home)
    for words in ([], ["--quarantine"], ["--json"]):
        code, out, err = call("floss-plan", "store", "check", str(run), *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "is a run folder, not a store" in err
        assert f"store check {run.parent}" in err
    assert contents(home) == before


def test_what_killed_searches_left_is_removed(call, home: Path):
    left = [home / "store" / name for name in ("", "cores", "quarantine")]
    left += [path.parent for path in (home / "store").glob("*/run.json")]
    left = [folder / ".floss-sim-999999999-x.json" for folder in left if folder.is_dir()]
    assert len(left) > 2
    for path in left:
        path.touch()
    store_checks.cache_clear()  # as another process
    assert call(*PLAN, "--effort", "0")[0] == 0
    assert [path for path in left if path.exists()] == []


def test_a_folder_that_cannot_be_written_is_refused_before_the_search(
    call, home: Path, monkeypatch
):
    monkeypatch.setattr("planner.calls.make_plan", lambda *words: pytest.fail("it searched"))
    (home / "taken" / "accuracy.png").mkdir(parents=True)
    before = sorted(home.rglob("*"))
    for out in ("/proc/x", "plan/plan.json", "plan/plan.json/x", "taken", "new/" + "x" * 256):
        code, shown, err = call(*SEARCH[:-1], out)
        assert (code, shown, err.count("\n")) == (2, "", 1), out
        assert "cannot write" in err
    assert sorted(home.rglob("*")) == before


def test_wrong_words_are_refused_in_one_line(call, home: Path):
    for words in (["store"], ["store", "check", "nowhere"], ["store", "chek"]):
        code, out, err = call("floss-plan", *words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
    assert not (home / "nowhere").exists()


def test_the_store_remembers_what_was_verified(call, home: Path, monkeypatch):
    for path in (home / "store").rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert call(*PLAN, "--effort", "0")[0] == 0
    monkeypatch.setattr(FileSum, "of", lambda *words: pytest.fail("a file was read again"))
    store_checks.cache_clear()  # as another process
    assert call(*PLAN, "--effort", "0")[0] == 0
    assert len((home / "store" / "checked.jsonl").read_text().splitlines()) >= 2
