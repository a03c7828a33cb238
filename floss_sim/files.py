"""Atomic replacement of files and folders: readers see the old content or the new, never a mix.

New content is written beside the old one, under a hidden name that ends in the writing process'
number, and then renamed. If writing fails, the old content stays. A temporary file of a process
that was killed is removed by the next writer of the same path.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from floss_sim.errors import RecordError


def temporary_name(name: str) -> str:
    """Return the name under which this process writes a file before it renames the file."""
    return f".{name}.{os.getpid()}"


def is_running(process: int) -> bool:
    """Return whether a process with this number runs, another user's included."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of a text file.

    Raises:
        RecordError: The file cannot be written.
    """
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield the path to write the new content to; it replaces the file when the block ends.

    Raises:
        RecordError: The file cannot be written.
    """
    with _replacement(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield the path to write the new folder to; it replaces the folder when the block ends.

    Raises:
        RecordError: The folder cannot be written.
    """
    with _replacement(path) as temporary:
        yield temporary
        _open_to_umask(temporary)
        old = temporary.with_name(temporary_name(f"{path.name}.old"))
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        _remove(old)


@contextmanager
def _replacement(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a path; whatever is left there in the end is removed."""
    temporary = path.with_name(temporary_name(path.name))
    try:
        _remove_leftovers(path)
        yield temporary
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        _remove(temporary)


def _open_to_umask(folder: Path) -> None:
    """Give the files of a folder the permissions of the umask; some libraries write 0600."""
    probe = folder / f".{os.getpid()}"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of a path have left."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        number = left.name.rpartition(".")[2]
        if number.isdecimal() and not is_running(int(number)):
            _remove(left)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
