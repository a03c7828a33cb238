from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from damage import contents, flip_bit
from made_commits import commit, describe

from floss_sim.errors import RecordError
from floss_sim.fingerprints import fingerprint
from floss_sim.records import RunFolder
from planner.execution.store_check import State, check_store


def stored(root: Path, seed: int, rounds: int = 3) -> Path:
    """Write a run under the name that the store gives it."""
    description = describe(seed=seed)
    path = root / fingerprint(description["trajectory"])[:32]
    folder = RunFolder.open(path, description)
    if rounds:
        commit(folder, range(1, rounds + 1))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    for seed in range(4):
        stored(root, seed)
    (root / "cores").mkdir()
    (root / "cores" / "0.json").write_text("{}")
    return root


def states(root: Path, **options: bool) -> dict[str, State]:
    return {run.path.name: run.state for run in check_store(root, **options)}


def damage_one(root: Path) -> Path:
    run = sorted(root.glob("?" * 32))[1]
    flip_bit(min(run.glob("model-*")), random.Random(1))
    return run


def test_a_whole_store_is_verified_and_nothing_else_is_a_run(store: Path):
    stored(store, 9, rounds=0)
    (store / ("0" * 32)).mkdir()  # a process was killed before it wrote run.json
    before = contents(store)
    found = check_store(store)
    assert [(run.state, run.rounds) for run in found].count((State.VERIFIED, 3)) == 4
    assert [(run.state, run.rounds) for run in found].count((State.VERIFIED, 0)) == 1
    assert len(found) == 5
    assert contents(store) == before


def test_damage_is_found_although_size_and_time_are_as_before(store: Path):
    assert set(states(store).values()) == {State.VERIFIED}
    run = sorted(store.glob("?" * 32))[0]
    model = min(run.glob("model-*"))
    then = model.stat().st_mtime_ns
    model.write_bytes(b"modem3")
    os.utime(model, ns=(then, then))
    found = [run for run in check_store(store) if run.state is State.DAMAGED]
    assert [(run.path.name, "SHA-256" in run.problem) for run in found] == [(run.name, True)]


def test_a_damaged_run_is_set_aside_whole(store: Path):
    run = damage_one(store)
    before, before_others = contents(run), len(contents(store))
    (damaged,) = (run for run in check_store(store, quarantine=True) if run.problem)
    assert damaged.moved_to == store / "quarantine" / run.name
    assert not run.exists()
    kept = {name.replace(str(run), str(damaged.moved_to)): b for name, b in before.items()}
    assert contents(damaged.moved_to) == kept
    assert len(contents(store)) == before_others
    assert set(states(store).values()) == {State.VERIFIED}
    shutil.copytree(damaged.moved_to, run)  # the same run, damaged again
    (damaged,) = (run for run in check_store(store, quarantine=True) if run.problem)
    assert damaged.moved_to == store / "quarantine" / f"{run.name}-2"


def test_a_damaged_run_that_is_being_written_is_not_moved(store: Path):
    run = sorted(store.glob("?" * 32))[1]
    with RunFolder.read(run).lock():
        damage_one(store)
        (damaged,) = (run for run in check_store(store, quarantine=True) if run.problem)
    assert (damaged.moved_to, "another process" in damaged.kept) == (None, True)
    assert run.exists()


@pytest.mark.parametrize("name", ["run.json", "manifest.json", "checkpoint", "rounds", "model"])
def test_a_missing_file_is_damage(store: Path, name: str):
    run = sorted(store.glob("?" * 32))[2]
    min(run.glob(f"{name}*")).unlink()
    assert [path for path, state in states(store).items() if state is State.DAMAGED] == [run.name]


def test_a_run_in_the_folder_of_another_is_damage(store: Path):
    one, other, *_ = sorted(store.glob("?" * 32))
    shutil.rmtree(one)
    shutil.copytree(other, one)
    (found,) = (run for run in check_store(store) if run.state is State.DAMAGED)
    assert found.path == one
    assert "contains another run" in found.problem


def test_a_store_that_is_not_there_is_refused_and_not_made(tmp_path: Path):
    with pytest.raises(RecordError, match="cannot read the store"):
        check_store(tmp_path / "none")
    assert not (tmp_path / "none").exists()
