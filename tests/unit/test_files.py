"""Files and folders that are replaced as a whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from floss_sim.errors import RecordError
from floss_sim.files import replace_file, replace_folder, write_atomically

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
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in folder.iterdir()] == ["old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "adapter"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path):
    path = tmp_path / "adapter"
    for name in ("first", "second"):
        with replace_folder(path) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [p.name for p in path.iterdir()] == ["second"]
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


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
    own = [f".a.json.{DEAD}", f".a.json.old.{DEAD}"]
    others = [f".a.json.{os.getppid()}", ".a.json.backup", "a.json.1", f".b.json.{DEAD}"]
    for name in own + others:
        (tmp_path / name).touch()
    write_atomically(tmp_path / "a.json", "{}")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, "a.json"])


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(RecordError, match=r"cannot write .*none/a.json: No such file"):
        write_atomically(tmp_path / "none" / "a.json", "{}")
