"""CSV files: every cell is a string; delimiter and decimal sign are stated or found."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa

from floss_sim.tasks.table_cells import BATCH_ROWS, CsvForm, TableCells, columns_asked_for
from floss_sim.tasks.unpacked_bytes import (
    MAX_LINE_BYTES,
    open_bytes,
    read_lines,
    refuse_unreadable,
)

DELIMITERS = (",", ";", "\t", "|")  # in the order in which they are tried
_SAMPLE = 1000  # rows in which the decimal sign is looked for
_MAX_COLUMNS = 10_000
_DECIMAL = re.compile(r"\s*[+-]?\d+([.,])\d+\s*")
_AFTER_RETURN = re.compile(r"(?<=\r)(?!\n)")
_CsvRows = Iterator[tuple[int, list[str]]]  # number of the row's last line, and its cells


def read_csv(path: Path, wanted: Collection[str], form: CsvForm) -> TableCells:
    """Return the wanted columns of a CSV file as strings.

    A row with fewer cells than the header ends in empty cells. Blank lines are no rows.

    Args:
        path: The file.
        wanted: Names of the columns to read.
        form: Delimiter and decimal sign, or None for those that are found.

    Raises:
        TaskError: The file holds no rows, a row has more cells than the header, a quotation is
            never closed, or the file is not UTF-8; the message names the line.
    """
    with refuse_unreadable(path), _long_cells():
        delimiter = form.delimiter or _delimiter(path, wanted, _suffix_delimiter(path))
        with open_bytes(path) as file:
            rows = _rows(_split_lines(read_lines(file)), delimiter)
            _, header = next(rows, (0, []))
            rows = _fit_header(rows, header)
            first = [cells for _, cells in islice(rows, _SAMPLE)]
            if not first:
                raise ValueError("it holds no rows")
            asked = columns_asked_for(header, wanted)
            table = _table(header, asked, chain(first, (cells for _, cells in rows)))
    stated = form.decimal is not None
    decimal = form.decimal if stated else _decimal(first)
    return TableCells(table, tuple(header), {}, CsvForm(delimiter, decimal, stated))


def _suffix_delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else DELIMITERS[0]


def _delimiter(path: Path, wanted: Collection[str], usual: str) -> str:
    """Return the delimiter under which the header has most of the wanted columns.

    Of several the usual one is chosen, then the first of ``DELIMITERS``. Without wanted columns
    that a header has, it is the one that gives the header most columns.
    """
    with open_bytes(path) as file:
        lines = list(islice(_split_lines(read_lines(file)), 100))

    def score(delimiter: str) -> tuple[int, int]:
        _, header = next(_rows(iter(lines), delimiter, whole=False), (0, []))
        found = len(set(header) & set(wanted))
        return found, 0 if found else len(header)

    return max(sorted(DELIMITERS, key=lambda sign: sign != usual), key=score)


def _split_lines(lines: Iterator[str]) -> Iterator[str]:
    r"""Yield lines that end in ``\n``, ``\r\n`` or ``\r``; the parser of CSV needs one end each."""
    for line in lines:
        at = line.find("\r")
        if at < 0 or line[at:] in ("\r\n", "\r"):
            yield line
        else:
            yield from filter(None, _AFTER_RETURN.split(line))


def _rows(lines: Iterator[str], delimiter: str, *, whole: bool = True) -> _CsvRows:
    """Yield the rows with their line numbers; blank lines are left out.

    Raises:
        ValueError: The text ends within a quotation, unless ``whole`` is False.
    """
    ended = False

    def until_end() -> Iterator[str]:
        nonlocal ended
        yield from lines
        ended = True

    reader = csv.reader(until_end(), delimiter=delimiter)
    began = 1
    for cells in reader:
        if ended and whole:
            raise ValueError(f"line {began}: a quotation is opened there and never closed")
        if len(cells) > 1 or (cells and (not cells[0] or cells[0].strip(" \t"))):
            yield reader.line_num, cells
        began = reader.line_num + 1


def _fit_header(rows: _CsvRows, header: Sequence[str]) -> _CsvRows:
    """Yield the rows, each with as many cells as the header."""
    width = len(header)
    if width > _MAX_COLUMNS:
        raise ValueError(f"its header has {width} columns; valid: at most {_MAX_COLUMNS}")
    for line, cells in rows:
        if len(cells) > width:
            raise ValueError(f"line {line} has {len(cells)} cells, more than the header's {width}")
        yield line, cells if len(cells) == width else cells + [""] * (width - len(cells))


def _table(header: Sequence[str], asked: Sequence[int], rows: Iterator[list[str]]) -> pa.Table:
    schema = pa.schema([(header[at], pa.string()) for at in asked])
    batches = []
    while batch := list(islice(rows, BATCH_ROWS)):
        cells = tuple(zip(*batch, strict=True))
        columns = [pa.array(cells[at], pa.string()) for at in asked]
        batches.append(pa.record_batch(columns, schema))
    return pa.Table.from_batches(batches, schema)


def _decimal(rows: Sequence[Sequence[str]]) -> str:
    """Return the decimal sign of the numbers in the rows; "" if there is none, or are two."""
    found = {m[1] for cells in rows for cell in cells if (m := _DECIMAL.fullmatch(cell))}
    return found.pop() if len(found) == 1 else ""


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the parser of CSV read cells of up to 64 MiB for the block, and name its errors."""
    before = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        yield
    except csv.Error as error:
        raise ValueError(str(error)) from None
    finally:
        csv.field_size_limit(before)
