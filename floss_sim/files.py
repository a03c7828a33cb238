"""Atomic replacement of files and folders: readers see the old content or the new, never a mix.

New content is written beside the old one, under a hidden name with the program's name and the
writing process' number (``.floss-sim-123-plan.json``), and then renamed. If writing fails, the old
content stays. Temporary files of processes that were killed are removed by the next command that
writes into the folder; nothing else is.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from floss_sim.errors import RecordError

_TEMPORARY = re.compile(r"\.floss-sim-([1-9][0-9]{0,9})-(.+)", re.DOTALL)
_KEPT = "manifest.json"  # an unfinished one tells that a run's first commit has not finished
_BEGAN_S = time.time()  # instant at which this process had written nothing yet


def temporary_name(name: str) -> str:
    """Return the name under which this process writes a file before it renames the file."""
    return f".floss-sim-{os.getpid()}-{name}"


def split_temporary(name: str) -> tuple[int, str] | None:
    """Return the writing process and the final name of a temporary name; None for other names."""
    found = _TEMPORARY.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def leaves_folder(path: Path) -> bool:
    """Return whether a path is a link to something outside its own folder.

    Raises:
        OSError: The link cannot be followed.
        RuntimeError: The link leads to itself.
    """
    return path.is_symlink() and path.resolve().parent != path.parent.resolve()


def is_running(process: int) -> bool:
    """Return whether a process with this number runs, another user's included."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def is_leftover(path: Path) -> bool:
    """Return whether a path is a temporary file or folder of a process that has ended.

    A file with this process' own number that is older than this process is one, too: in a container
    every command may have the same number.
    """
    found = split_temporary(path.name)
    if found is None:
        return False
    if found[0] != os.getpid():
        return not is_running(found[0])
    with suppress(OSError):
        return path.lstat().st_mtime < _BEGAN_S
    return False


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder; nothing else is touched.

    An unfinished manifest is left to the next reader or writer of its run folder.
    """
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 (no objects for the other names)
            found = split_temporary(name)
            if found and found[1] != _KEPT and is_leftover(folder / name):
                remove(folder / name)


def check_file(path: Path) -> None:
    """Check that a file can be written or replaced; nothing stays of the attempt.

    Raises:
        RecordError: It cannot.
    """
    with _replacement(path) as temporary:
        temporary.touch()
        if path.is_dir():
            raise RecordError(f"cannot write {path}: it is a folder")


def check_folder(path: Path) -> None:
    """Check that a folder can be written, or can be created; nothing stays of the attempt.

    Raises:
        RecordError: It cannot.
    """
    whole = path.absolute()
    places = (whole, *whole.parents)
    place = next(p for p in places if os.path.exists(p))  # noqa: PTH110 (also for too long names)
    if not place.is_dir():
        raise RecordError(f"cannot write {path}: {place} is not a folder")
    with _replacement(place / "check", path) as temporary:
        (temporary / whole.relative_to(place)).mkdir(parents=True)


def missing_folders(path: Path) -> list[Path]:
    """Return a folder and those above it that do not exist, innermost first."""
    whole = path.absolute()
    return [folder for folder in (whole, *whole.parents) if not folder.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders in the given order, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            with suppress(FileNotFoundError):
                folder.rmdir()


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
def replace_folder(path: Path, own: Collection[str] = ()) -> Iterator[Path]:
    """Yield the path to write a folder's new files to; they replace its files when the block ends.

    A folder that exists stays: each new file is renamed into it. Files with other names stay, too.

    Args:
        path: The folder, without folders in it.
        own: Names of files of an earlier call; those that are not written again are removed.

    Raises:
        RecordError: The folder cannot be written, or is a link.
    """
    with _replacement(path) as temporary:
        if path.is_symlink():
            raise RecordError(f"cannot write {path}: it is a link; remove it")
        yield temporary
        _open_to_umask(temporary)
        if not path.exists():
            temporary.rename(path)
            return
        written = sorted(file.name for file in temporary.iterdir())
        for name in written:
            (temporary / name).replace(path / name)
        for name in set(own).difference(written):
            with suppress(OSError, ValueError):
                (path / name).unlink()


@contextmanager
def _replacement(path: Path, named: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside a path; whatever is left there in the end is removed.

    Args:
        path: The path.
        named: Path that an error message names; default: the path.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        remove_leftovers(path.parent)
        yield temporary
    except OSError as error:
        said = error.strerror or error
        raise RecordError(f"cannot write {named or path}: {said}") from None
    finally:
        remove(temporary)


def _open_to_umask(folder: Path) -> None:
    """Give the files of a folder the permissions of the umask; some libraries write 0600."""
    probe = folder / temporary_name("probe")
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
