from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import make_run

from floss_sim.analysis.recorded_runs import find_runs, read_run
from floss_sim.errors import RecordError
from floss_sim.fingerprints import fingerprint
from floss_sim.records.schema import RECORD_VERSION

ROWS = [(None, 100, 10, 1.0), (0.5, 300, 30, 2.0), (0.75, 800, 20, 4.0)]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a-s0", "a-s1", "deep/b-s0"):
        make_run(tmp_path / "runs" / name, ROWS)
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["runs/a-s0"], ["a-s0"]),
        (["runs/a-s1", "runs/a-s0"], ["a-s1", "a-s0"]),
        (["runs"], ["a-s0", "a-s1", "deep/b-s0"]),
        (["runs/"], ["a-s0", "a-s1", "deep/b-s0"]),
        (["runs/a-*"], ["a-s0", "a-s1"]),
        (["runs/*"], ["a-s0", "a-s1", "deep/b-s0"]),  # what is no run folder is passed over
        (["runs/**/b-*"], ["deep/b-s0"]),
        (["runs/a-s0", "runs/a-*", "runs/../runs/a-s0"], ["a-s0", "a-s1"]),
    ],
)
def test_folders_and_patterns_name_runs_each_once(runs: Path, arguments, found):
    assert [p.resolve() for p in find_runs(arguments)] == [runs / name for name in found]


def test_an_absolute_pattern(runs: Path):
    assert find_runs([f"{runs}/a-*"]) == [runs / "a-s0", runs / "a-s1"]


def test_a_folder_with_brackets_in_its_name_is_no_pattern(runs: Path):
    make_run(runs / "c[1]", ROWS)
    assert find_runs(["runs/c[1]"]) == [Path("runs/c[1]")]


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("runs/notes.txt", "runs/notes.txt is not a run folder and contains none"),
        ("empty", "empty is not a run folder and contains none"),
        ("runs/nothing", "no run folder at runs/nothing"),
        ("runs/z-*", "no run folder at runs/z-*"),
        ("runs/n*.txt", "no run folder at runs/n*.txt"),
    ],
)
def test_what_names_no_run_is_refused(runs: Path, argument: str, says: str):
    Path("empty").mkdir()
    with pytest.raises(RecordError) as error:
        find_runs(["runs/a-s0", argument])
    assert str(error.value) == says


def test_a_run_as_read(tmp_path: Path):
    run = read_run(make_run(tmp_path / "run", ROWS, method="dense", seed=7, test={3: 0.625}))
    assert (run.method, run.seed, run.last_round) == ("dense", 7, 3)
    assert list(run.curve) == [2, 3]
    assert [run.curve[n]["total_bytes"] for n in (2, 3)] == [440, 1260]
    assert run.settings["timing"] == "0123456789abcdef"
    assert "seed" not in run.settings
    assert run.test_accuracy(3) == 0.625
    assert run.test_accuracy(2) is None


def test_bytes_of_a_payload_are_the_mean_of_the_first_rounds(tmp_path: Path):
    run = read_run(make_run(tmp_path / "run", ROWS))
    assert run.payload_bytes("down", 1) == 50
    assert run.payload_bytes("down", 2) == 100
    assert run.payload_bytes("up", 2) == (2 + 8 + 7 + 23) / 4
    assert run.payload_bytes("up", 0) is None


def test_the_seed_alone_leaves_the_configuration(tmp_path: Path):
    changes = [{}, {"seed": 3}, {"rank": 8}, {"timing": "f" * 16}]
    made = [make_run(tmp_path / str(i), ROWS, **change) for i, change in enumerate(changes)]
    one, seed, rank, timing = (read_run(path).settings_fingerprint for path in made)
    assert one == seed
    assert len({one, rank, timing}) == 3


@pytest.mark.parametrize("trajectory", [None, [], {}, {"task": "t", "seed": 0}])
def test_a_description_without_a_trajectory_is_refused(tmp_path: Path, trajectory):
    said = {
        "record_version": RECORD_VERSION,
        "fingerprint": fingerprint(trajectory),
        "trajectory": trajectory,
    }
    (tmp_path / "run.json").write_text(json.dumps(said))
    with pytest.raises(RecordError, match=r"run\.json does not say what was run"):
        read_run(tmp_path)
