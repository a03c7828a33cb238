"""Lines and bytes of local data files, plain or gzipped, with stated limits."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from floss_sim.errors import TaskError

MAX_LINE_BYTES = 1 << 26  # of one line, and of one cell of a CSV file
_MAX_RATIO = 200  # unpacked bytes for each packed byte; texts have 3 to 20
_FREE_BYTES = 1 << 28  # unpacked bytes that are allowed at any ratio
# Errors of parsers and of Arrow for files that are damaged, or of another format than named.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    zlib.error,
    pa.ArrowException,
    MemoryError,
    RecursionError,
    OverflowError,
)


@contextmanager
def refuse_unreadable(path: Path) -> Iterator[None]:
    """Turn every error of a parser into a TaskError of one line that names the file.

    Raises:
        TaskError: The file cannot be read.
    """
    try:
        yield
    except _UNREADABLE as error:
        lines = str(getattr(error, "strerror", None) or error).splitlines()
        raise TaskError(f"cannot read {path}: {(lines or [type(error).__name__])[0]}") from None


class _Counted(io.BufferedIOBase):
    """A gzip stream that raises ValueError if it unpacks to far more than it is packed."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self._file, self._left = file, most

    def readable(self) -> bool:
        """Return True, as a stream for reading must."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most ``size`` unpacked bytes, or all."""
        blob = self._file.read(self._left + 1 if size is None or size < 0 else size)
        self._left -= len(blob)
        if self._left < 0:
            raise ValueError(
                f"it unpacks to more than {_MAX_RATIO} times its size and {_FREE_BYTES} bytes"
            )
        return blob

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read into ``buffer`` and return the number of bytes."""
        blob = self.read(len(buffer))
        buffer[: len(blob)] = blob
        return len(blob)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Yield a stream of a file's bytes, unpacked if its name ends in ``.gz``.

    Reading raises ValueError where a gzipped file unpacks to more than 200 times its size and
    256 MiB.
    """
    with path.open("rb") as file:
        if path.suffix != ".gz":
            yield file
            return
        most = max(_MAX_RATIO * path.stat().st_size, _FREE_BYTES)
        with gzip.open(file) as packed:
            yield io.BufferedReader(cast(io.RawIOBase, _Counted(packed, most)), 1 << 20)


def read_lines(file: IO[bytes]) -> Iterator[str]:
    r"""Yield the lines of a stream with their ends, decoded as UTF-8; a byte order mark is skipped.

    A line ends in ``\n``.

    Raises:
        ValueError: A line is longer than 64 MiB or is not UTF-8; the message names the line.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"line {number} is longer than {MAX_LINE_BYTES} bytes")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"line {number} is not UTF-8") from None
