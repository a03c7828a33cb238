"""Files and folders that are replaced as a whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from floss_sim.errors import RecordError
from floss_sim.files import (
    check_file,
    check_folder,
    replace_file,
    replace_folder,
    write_atomically,
)

DEAD = 2**22 + 1  # above the largest process number of Linux


def test_a_file_is_replaced_and_takes_the_umask(tmp_path: Path):
    path = tmp_path / "plan.json"
    before = os.umask(0o027)
    try:
        write_atomically(path, "old")
        write_atomically(path, "new")
    finally:
        os.umask(before)
    assert path.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError()])
def test_what_cannot_be_written_leaves_the_old_content(tmp_path: Path, error: Exception):
    path, folder = tmp_path / "a.csv", tmp_path / "adapter"
    path.write_text("old", encoding="utf-8")
    folder.mkdir()
    (folder / "old").touch()
    shown = RecordError if isinstance(error, OSError) else ValueError
    with pytest.raises(shown), replace_file(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error
    with pytest.raises(shown), replace_folder(folder) as temporary:
        temporary.mkdir()
        (temporary / "old").write_text("half", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in folder.iterdir()] == ["old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "adapter"]


def test_only_own_files_of_a_folder_are_replaced(tmp_path: Path):
    path = tmp_path / "adapter"
    for names, own in ((("a", "b"), ()), (("a", "c"), ("a", "b", "gone", "sub", "../victim"))):
        with replace_folder(path, own) as temporary:
            temporary.mkdir()
            for name in names:
                (temporary / name).write_text(f"{name} of {names}")
        if own == ():
            (path / "NOTES.md").write_text("mine")
            (path / "sub").mkdir()
            (tmp_path / "victim").touch()
    assert {p.name for p in path.iterdir()} == {"a", "c", "NOTES.md", "sub"}
    assert (path / "a").read_text() == "a of ('a', 'c')"
    assert (path / "NOTES.md").read_text() == "mine"
    assert {p.name for p in tmp_path.iterdir()} == {"adapter"}


def test_a_link_is_not_written_through(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "adapter").symlink_to("mine")
    with pytest.raises(RecordError, match="it is a link"), replace_folder(tmp_path / "adapter"):
        pytest.fail("nothing is to be written")
    assert list((tmp_path / "mine").iterdir()) == []


def test_the_files_of_a_folder_take_the_umask(tmp_path: Path):
    before = os.umask(0o022)
    try:
        with replace_folder(tmp_path / "adapter") as temporary:
            temporary.mkdir()
            (temporary / "model.safetensors").touch(mode=0o600)
    finally:
        os.umask(before)
    (file,) = (tmp_path / "adapter").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path):
    own = [f".floss-sim-{DEAD}-a.json", f".floss-sim-{DEAD}-b.png", f".floss-sim-{os.getpid()}-c"]
    others = [
        f".floss-sim-{os.getppid()}-a.json", f".floss-sim-{os.getpid()}-now", ".a.json.backup",
        f".a.json.{DEAD}", f".floss-sim-{DEAD}", f".floss-sim-0{DEAD}-a", f"floss-sim-{DEAD}-a",
        f".floss-sim-{DEAD}-manifest.json",
    ]  # fmt: skip
    for name in own + others:
        (tmp_path / name).touch()
    os.utime(tmp_path / own[-1], (1e9, 1e9))  # of a former process with the same number
    (tmp_path / f".floss-sim-{DEAD}-adapter").mkdir()
    (tmp_path / f".floss-sim-{DEAD}-adapter" / "weights").touch()
    write_atomically(tmp_path / "a.json", "{}")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, "a.json"])


def test_files_and_folders_are_checked_before_anything_is_written(tmp_path: Path):
    (tmp_path / "old.png").write_text("old")
    (tmp_path / "folder").mkdir()
    for path in ("old.png", "new.png"):
        check_file(tmp_path / path)
    for path in ("folder", "folder/sub", "new/sub/sub", "."):
        check_folder(tmp_path / path)
    for path in ("folder", "none/a.png", "old.png/a", "x" * 250):
        with pytest.raises(RecordError, match="cannot write"):
            check_file(tmp_path / path)
    for path in ("old.png", "old.png/a", "new/" + "x" * 256):
        with pytest.raises(RecordError, match="cannot write"):
            check_folder(tmp_path / path)
    with pytest.raises(RecordError, match="cannot write /proc/x"):
        check_folder(Path("/proc/x"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "old.png"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(RecordError, match=r"cannot write .*none/a.json: No such file"):
        write_atomically(tmp_path / "none" / "a.json", "{}")
