"""CSV files with a header: their delimiter, their header, and their rows with line numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from floss_sim.errors import ProfileError
from floss_sim.network.text_lines import shown, text_lines

_NO_CSV = "is not a CSV file in UTF-8"
_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";", "space": " "}
_SAMPLE_LINES = 50  # lines by which delimiters are compared
_SHOWN_COLUMNS = 30
_HINT = re.compile(r"sep=(.)\r?\n?")  # a first line by which spreadsheets name the delimiter


@dataclass(frozen=True)
class CsvTable:
    """Header of a CSV file, and its rows.

    Attributes:
        path: Path of the file.
        delimiter: Character between the cells.
        header: Names of the columns.
        rows: Iterator over ``(line, lines, cells)``: the line of the file in which the row ends,
            the number of lines that it spans, and its cells. A blank line is no row.
    """

    path: Path
    delimiter: str
    header: Sequence[str]
    rows: Iterator[tuple[int, int, list[str]]]

    def place(self, name: str, option: str) -> int:
        """Return the index of a column.

        Raises:
            ProfileError: No column has this name, or more than one.
        """
        if name not in self.header:
            raise ProfileError(
                f"{self.path} has no column {shown(name)!r} ({option}); it has {self.columns()}"
            )
        if self.header.count(name) > 1:
            raise ProfileError(f"{self.path} has column {shown(name)!r} more than once ({option})")
        return self.header.index(name)

    def columns(self) -> str:
        """Return the names of the columns for a message."""
        names = [shown(name) for name in self.header[:_SHOWN_COLUMNS]]
        more = len(self.header) - len(names)
        return ", ".join(names) + (f" and {more} more" if more else "") or "no header"


def open_table(path: Path, delimiter: str | None) -> CsvTable:
    """Return a CSV file in UTF-8, which may be gzipped; the rows are read as they are asked for.

    Args:
        path: Path of the file.
        delimiter: Character between the cells, or a name such as ``"tab"``; None to find it.

    Raises:
        ProfileError: An unreadable file, or a delimiter that is not valid or not clear.
    """
    stated = None if delimiter is None else _delimiter_named(delimiter)
    lines = text_lines(path, _NO_CSV)
    sample = list(islice(lines, _SAMPLE_LINES))
    skipped = 0
    if sample and (hint := _HINT.fullmatch(sample[0])):
        stated, sample, skipped = stated or hint[1], sample[1:], 1
    used = stated or _found_delimiter(path, sample)
    rows = _rows(path, chain(sample, lines), used, skipped)
    _, _, header = next(rows, (0, 0, []))
    names = [name.strip() for name in header]
    while names and not names[-1]:  # rows end with a delimiter
        names.pop()
    return CsvTable(path, used, tuple(names), rows)


def _delimiter_named(text: str) -> str:
    character = _NAMES.get(text.lower(), text)
    if len(character) != 1 or character.isalnum() or character in "\"\r\n'.-+":
        valid = "a comma, ;, |, tab or another single character"
        raise ProfileError(f"--delimiter {text!r} is not valid; valid: {valid}")
    return character


def _found_delimiter(path: Path, sample: Sequence[str]) -> str:
    """Return the delimiter that splits the header, and the first rows into as many cells."""
    split = {d: _split(sample, d) for d in _DELIMITERS}
    several = [d for d in _DELIMITERS if split[d] and len(split[d][0]) > 1]
    if len(several) > 1:
        even = [d for d in several if all(len(row) == len(split[d][0]) for row in split[d])]
        if len(even) != 1:
            names = " or ".join("tab" if d == "\t" else d for d in several)
            raise ProfileError(f"{path}: cells may be delimited by {names}; state it, --delimiter")
        several = even
    return several[0] if several else ","


def _split(sample: Sequence[str], delimiter: str) -> list[list[str]]:
    """Return the rows of the first lines; the last one may be cut and is left out if others are."""
    try:
        rows = [row for row in csv.reader(sample, delimiter=delimiter) if row]
    except csv.Error:
        return []
    return rows[:-1] if len(sample) == _SAMPLE_LINES and len(rows) > 1 else rows


def _rows(
    path: Path, lines: Iterator[str], delimiter: str, skipped: int
) -> Iterator[tuple[int, int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    before = 0
    try:
        for row in reader:
            spanned, before = reader.line_num - before, reader.line_num
            if len(row) > 1 or (row and row[0].strip()):
                yield before + skipped, spanned, row
    except csv.Error as error:
        at = reader.line_num + skipped
        raise ProfileError(f"{path} {_NO_CSV}: {error} (line {at})") from None
