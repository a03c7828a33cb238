"""Labels of a data set as class numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.tasks.columns import (
    DataTable,
    Numbers,
    is_text,
    missing_mask,
    refuse_rows,
    row_name,
)

_SHOWN_SIGNS = 50  # maximum number of signs of a label in an error message
_SHOWN = 10  # maximum number of labels that an error message lists
# Cells of CSV files that are booleans, whole numbers and numbers; ``sign`` is the decimal sign.
_BOOLEANS = dict.fromkeys(("True", "TRUE", "true", "False", "FALSE", "false"))
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_NUMBER = r"\s*[+-]?(?:[0-9]+(?:{sign}[0-9]*)?|{sign}[0-9]+)(?:[eE][+-]?[0-9]+)?\s*"


def class_numbers(
    parts: Sequence[DataTable], name: str | None, classes: int, known: tuple[str, ...] = ()
) -> tuple[list[Numbers], tuple[str, ...]]:
    """Return the class numbers of all rows of each part, and the class names if there are any.

    Whole numbers are used as class numbers; strings are numbered in sorted order over all parts.
    Cells of CSV files are whole numbers, or booleans, if all labels are. Numbers such as ``0.5``
    and ``0,5`` are no labels, unless the task states the other decimal sign.

    Args:
        parts: Tables with the labels.
        name: Column of the labels.
        classes: Number of classes.
        known: Names of the classes in the order of their numbers; strings are numbered by them.

    Raises:
        TaskError: The column does not exist, a cell is empty, the column holds neither whole
            numbers nor strings, or a label is outside the classes or not known.
    """
    columns = [part.column("data.label", name) for part in parts]
    for part, column in zip(parts, columns, strict=True):
        refuse_rows(part, missing_mask(column), f"no label in column {name!r}")
    if any(part.rows.form for part in parts):
        columns = _typed_labels(parts, columns, str(name))
    kind = columns[0].type
    text = is_text(kind)
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise TaskError(
            f"{parts[0].where}: column {name!r} holds {kind}; labels are whole numbers or strings"
        )
    for part, column in zip(parts, columns, strict=True):
        if is_text(column.type) != text:
            raise TaskError(
                f"{part.where}: column {name!r} holds {column.type}, and {kind} in {parts[0].where}"
            )
    names = _names(columns, text, parts[0], str(name))
    if text and known:
        if strange := sorted(set(names) - set(known)):
            raise TaskError(
                f"{parts[0].where}: column {name!r} holds the label {strange[0]!r}; valid: "
                f"{_join_labels(known)}"
            )
        names = known
    if text:
        columns = [pc.index_in(one, value_set=pa.array(names, one.type)) for one in columns]
    numbers = [column.to_numpy() for column in columns]
    if len(names) > classes and max(part.max(initial=0) for part in numbers) >= classes:
        raise TaskError(
            f"{parts[0].where}: column {name!r} holds {len(names)} different labels "
            f"({_join_labels(names)}); data.classes is {classes}"
        )
    for part, labels in zip(parts, numbers, strict=True):
        check_classes(labels, classes, part.where)
    return [labels.astype(np.int64) for labels in numbers], names


def _typed_labels(
    parts: Sequence[DataTable], columns: Sequence[pa.ChunkedArray], name: str
) -> list[pa.ChunkedArray]:
    """Return label columns of CSV files as whole numbers or booleans if all labels are such.

    Raises:
        TaskError: All labels are numbers, but one of them is not whole or exceeds 64 bits.
    """
    texts = {text for column in columns for text in map(str, column.unique().to_pylist())}
    if texts <= _BOOLEANS.keys():
        return [pc.equal(pc.utf8_lower(column.cast(pa.string())), "true") for column in columns]
    forms = [part.rows.form for part in parts if part.rows.form]
    stated = {form.decimal for form in forms if form.decimal_stated}
    sign = f"[{''.join(map(re.escape, filter(None, stated)))}]" if stated else "[.,]"
    number = re.compile(_NUMBER.replace("{sign}", sign))
    if not all(number.fullmatch(text) for text in texts):
        return list(columns)
    for part, column in zip(parts, columns, strict=True):
        for row, text in enumerate(column.to_pylist()) if not _all_whole(texts) else ():
            if not _WHOLE.fullmatch(str(text)) or abs(int(text)) >= 1 << 63:
                raise TaskError(
                    f"{part.describe_row(row)}: label {str(text)[:_SHOWN_SIGNS]!r} in column "
                    f"{name!r} is not a whole number of 64 bits, as the other labels are numbers"
                )
    return [
        pa.chunked_array([pa.array(map(int, map(str, column.to_pylist())), pa.int64())])
        for column in columns
    ]


def _all_whole(texts: Collection[str]) -> bool:
    return all(_WHOLE.fullmatch(text) and abs(int(text)) < 1 << 63 for text in texts)


def _names(
    columns: Sequence[pa.ChunkedArray], text: bool, part: DataTable, name: str
) -> tuple[str, ...]:
    """Return the class names: the sorted strings, or the names stored in the data set."""
    if text:
        return tuple(sorted({name for column in columns for name in column.unique().to_pylist()}))
    return tuple(getattr(part.table.features[name], "names", None) or ())


def _join_labels(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def check_classes(labels_E: NDArray[Any], classes: int, where: str) -> None:
    """Raise TaskError if a label is outside 0 .. classes - 1; the message names the first row."""
    outside = np.flatnonzero((labels_E < 0) | (labels_E >= classes))
    if outside.size:
        raise TaskError(
            f"{row_name(where, outside[0])}: label {labels_E[outside[0]]} is outside "
            f"0 to {classes - 1} (data.classes)"
        )
