from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_commits import ONE, OTHER, commit, describe
from made_runs import cache_test_metrics

from floss_sim.errors import RecordError, RecordLockedError
from floss_sim.fingerprints import fingerprint
from floss_sim.records import ROUNDS, TRANSFERS, RunFolder
from floss_sim.records.on_test import ModelOnTest

DESCRIPTION = describe(seed=0, rank=4)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.open(tmp_path / "deep" / "run", DESCRIPTION)


def test_every_column_says_what_it_is_and_in_which_unit():
    for schema in (ROUNDS, TRANSFERS):
        for field in schema:
            assert field.metadata[b"description"]
            if field.name.endswith("_s"):
                assert b"second" in field.metadata[b"description"]


def test_a_new_folder_holds_no_round(folder: RunFolder):
    assert folder.manifest().rounds == 0
    assert folder.record().rounds.num_rows == 0


def test_commits_append_and_read_back_in_order(folder: RunFolder):
    commit(folder, range(1, 4))
    commit(folder, range(4, 6))
    again = RunFolder.read(folder.path)
    assert again.record().rounds["round"].to_pylist() == [1, 2, 3, 4, 5]
    assert again.record().transfers["sequence"].to_pylist() == [0, 1, 2, 3, 4]
    assert again.record().rounds.schema.equals(ROUNDS)
    assert again.snapshot().version == 5
    assert again.snapshot().tensors["P"].tolist() == [5, 5, 5]
    assert (again.model(3), again.model(5)) == (b"model3", b"model5")


def test_evaluated_rounds_carry_cumulative_bytes(folder: RunFolder):
    commit(folder, range(1, 4))
    assert folder.record().evaluated()["total_bytes"].to_pylist() == [11, 22, 33]


def test_only_the_newest_checkpoint_stays(folder: RunFolder):
    commit(folder, range(1, 2))
    commit(folder, range(2, 3))
    assert len(list(folder.path.glob("*.safetensors"))) == 1


def test_rows_of_another_timing_replace_the_tables(folder: RunFolder):
    commit(folder, range(1, 3), timing=ONE)
    commit(folder, range(1, 4), timing=OTHER)
    assert folder.record().rounds["round"].to_pylist() == [1, 2, 3]


def test_what_no_manifest_names_is_ignored_and_swept_by_the_next_writer(folder: RunFolder):
    commit(folder, range(1, 3))
    stray = folder.path / "rounds-000009-deadbeef.parquet"
    stray.write_bytes(b"half a file")
    (folder.path / ".floss-sim-123-manifest.json").write_text("{")
    assert folder.record().rounds.num_rows == 2
    with folder.lock():
        assert not stray.exists()
    assert {p.name for p in folder.path.iterdir() if p.name.startswith(".")} == set()
    assert folder.record().rounds.num_rows == 2


def test_another_run_is_refused_and_the_difference_named(folder: RunFolder):
    other = describe(seed=1, rank=4)
    with pytest.raises(RecordError, match="different: seed"):
        RunFolder.open(folder.path, other)


def test_a_folder_of_other_things_is_refused_untouched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RecordError, match="contains no run"):
        RunFolder.open(tmp_path, DESCRIPTION)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_refused(tmp_path: Path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RecordError, match="cannot create"):
        RunFolder.open(tmp_path / "run", DESCRIPTION)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rounds": "many"}', "\x00"])
def test_a_damaged_manifest_is_an_error_that_names_it(folder: RunFolder, content: str):
    (folder.path / "manifest.json").write_text(content)
    with pytest.raises(RecordError, match=r"manifest\.json"):
        folder.manifest()


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_table_is_an_error(folder: RunFolder, damage: str):
    commit(folder, range(1, 3))
    (part,) = folder.path.glob("rounds-*.parquet")
    part.unlink() if damage == "missing" else part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(RecordError, match=r"rounds-000002-01234567\.parquet"):
        folder.record()


def test_a_damaged_checkpoint_is_an_error(folder: RunFolder):
    commit(folder, range(1, 3))
    (checkpoint,) = folder.path.glob("*.safetensors")
    checkpoint.write_bytes(b"\xff" * 20)
    with pytest.raises(RecordError, match="checkpoint"):
        folder.snapshot()


def test_a_second_writer_is_refused_while_the_first_holds_the_lock(folder: RunFolder):
    code = (
        "import sys; from pathlib import Path; from floss_sim.records.folder import RunFolder\n"
        "with RunFolder.read(Path(sys.argv[1])).lock():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RecordLockedError, match="another process"), folder.lock():
            pass
        other.communicate("")
    with folder.lock():
        pass


def test_a_run_of_another_record_version_is_refused(folder: RunFolder):
    (folder.path / "run.json").write_text(json.dumps({**DESCRIPTION, "record_version": 99}))
    with pytest.raises(RecordError, match="record version"):
        RunFolder.read(folder.path)


def test_a_fingerprint_ignores_key_order_and_nothing_else():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    assert fingerprint({"a": 1}) != fingerprint({"b": 1})


def test_test_metrics_are_cached_by_round(folder: RunFolder):
    assert folder.test_metrics(3) is None
    cache_test_metrics(folder, 3, {"accuracy": 0.25})
    cache_test_metrics(folder, 4, {"accuracy": 0.5})
    assert folder.test_metrics(3) == {"accuracy": 0.25}
    assert folder.test_metrics(4) == {"accuracy": 0.5}


def on_test(right: list[bool]) -> ModelOnTest:
    return ModelOnTest(sum(right) / len(right), 1.0, np.array(right))


def test_models_are_measured_on_test_once_all_in_one_call(folder: RunFolder):
    for number in range(1, 6):
        commit(folder, range(number, number + 1))
    calls: list[list[bytes]] = []

    def measure(blobs):
        calls.append(list(blobs))
        return [on_test([True, True, blob == b"model3"]) for blob in blobs]

    assert [m.right.tolist() for m in folder.ensure_on_test([2, 3], measure)] == [
        [True, True, False],
        [True, True, True],
    ]
    again = RunFolder.read(folder.path).ensure_on_test([2, 3, 5], measure)
    assert [m.right.tolist()[2] for m in again] == [False, True, False]
    assert calls == [[b"model2", b"model3"], [b"model5"]]
    assert folder.test_metrics(2) == {"accuracy": 2 / 3, "loss": 1.0}
    assert sorted(folder.models_on_test([1, 2, 3, 5])) == [2, 3, 5]


def test_metrics_without_single_predictions_are_measured_again(folder: RunFolder):
    for number in (1, 2):
        commit(folder, range(number, number + 1))
    cache_test_metrics(folder, 2, {"accuracy": 0.5, "loss": 1.0})
    assert folder.models_on_test([2]) == {}
    (made,) = folder.ensure_on_test([2], lambda blobs: [on_test([True, False])])
    assert made.right.tolist() == [True, False]
    assert folder.models_on_test([2])[2].accuracy == 0.5


def test_a_damaged_model_is_not_tested(folder: RunFolder):
    for number in (1, 2):
        commit(folder, range(number, number + 1))
    (folder.path / "model-000002.floss").write_bytes(b"modelX")
    with pytest.raises(RecordError) as error:
        RunFolder.read(folder.path).ensure_on_test([1, 2], lambda blobs: [])
    assert "model-000002.floss is damaged (its SHA-256 differs)" in str(error.value)
    assert "\n" not in str(error.value)


def test_single_predictions_that_contradict_their_accuracy_are_refused(folder: RunFolder):
    cache_test_metrics(folder, 3, {**on_test([True, False]).to_json(), "accuracy": 0.9})
    with pytest.raises(RecordError, match=r"test.json is damaged \(round 3: the accuracy 0.9"):
        folder.test_metrics(3)


def test_a_folder_without_a_run_names_those_below(tmp_path: Path):
    with pytest.raises(RecordError, match=r"no run\.json\)$"):
        RunFolder.read(tmp_path)
    for name in ("b", "a", "c"):
        RunFolder.open(tmp_path / "runs" / name, DESCRIPTION)
    for above in (tmp_path, tmp_path / "runs"):
        with pytest.raises(RecordError, match=r"runs/a is a run folder, and 2 more$"):
            RunFolder.read(above)


def test_a_run_that_is_refused_before_its_first_commit_leaves_nothing(tmp_path: Path):
    path = tmp_path / "new" / "deep" / "run"
    with pytest.raises(RecordError, match="refused"), RunFolder.open(path, DESCRIPTION).lock():
        raise RecordError("refused")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mine.txt", "host.jsonl", "diverged.json"])
def test_what_holds_more_than_a_refused_run_stays(tmp_path: Path, name: str):
    path = tmp_path / "new" / "run"
    with pytest.raises(RecordError, match="refused"), RunFolder.open(path, DESCRIPTION).lock():
        (path / name).touch()
        raise RecordError("refused")
    assert {p.name for p in path.iterdir()} == {name, "run.json", "run.lock"}


def test_a_refused_run_that_was_there_before_stays(tmp_path: Path):
    path = tmp_path / "run"
    RunFolder.open(path, DESCRIPTION)
    with pytest.raises(RecordError, match="refused"), RunFolder.open(path, DESCRIPTION).lock():
        raise RecordError("refused")
    assert (path / "run.json").exists()
    folder = RunFolder.open(tmp_path / "other", DESCRIPTION)
    with pytest.raises(RecordError, match="refused"), folder.lock():
        commit(folder, range(1, 3))
        raise RecordError("refused")
    assert RunFolder.read(tmp_path / "other").record().rounds.num_rows == 2


def test_an_own_folder_stays_when_its_run_is_refused(tmp_path: Path):
    (tmp_path / ".notes").touch()
    with pytest.raises(RecordError, match="refused"), RunFolder.open(tmp_path, DESCRIPTION).lock():
        raise RecordError("refused")
    assert [p.name for p in tmp_path.iterdir()] == [".notes"]


def test_a_run_that_another_process_removed_again_begins_anew(tmp_path: Path):
    first = RunFolder.open(tmp_path / "run", DESCRIPTION)
    second = RunFolder.open(tmp_path / "run", DESCRIPTION)
    with pytest.raises(RecordError, match="refused"), first.lock():
        raise RecordError("refused")
    with second.lock():
        commit(second, range(1, 3))
    assert RunFolder.read(tmp_path / "run").record().rounds.num_rows == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_folder_name_need_not_be_utf_8(tmp_path: Path):
    path = tmp_path / os.fsdecode(b"r\xff")
    folder = RunFolder.open(path, DESCRIPTION)
    with folder.lock():
        commit(folder, range(1, 3))
        commit(folder, range(3, 5))
        cache_test_metrics(folder, 4, {"accuracy": 0.5})
    again = RunFolder.read(path)
    assert again.check(anew=True).rounds == 4
    assert again.record().rounds.num_rows == 4
    assert again.snapshot().version == 4
    assert again.model(4) == b"model4"
