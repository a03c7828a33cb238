"""Leftovers of an interrupted commit in a run folder, and a folder that has lost its manifest."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from floss_sim.files import is_leftover, remove
from floss_sim.records import file_names


def delete_leftovers(folder: Path, named: Collection[str]) -> None:
    """Delete a run's own files that its manifest does not name; an unfinished manifest last.

    Temporary files of pictures and folders of adapters are deleted if their writer has ended. Files
    with other names are never touched. The caller must hold the folder's lock.

    Args:
        folder: Run folder.
        named: Names of the committed files.
    """
    stale = [path for path in folder.iterdir() if _is_stale(path, named)]
    for path in sorted(stale, key=lambda path: file_names.is_unfinished_manifest(path.name)):
        if file_names.is_data(path.name):
            path.unlink(missing_ok=True)
        else:
            remove(path)


def _is_stale(path: Path, named: Collection[str]) -> bool:
    if file_names.is_data(path.name):
        return path.name not in named
    if file_names.is_temporary(path.name):
        return not file_names.is_written_elsewhere(path.name)
    return is_leftover(path)


def holds_leftovers(folder: Path) -> bool:
    """Return whether a process that has ended left temporary files in a folder."""
    with suppress(OSError):
        return any(map(is_leftover, folder.glob(".floss-sim-*")))
    return False


def file_without_manifest(folder: Path) -> str:
    """Return a file of a finished commit in a folder that has lost its manifest, or no text.

    A commit renames its files while the manifest has its temporary name, so that an interrupted
    first commit leaves an unfinished manifest.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if file_names.MANIFEST in names or any(map(file_names.is_unfinished_manifest, names)):
        return ""
    return min(filter(file_names.is_data, names), default="")
