"""Commands on run folders with a damaged file: one line, exit code 2, nothing changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import commands
import pytest
from damage import KINDS, WAYS, contents, damage

from floss_sim import RunConfig, dense, load_profile, load_task, train

COMMANDS = {
    "run": ["floss-sim", "run", "--method", "dense", "--rank", "1", "--rounds", "3", "--eval-every",
            "1", "--out", "runs/a"],
    "replay": ["floss-sim", "replay", "runs/a", "--network", "lte"],
    "account": ["floss-sim", "account", "runs/a"],
    "compare": ["floss-sim", "compare", "runs"],
    "inspect": ["floss-sim", "wire", "inspect", "runs/a"],
    "inspect model": ["floss-sim", "wire", "inspect", "runs/a/model-000001.floss"],
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two runs, and the first of them a round before."""
    home, network = tmp_path_factory.mktemp("home"), load_profile("paper-200-20")
    for name, seed, rounds in (("b", 1, 3), ("a", 0, 2), ("a", 0, 3)):
        config = RunConfig.of(load_task("digits"), dense(), rank=1, seed=seed)
        train(config, network, rounds=rounds, out=home / "runs" / name, eval_every=1)
        if rounds == 2:
            shutil.copytree(home / "runs" / "a", home / "older")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_command_takes_a_damaged_run_for_a_whole_one(
    home: Path, monkeypatch, capfd, kind: str, way: str
):
    run = home / "runs" / "a"
    if not damage(run, kind, way, home / "runs" / "b", home / "older"):
        return
    if kind == "test.json" and way in ("another round's", "deleted"):
        return  # a cache: what it lacks is measured again
    before = contents(home)
    for command, words in COMMANDS.items():
        if command == "inspect model" and not _read_with_a_model(kind, way):
            continue
        code, out, err = commands.call(monkeypatch, capfd, *words)
        assert (code, out, err.count("\n")) == (2, "", 1), (command, out, err)
        assert contents(home) == before


def _read_with_a_model(kind: str, way: str) -> bool:
    """Return whether a damage concerns one model, which is shown by the name of its file.

    An older manifest has that model's sum, and a folder without run.json is none of a run.
    """
    if (kind, way) in (("run.json", "deleted"), ("manifest", "another round's")):
        return False
    return kind in ("run.json", "manifest", "models")


def test_whole_runs_are_read(home: Path, monkeypatch, capfd):
    for words in COMMANDS.values():
        assert commands.call(monkeypatch, capfd, *words)[0] == 0


def test_a_lost_cache_of_test_metrics_is_measured_again(home: Path, monkeypatch, capfd):
    path = home / "runs" / "a" / "test.json"
    whole = path.read_bytes()
    path.unlink()
    assert commands.call(monkeypatch, capfd, *COMMANDS["run"])[0] == 0
    assert b'"3"' in path.read_bytes()
    assert b'"3"' in whole
