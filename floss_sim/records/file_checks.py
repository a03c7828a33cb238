"""Verification of a run folder's files by SHA-256, with a memory of what has been verified."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from floss_sim.errors import RecordError
from floss_sim.files import leaves_folder, write_atomically

REMEDY = "remove the run folder"
_SETTLED_NS = 1_000_000_000  # a file this old has a size and time that tell a later change
_SMALL_BYTES = 1 << 20  # bytes; smaller files are read at once
_FEW = 100  # lines of the memory's file that are not worth a new file


class FileSum(BaseModel):
    """Length and SHA-256 of a file; rows of a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bytes: Annotated[StrictInt, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    rows: Annotated[StrictInt | None, Field(ge=0)] = None

    @classmethod
    def of(cls, path: Path, rows: int | None = None) -> FileSum:
        """Return the sum of a file as it is on disk.

        Raises:
            OSError: The file cannot be read.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            small = size <= _SMALL_BYTES  # file_digest clears a buffer of 256 KiB for each file
            digest = hashlib.sha256(file.read()) if small else hashlib.file_digest(file, "sha256")
            return cls(bytes=size, sha256=digest.hexdigest(), rows=rows)


FileSums = Mapping[str, FileSum | None]


class FileChecks:
    """Verifies the files of run folders; a verified file is not read again while it is unchanged.

    A file counts as unchanged if its size and modification time are the same. Files that changed
    within the last second are always read.

    Args:
        memory: File that remembers verified folders for other processes: one JSON line for each,
            with a digest of the names, sizes and times of its files. None keeps no such file. A
            line that cannot be read or written only means that files are read once more.
        remedy: Advice at the end of an error message.
    """

    def __init__(self, memory: Path | None = None, remedy: str = REMEDY) -> None:
        self.remedy = remedy
        self._memory = memory
        self._folders: dict[str, str] | None = None
        self._files: dict[str, tuple[int, int, str]] = {}

    def verify(self, folder: Path, sums: FileSums, anew: bool = False) -> None:
        """Check that files exist in a folder and are as expected.

        Args:
            folder: Run folder.
            sums: Expected sums by file name; a file with None must only exist.
            anew: Whether to read all files, even if they have been verified before.

        Raises:
            RecordError: A file is missing, damaged, or a link to a file outside the folder.
        """
        stats = {name: self._stat(folder, name) for name in sums}
        state = _state(sums, stats)
        if not anew and self._remembered().get(folder.name) == state:
            return
        try:
            for name, expected in sums.items():
                self._verify_file(folder / name, expected, stats[name], anew)
        except RecordError:
            if folder.name in self._remembered():
                self._remember(folder.name, "")
            raise
        newest = max((found.st_mtime_ns for found in stats.values()), default=0)
        if sums and None not in sums.values() and is_settled(newest):
            self._remember(folder.name, state)

    def verify_file(self, folder: Path, name: str, expected: FileSum | None) -> None:
        """Check one file of a folder; arguments and errors as :meth:`verify`."""
        self._verify_file(folder / name, expected, self._stat(folder, name), anew=False)

    def _stat(self, folder: Path, name: str) -> os.stat_result:
        path = folder / name
        try:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                if leaves_folder(path):
                    raise RecordError(f"{path} links to a file outside the folder; {self.remedy}")
                found = path.stat()
        except (OSError, RuntimeError) as error:
            said = getattr(error, "strerror", None) or "a link to itself"
            raise RecordError(f"cannot read {path}: {said}; {self.remedy}") from None
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(f"{path} is not a file; {self.remedy}")
        return found

    def _verify_file(
        self, path: Path, expected: FileSum | None, found: os.stat_result, anew: bool
    ) -> None:
        if expected is None:
            return
        if found.st_size != expected.bytes:
            raise RecordError(
                f"{path} is damaged ({found.st_size} bytes instead of {expected.bytes}); "
                f"{self.remedy}"
            )
        known = found.st_size, found.st_mtime_ns, expected.sha256
        if not anew and self._files.get(str(path)) == known:
            return
        self._files.pop(str(path), None)
        try:
            read = FileSum.of(path)
        except OSError as error:
            raise RecordError(f"cannot read {path}: {error.strerror}; {self.remedy}") from None
        if read.sha256 != expected.sha256:
            raise RecordError(f"{path} is damaged (its SHA-256 differs); {self.remedy}")
        if is_settled(found.st_mtime_ns):
            self._files[str(path)] = known

    def _remembered(self) -> dict[str, str]:
        if self._folders is None:
            self._folders = _read_memory(self._memory) if self._memory else {}
        return self._folders

    def _remember(self, folder: str, state: str) -> None:
        self._remembered()[folder] = state
        if self._memory is None:
            return
        line = json.dumps({"run": folder, "state": state}) + "\n"
        with suppress(OSError), self._memory.open("a", encoding="utf-8") as file:
            file.write(line)


def _read_memory(path: Path) -> dict[str, str]:
    """Return the state of each remembered folder; shorten the file if most lines are outdated."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    states: dict[str, str] = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            found = json.loads(line)
            states[str(found["run"])] = str(found["state"])
    if len(lines) > 2 * len(states) + _FEW:
        text = "".join(json.dumps({"run": k, "state": v}) + "\n" for k, v in states.items())
        with suppress(RecordError):
            write_atomically(path, text)
    return states


def is_settled(mtime_ns: int) -> bool:
    """Return whether a file's time is so old that a later change would get another time."""
    return time.time_ns() - mtime_ns > _SETTLED_NS


def _state(sums: FileSums, stats: Mapping[str, os.stat_result]) -> str:
    """Return a digest of expected sums and of the files' sizes and modification times."""
    parts = [
        f"{name} {found.st_size} {found.st_mtime_ns} {expected.sha256 if expected else ''}\n"
        for (name, expected), found in zip(sums.items(), stats.values(), strict=True)
    ]
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()
