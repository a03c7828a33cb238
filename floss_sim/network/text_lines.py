"""Text files of measurements: bounded lines in UTF-8, plain decimal numbers, names for messages.

Lines and files have limits, so that a file of zeros, a device or a small gzip file that expands to
gigabytes is refused before it fills the memory.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from floss_sim.errors import ProfileError

MOST_LINES = 10_000_000
LONGEST_LINE = 1_000_000  # characters
_LONGEST_NUMBER = 60  # characters
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


def text_lines(path: Path, problem: str) -> Iterator[str]:
    """Yield the lines of a text file in UTF-8, which may be gzipped (``.gz``), with their ends.

    Args:
        path: Path of the file.
        problem: Words for a file that is not text, such as ``"is not a CSV file in UTF-8"``.

    Raises:
        ProfileError: The file cannot be read, is not text, or exceeds a limit.
    """
    try:
        with _open(path) as file:
            yield from _bounded_lines(path, file)
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ProfileError(f"{path} {problem}: {error}") from None
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}") from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    for number in range(1, MOST_LINES + 2):
        line = file.readline(LONGEST_LINE + 1)
        if not line:
            return
        if len(line) > LONGEST_LINE:
            raise ProfileError(f"{path}, line {number}: more than {LONGEST_LINE:,} characters")
        if number > MOST_LINES:
            raise ProfileError(f"{path} has more than {MOST_LINES:,} lines")
        yield line


def plain_number(text: str) -> float:
    """Return the number of a text such as ``"12.5"`` or ``"3e6"``, with a decimal point.

    Python's own ``float`` also takes underscores, ``nan`` and digits of other scripts.

    Raises:
        ValueError: The text is no such number.
    """
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise ValueError(f"{shown(text)!r} is not a number")
    return float(text)


def shown(text: str, most: int = 60) -> str:
    """Return a text for one line of a message: shortened, unprintable characters as spaces."""
    cut = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(c if c.isprintable() else " " for c in cut)
