"""JSON files: one object a line, or one list of objects; parsed and checked line by line.

Python's own parser reads them, because the parser of Arrow ends the process on lines such as
``null``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from floss_sim.tasks.table_cells import BATCH_ROWS, ColumnBuilder, TableCells
from floss_sim.tasks.unpacked_bytes import (
    open_bytes,
    read_lines,
    refuse_unreadable,
)

MAX_DEPTH = 64  # of lists and objects within each other
MAX_LIST_BYTES = 1 << 30  # of a file that is one list; a file of lines has no limit
MAX_DIGITS = 400  # of a whole number
_MAX_KEYS = 10_000  # different keys of all rows
_MAX_KEY_LENGTH = 1000  # characters
_Row = dict[str, Any]


def read_json(path: Path, wanted: Collection[str]) -> TableCells:
    """Return the wanted columns of a file of JSON objects; a missing key is a null.

    Args:
        path: The file: one object a line, or one list of objects. Blank lines are no rows.
        wanted: Names of the columns to read.

    Raises:
        TaskError: A line is not one object, a limit of this module is exceeded, or the file holds
            no rows; the message names the line.
    """
    with refuse_unreadable(path), open_bytes(path) as file:
        rows = _rows(file, wanted)
        names: dict[str, None] = {}
        repeated: dict[str, None] = {}
        builders = {name: ColumnBuilder() for name in sorted(wanted)}
        while batch := list(islice(rows, BATCH_ROWS)):
            for row, twice in batch:
                if not row.keys() <= names.keys():
                    names.update(dict.fromkeys(row))
                repeated.update(dict.fromkeys(twice))
            _check_names(names)
            for name, builder in builders.items():
                builder.append([row.get(name) for row, _ in batch])
        if not names:
            raise ValueError("it holds no rows")
    found = [name for name in names if name in wanted and name not in repeated]
    columns = {name: builders[name].column() for name in found}
    return TableCells(
        pa.table({name: column for name, column in columns.items() if column is not None}),
        (*names, *repeated),
        {name: builders[name].kinds() for name, column in columns.items() if column is None},
    )


def _rows(file: IO[bytes], wanted: Collection[str]) -> Iterator[tuple[_Row, tuple[str, ...]]]:
    """Yield each object and those of its wanted keys that it repeats."""
    lines = read_lines(file)
    keys = [json.dumps(name, ensure_ascii=False) for name in wanted]
    first = next(((at, line) for at, line in enumerate(lines, 1) if line.strip()), (1, ""))
    if first[1].lstrip().startswith("["):
        yield from _listed_rows(first[1], lines, wanted)
        return
    number, line = first
    while True:
        if line.strip():
            suspect = "\\u" in line or any(line.count(key) > 1 for key in keys)
            try:
                row = _parse(line, None)
                if not isinstance(row, dict):
                    raise ValueError("is not a JSON object")
                yield row, _repeated(line, wanted) if suspect else ()
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} {_reason(error)}") from None
        try:
            number, line = number + 1, next(lines)
        except StopIteration:
            return


def _listed_rows(
    first: str, lines: Iterator[str], wanted: Collection[str]
) -> Iterator[tuple[_Row, tuple[str, ...]]]:
    """Yield the objects of a file that is one list."""
    parts, size = [first], len(first)
    for line in lines:
        parts.append(line)
        size += len(line)
        if size > MAX_LIST_BYTES:
            raise ValueError(f"its list is longer than {MAX_LIST_BYTES} bytes; valid: JSON lines")
    try:
        rows = _parse("".join(parts), lambda pairs: (dict(pairs), _twice(pairs, wanted)))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its list {_reason(error)}") from None
    for number, row in enumerate(rows):
        if not isinstance(row, tuple):
            raise ValueError(f"item {number} (counted from 0) of its list is not a JSON object")
        yield {key: _plain(value) for key, value in row[0].items()}, row[1]


def _plain(value: Any) -> Any:
    """Return a parsed value without the repeated keys of the objects in it."""
    if isinstance(value, tuple):
        return {key: _plain(one) for key, one in value[0].items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _parse(text: str, hook: Any) -> Any:
    """Return the value of a JSON text after checking its depth, numbers and keys."""
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    return json.loads(
        text, object_pairs_hook=hook, parse_constant=_refuse_constant, parse_int=_whole_number
    )


def _check_depth(text: str) -> None:
    """Raise ValueError if lists and objects lie deeper within each other than ``MAX_DEPTH``."""
    depth, quoted, escaped = 0, False, False
    for sign in text:
        if quoted:
            quoted, escaped = escaped or sign != '"', sign == "\\" and not escaped
        elif sign == '"':
            quoted = True
        elif sign in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"is nested deeper than {MAX_DEPTH} lists and objects")
        elif sign in "]}":
            depth -= 1


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"holds {name}, which is not JSON")


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"holds a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _repeated(line: str, wanted: Collection[str]) -> tuple[str, ...]:
    """Return the wanted keys that the object of a line repeats; inner objects do not count."""
    pairs = json.loads(line, object_pairs_hook=list)
    return _twice(pairs, wanted)


def _twice(pairs: list[tuple[str, Any]], wanted: Collection[str]) -> tuple[str, ...]:
    keys = [key for key, _ in pairs]
    return tuple(key for key in dict.fromkeys(keys) if key in wanted and keys.count(key) > 1)


def _check_names(names: Collection[str]) -> None:
    if len(names) > _MAX_KEYS:
        raise ValueError(f"its rows have more than {_MAX_KEYS} different keys")
    if longest := next((name for name in names if len(name) > _MAX_KEY_LENGTH), None):
        raise ValueError(f"the key {longest[:20]!r}... is longer than {_MAX_KEY_LENGTH} characters")


def _reason(error: Exception) -> str:
    """Return a parser's reason as the rest of a sentence about a line."""
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at character {error.colno}"
    return "is nested too deeply" if isinstance(error, RecursionError) else str(error)
