"""A damaged run folder is refused in one line, whatever is damaged, and nothing is changed."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from damage import KINDS, WAYS, contents, damage, flip_bit
from made_commits import ONE, OTHER, commit, describe, round_row, transfer_row
from made_runs import cache_test_metrics
from safetensors.numpy import load_file, save_file

from floss_sim.errors import RecordError
from floss_sim.protocol import Snapshot
from floss_sim.records import RunFolder
from floss_sim.records.file_checks import FileSum
from floss_sim.records.host_notes import note_host
from floss_sim.records.manifest import Manifest, manifest_text, read_manifest


def make(path: Path, **trajectory: object) -> RunFolder:
    """Return a folder of three commits, with test metrics."""
    folder = RunFolder.open(path, describe(**{"seed": 0, "rank": 4, "layout": "ab", **trajectory}))
    for numbers in (range(1, 4), range(4, 6), range(6, 9)):
        commit(folder, numbers)
        cache_test_metrics(folder, numbers[-1], {"accuracy": numbers[-1] / 10, "loss": 1.0})
        if numbers[-1] == 5:
            shutil.copytree(path, path.with_name("older"))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    make(home / "run")
    shutil.rmtree(home / "older")
    make(home / "other", seed=1)
    shutil.rmtree(home / "older")
    make(home / "again" / "run")
    (home / "again" / "older").rename(home / "older")
    return home


@pytest.fixture
def home(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def read_all(path: Path) -> None:
    folder = RunFolder.read(path)
    folder.record()
    folder.snapshot()
    for number in folder.manifest().models:
        folder.model(number)
    folder.test_metrics(8)
    folder.divergence()


def refuse(path: Path) -> str:
    """Return the one line that reading and locking a folder say; nothing changes on disk."""
    before = contents(path)
    with pytest.raises(RecordError) as read:
        read_all(path)
    with pytest.raises(RecordError), RunFolder.read(path).lock():
        pass
    assert contents(path) == before
    assert "\n" not in str(read.value)
    return str(read.value)


def test_a_whole_folder_is_read(home: Path):
    read_all(home / "run")
    assert RunFolder.read(home / "run").check().is_checked


@pytest.mark.parametrize("kind", KINDS)
def test_no_single_bit_goes_unnoticed(home: Path, kind: str):
    draw = random.Random(f"bits of {kind}")
    for path in sorted((home / "run").glob(KINDS[kind])):
        saved = path.read_bytes()
        for _ in range(12):
            flip_bit(path, draw)
            refuse(home / "run")
            path.write_bytes(saved)
    read_all(home / "run")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_exchanged_file_goes_unnoticed(home: Path, kind: str, way: str):
    if not damage(home / "run", kind, way, home / "other", home / "older"):
        assert (kind, way) == ("run.json", "another round's")  # it never changes
    elif kind == "test.json" and way in ("another round's", "deleted"):
        read_all(home / "run")  # as it was before the last measurement: it is measured again
        assert RunFolder.read(home / "run").test_metrics(8) is None
    else:
        refuse(home / "run")


def test_a_bit_of_a_diverged_run_is_noticed(home: Path):
    RunFolder.read(home / "run").note_divergence("the update of client 3 is not finite")
    assert RunFolder.read(home / "run").divergence() == "the update of client 3 is not finite"
    path, draw = home / "run" / "diverged.json", random.Random(3)
    saved = path.read_bytes()
    for _ in range(30):
        flip_bit(path, draw)
        refuse(home / "run")
        path.write_bytes(saved)
    RunFolder.read(home / "other").note_divergence("another")
    shutil.copy(home / "other" / "diverged.json", path)
    assert "another run" in refuse(home / "run")


def test_an_older_manifest_is_noticed_even_with_its_checkpoint(home: Path):
    shutil.copy(home / "older" / "manifest.json", home / "run")
    assert "checkpoint-000005" in refuse(home / "run")


def reseal(path: Path, **changes: object) -> None:
    """Change a manifest and give it a valid seal."""
    made = read_manifest(path, "")
    changed = Manifest.model_construct(**{**dict(made), **changes})
    Manifest.check, check = (lambda self: None), Manifest.check
    try:
        path.write_text(manifest_text(changed), encoding="utf-8")
    finally:
        Manifest.check = check


HOSTILE = [
    "../victim", "/etc/hostname", "sub/rounds-000008-01234567.parquet", ".", "",
    "rounds-000008-01234567.parquet/../../victim", "run.json", "my-results.parquet",
    "rounds-000008-01234567.parquet\n", "rounds-00000\u0668-01234567.parquet", "..\\victim",
    "checkpoint-000008-01234567.safetensors.bak", "host.jsonl", "manifest.json", "run.lock",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("field", ["parts", "models", "checkpoint", "files"])
def test_a_manifest_names_only_files_of_its_own(home: Path, field: str, name: str):
    victim = home / "victim"
    victim.write_text("mine")
    path = home / "run" / "manifest.json"
    made = read_manifest(path, "")
    found = FileSum.of(victim)
    changed = {
        "parts": {"parts": {**made.parts, "rounds": (*made.parts["rounds"][:-1], name)}},
        "models": {"models": {**made.models, 8: name}},
        "checkpoint": {"checkpoint": name},
        "files": {},
    }[field]
    reseal(path, **changed, files={**made.files, name: found})
    if (field, name) == ("files", "run.json"):
        assert "damaged (" in refuse(home / "run")  # another sum
    else:
        assert "manifest.json is damaged" in refuse(home / "run")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 7}, {"rounds": 9}, {"rounds": -1}, {"rounds": 0}, {"timing": OTHER},
        {"timing": ""}, {"checkpoint_version": 7}, {"models": {9: "model-000009.floss"}},
        {"models": {0: "model-000000.floss"}}, {"models": {8: "model-000005.floss"}},
        {"parts": {}}, {"record_version": 2}, {"files": {}},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_that_contradicts_its_files_is_refused(home: Path, changes: dict[str, object]):
    reseal(home / "run" / "manifest.json", **changes)
    refuse(home / "run")


@pytest.mark.parametrize("kind", ["rounds", "transfers"])
def test_rows_and_rounds_must_be_those_of_the_tables(home: Path, kind: str):
    """A writer's mistake, with valid checksums."""
    folder = RunFolder.open(home / "wrong", describe(seed=5, rank=4, layout="ab"))
    rows = {
        "rounds": [round_row(n) for n in (1, 2)],
        "transfers": [transfer_row(n) for n in (0, 1)],
    }
    rows[kind] = rows[kind][:1] if kind == "rounds" else [{**transfer_row(0), "round": 3}]
    rows["rounds"][-1]["round"] = 2
    state = Snapshot(rows["rounds"][-1]["version"], {"P": np.zeros(1, np.float32)})
    folder.commit(**rows, timing=ONE, snapshot=state, models={})
    assert f"the {kind} table has" in refuse(home / "wrong")
    path = home / "run" / "manifest.json"
    files = dict(read_manifest(path, "").files)
    name = next(name for name in files if name.startswith(kind))
    files[name] = files[name].model_copy(update={"rows": 17})
    reseal(path, files=files)
    assert "rows instead of 17" in refuse(home / "run")


ROUND_CHANGES: list[dict[str, object]] = [
    {"version": 77}, {"version": 0}, {"reports": 2}, {"reports": 0}, {"down_bytes": 1},
    {"up_bytes": 12}, {"up_bytes": 0}, {"wasted_bytes": 11}, {"wire_bytes": 11},
    {"accuracy": float("nan")}, {"accuracy": 5.0}, {"accuracy": -3.0}, {"dense_accuracy": 1.5},
]  # fmt: skip
TRANSFER_CHANGES: list[dict[str, object]] = [
    {"client": -5}, {"client": 4}, {"version": 2}, {"version": -1}, {"sent_bytes": 10},
    {"sent_bytes": -11}, {"wire_bytes": 13}, {"nbytes": -1}, {"entries": -1}, {"examples": -1},
    {"sequence": -1}, {"direction": "down"}, {"direction": "sideways"}, {"fate": "late"},
    {"fate": "eaten"}, {"round": 1}, {"round": 3},
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("rounds", one) for one in ROUND_CHANGES] + [("transfers", one) for one in TRANSFER_CHANGES],
    ids=str,
)
def test_rows_that_contradict_each_other_are_refused(tmp_path: Path, kind: str, changes):
    """A writer's mistake, with valid checksums, in the second of three rounds."""
    folder = RunFolder.open(tmp_path / "wrong", describe(seed=5, fleet={"clients": 4}))
    rows = {
        "rounds": [round_row(n, 0.5) for n in (1, 2, 3)],
        "transfers": [transfer_row(n) for n in (0, 1, 2)],
    }
    rows[kind][1] |= changes
    state = Snapshot(3, {"P": np.zeros(1, np.float32)})
    folder.commit(**rows, timing=ONE, snapshot=state, models={})
    assert "is damaged (" in refuse(tmp_path / "wrong")


@pytest.mark.parametrize("count", [0, 1, 2, 4, 6])
def test_each_round_has_its_transfers_once(tmp_path: Path, count: int):
    folder = RunFolder.open(tmp_path / "wrong", describe(seed=5))
    transfers = [transfer_row(n) for n in (0, 1, 2)] * 2
    folder.commit(
        [round_row(n) for n in (1, 2, 3)],
        sorted(transfers[:count], key=lambda row: row["sequence"]),
        timing=ONE,
        snapshot=Snapshot(3, {"P": np.zeros(1, np.float32)}),
        models={},
    )
    assert "transfers" in refuse(tmp_path / "wrong")


def test_links_that_leave_the_folder_are_refused(home: Path):
    (part,) = (home / "run").glob("rounds-000003-*")
    part.rename(home / "moved")
    part.symlink_to(home / "moved")
    assert "links to a file outside the folder" in refuse(home / "run")
    part.unlink()
    part.symlink_to(part)
    refuse(home / "run")
    part.unlink()
    os.mkfifo(part)
    assert "is not a file" in refuse_quickly(home / "run")
    part.unlink()
    part.mkdir()
    assert "is not a file" in refuse_quickly(home / "run")
    part.rmdir()
    (home / "moved").rename(home / "run" / "kept")
    part.symlink_to("kept")
    read_all(home / "run")


def refuse_quickly(path: Path) -> str:
    with pytest.raises(RecordError) as error:
        read_all(path)
    return str(error.value)


@pytest.mark.parametrize("name", ["run.json", "manifest.json", "test.json", "diverged.json"])
def test_links_of_json_files_that_leave_the_folder_are_refused(home: Path, name: str):
    RunFolder.read(home / "run").note_divergence("the update of client 3 is not finite")
    path = home / "run" / name
    path.rename(home / "run" / "kept")
    path.symlink_to("kept")
    read_all(home / "run")
    (home / "run" / "kept").rename(home / "moved")
    path.unlink()
    path.symlink_to(home / "moved")
    assert f"{name} links to a file outside the folder" in refuse(home / "run")
    if name != "manifest.json":  # without one, the tables are what is refused
        path.unlink()
        path.symlink_to(path)
        assert name in refuse(home / "run")


def test_a_note_is_not_written_through_a_link(home: Path):
    (home / "victim").write_text("mine")
    (home / "run" / "host.jsonl").symlink_to(home / "victim")
    note_host(home / "run", 0, 1, 1.0)
    assert (home / "victim").read_text() == "mine"


def test_a_link_is_replaced_and_never_written_through(home: Path):
    victim = home / "victim"
    victim.write_text("mine")
    folder = RunFolder.read(home / "run")
    for name in (f"rounds-000009-{ONE[:8]}.parquet", "model-000009.floss", "test.json"):
        (folder.path / name).unlink(missing_ok=True)
        (folder.path / name).symlink_to(victim)
    (folder.path / "test.json").unlink()
    commit(folder, range(9, 10))
    cache_test_metrics(folder, 9, {"accuracy": 0.5})
    assert victim.read_text() == "mine"
    read_all(folder.path)


def test_only_own_files_are_swept(home: Path):
    path = home / "run"
    own = [
        "rounds-000009-deadbeef.parquet", "transfers-000009-deadbeef.parquet",
        "model-000009.floss", "checkpoint-000009-deadbeef.safetensors",
        ".floss-sim-123-manifest.json", ".floss-sim-9-test.json",
        f".floss-sim-77-rounds-000009-{ONE[:8]}.parquet", ".floss-sim-999999999-run.json",
        ".floss-sim-5-diverged.json", ".floss-sim-999999999-accuracy.png",
    ]  # fmt: skip
    mine = [
        "my-results.parquet", "best.floss", "adapter.safetensors", "rounds.parquet", ".hidden",
        "rounds-000009-deadbeef.parquet.bak", "model-best.floss", "rounds-9-deadbeef.parquet",
        ".manifest.json.swp", ".manifest.json.bak", ".test.json.20240101", ".run.json.999999999",
        ".accuracy.png.2024", ".adapter.999999999", f".floss-sim-{os.getppid()}-accuracy.png",
        ".floss-sim-0-accuracy.png", ".floss-sim-accuracy.png", "floss-sim-999999999-accuracy.png",
        "notes.txt", "model-000009.floss.gz", "x-model-000009.floss",
    ]  # fmt: skip
    for name in (*own, *mine):
        (path / name).write_text("content")
    before = contents(path)
    with RunFolder.read(path).lock():
        pass
    gone = {str(path / name) for name in own}
    assert contents(path) == {name: text for name, text in before.items() if name not in gone}
    read_all(path)


def test_readers_remove_what_killed_writers_left(home: Path):
    path = home / "run"
    left = path / ".floss-sim-999999999-adapter"
    left.mkdir()
    (left / "weights").touch()
    with RunFolder.read(home / "other").lock():
        (home / "other" / ".floss-sim-999999999-accuracy.png").touch()
        RunFolder.read(home / "other")  # another process writes it
        assert (home / "other" / ".floss-sim-999999999-accuracy.png").exists()
    before = contents(home)
    RunFolder.read(path)
    assert not left.exists()
    assert contents(home) == {n: text for n, text in before.items() if str(left) not in n}
    left.touch()
    flip_bit(path / "manifest.json", random.Random(1))
    refuse(path)
    assert left.exists()  # nothing is changed in a damaged folder


def test_a_run_that_has_lost_its_manifest_does_not_begin_again(home: Path):
    path = home / "run"
    (path / "manifest.json").unlink()
    assert "no manifest.json" in refuse(path)
    with pytest.raises(RecordError, match=r"no manifest\.json"):
        RunFolder.read(path).manifest()


def test_a_first_commit_that_was_killed_begins_again(tmp_path: Path, monkeypatch):
    folder = RunFolder.open(tmp_path / "run", describe(seed=0))
    real, count = os.replace, 0

    class Killed(BaseException):
        pass

    for kills_at in range(1, 5):

        def replace(source: Path, target: Path, kills_at: int = kills_at) -> None:
            nonlocal count
            count += 1
            if count == kills_at:
                raise Killed
            real(source, target)

        count = 0
        saved = contents(tmp_path)
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr("floss_sim.records.commit_files.CommitFiles.__exit__", lambda *a: None)
        with pytest.raises(Killed):
            commit(folder, range(1, 3))
        monkeypatch.undo()
        again = RunFolder.read(tmp_path / "run")
        assert again.manifest().rounds == 0
        with again.lock():
            assert contents(tmp_path) == saved
    commit(folder, range(1, 3))
    read_all(tmp_path / "run")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_take_the_umask(tmp_path: Path, umask: int):
    before = os.umask(umask)
    try:
        make(tmp_path / "run").note_divergence("wild")
    finally:
        os.umask(before)
    for path in (tmp_path / "run").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask, path


def without_sums(path: Path) -> None:
    """Make a folder as an earlier version left it: version 2, no checksums anywhere."""
    for name in ("run.json", "manifest.json", "test.json"):
        content = json.loads((path / name).read_text())
        content = {k: v for k, v in content.items() if k not in ("sha256", "files", "run")}
        if name == "manifest.json":
            content["record_version"] = 2
        (path / name).write_text(json.dumps(content, indent=1) + "\n")
    for checkpoint in path.glob("checkpoint-*"):
        save_file(load_file(checkpoint), checkpoint)


def test_a_folder_of_an_earlier_version_gets_checksums_at_its_next_commit(home: Path):
    path = home / "run"
    kept = RunFolder.read(path)
    before, state = kept.record(), kept.snapshot()
    without_sums(path)
    old = RunFolder.read(path)
    assert not old.check().is_checked
    assert old.record().rounds.equals(before.rounds)
    assert old.record().transfers.equals(before.transfers)
    assert (old.snapshot().tensors["P"] == state.tensors["P"]).all()
    assert old.test_metrics(8) == {"accuracy": 0.8, "loss": 1.0}
    with old.lock():
        commit(old, range(9, 11))
        cache_test_metrics(old, 10, {"accuracy": 1.0})
    new = RunFolder.read(path)
    assert new.check().is_checked
    assert set(new.manifest().files) == {*new.manifest().names(), "run.json"}
    assert new.record().rounds["round"].to_pylist() == list(range(1, 11))
    assert new.test_metrics(8) == {"accuracy": 0.8, "loss": 1.0}
    for kind in ("rounds", "checkpoint", "models", "transfers", "test.json"):
        draw = random.Random(kind)
        file = min(path.glob(KINDS[kind]))
        saved = file.read_bytes()
        flip_bit(file, draw)
        refuse(path)
        file.write_bytes(saved)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_without_checksums_is_never_a_traceback(home: Path, kind: str):
    path = home / "run"
    without_sums(path)
    draw = random.Random(f"old {kind}")
    for file in sorted(path.glob(KINDS[kind])):
        saved = file.read_bytes()
        for _ in range(10):
            flip_bit(file, draw)
            try:
                read_all(path)
            except RecordError as error:
                assert "\n" not in str(error)
            file.write_bytes(saved)


@pytest.mark.parametrize("key", ["rank", "seed", "layout"])
def test_a_checkpoint_of_another_run_is_refused_by_name(home: Path, key: str):
    theirs = make(home / key / "run", **{key: {"rank": 8, "seed": 7, "layout": "cd"}[key]})
    (source,) = theirs.path.glob("checkpoint-*")
    target = home / "run" / source.name
    shutil.copy(source, target)
    assert f"another run ({key} " in refuse(home / "run")
    path = home / "run" / "manifest.json"  # even if the manifest were made for it
    reseal(path, files={**read_manifest(path, "").files, source.name: FileSum.of(target)})
    with pytest.raises(RecordError, match=rf"another run \({key} .* instead of "):
        RunFolder.read(home / "run").snapshot()
