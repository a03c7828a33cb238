"""Columns of a data set: labels and groups as arrays of numbers, inputs as batches of cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from floss_sim.errors import TaskError

if TYPE_CHECKING:
    from datasets import Dataset

Numbers = NDArray[np.int64]  # numbers of rows, classes or groups
_BATCH = 256  # rows read at a time
_SHOWN = 10  # maximum number of labels that an error message lists


@dataclass(frozen=True)
class DataTable:
    """The rows of one split; ``where`` is the split's name in error messages."""

    table: Dataset
    where: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def require(self, key: str, name: str | None) -> str:
        """Return the name of a column after checking that the column exists.

        Raises:
            TaskError: The task file's ``key`` names no column; the message lists all columns.
        """
        columns = self.table.column_names
        if name is None or name not in columns:
            given = "is missing" if name is None else f"is {name!r}, but there is no such column"
            raise TaskError(f"{self.where}: {key} {given}; columns: {', '.join(columns)}")
        return name

    def column(self, key: str, name: str | None) -> pa.ChunkedArray:
        """Return a whole column as an Arrow array.

        Raises:
            TaskError: The column does not exist.
        """
        one = self.table.select_columns([self.require(key, name)])
        return one.with_format("arrow")[:].column(0)

    def describe_row(self, number: int) -> str:
        """Return the name of a row of this split for error messages."""
        return row_name(self.where, number)

    def holds_images(self, name: str) -> bool:
        """Return whether a column holds images, as encoded bytes or as paths of files."""
        from datasets import Image

        return isinstance(self.table.features[name], Image)

    def cells(self, name: str, rows_E: Numbers) -> Iterator[Sequence[Any]]:
        """Yield the cells of the given rows, in the given order, as batches of Python values.

        An image stays encoded: its cell is a mapping with ``bytes`` and ``path``.
        """
        from datasets import Image

        chosen = self.table.select_columns([name]).select(rows_E)
        if self.holds_images(name):
            chosen = chosen.cast_column(name, Image(decode=False))
        for batch in chosen.iter(batch_size=_BATCH):
            yield batch[name]


def select_rows(
    splits: Mapping[str, Dataset], name: str, split_column: str | None, where: str
) -> DataTable:
    """Return the rows of a split, found by its name or by its value in ``split_column``.

    Raises:
        TaskError: The split, column or value does not exist; the message lists the valid ones.
    """
    if split_column is None:
        _expect(name, splits, where, "split (data.split_column divides by a column's values)")
        return DataTable(splits[name], f"{where}, split {name!r}")
    from datasets import concatenate_datasets

    everything = DataTable(concatenate_datasets(list(splits.values())), where)
    column = everything.column("data.split_column", split_column)
    try:
        values = column.cast(pa.string())
    except pa.ArrowException:
        raise TaskError(
            f"{where}: column {split_column!r} (data.split_column) holds {column.type}, "
            "which cannot name splits"
        ) from None
    found = [value for value in values.unique().to_pylist() if value is not None]
    _expect(name, found, where, f"value of column {split_column!r}")
    chosen = np.flatnonzero(pc.equal(values, name).fill_null(False).to_numpy())
    return DataTable(everything.table.select(chosen), f"{where}, rows of {split_column} {name!r}")


def row_name(where: str, number: int) -> str:
    """Return the name of a row of a split for error messages."""
    return f"{where}, row {number} (counted from 0)"


def _expect(name: str, names: Collection[str], where: str, what: str) -> None:
    if name not in names:
        raise TaskError(f"{where}: {name!r} is not a {what}; valid: {', '.join(sorted(names))}")


def class_numbers(
    parts: Sequence[DataTable], name: str | None, classes: int
) -> tuple[list[Numbers], tuple[str, ...]]:
    """Return the class numbers of all rows of each part, and the class names if there are any.

    Whole numbers are used as class numbers; strings are numbered in sorted order over all parts.

    Raises:
        TaskError: The column does not exist, a cell is empty, the column holds neither whole
            numbers nor strings, or a label is outside the classes.
    """
    columns = [part.column("data.label", name) for part in parts]
    kind = columns[0].type
    text = _is_text(kind)
    for part, column in zip(parts, columns, strict=True):
        blank = _blank_mask(column) if text else column.is_null()
        _refuse(part, blank, f"no label in column {name!r}")
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise TaskError(
            f"{parts[0].where}: column {name!r} holds {kind}; labels are whole numbers or strings"
        )
    names = _names(columns, text, parts[0], str(name))
    if text:
        columns = [pc.index_in(one, value_set=pa.array(names, kind)) for one in columns]
    numbers = [column.to_numpy() for column in columns]
    if len(names) > classes and max(part.max(initial=0) for part in numbers) >= classes:
        raise TaskError(
            f"{parts[0].where}: column {name!r} holds {len(names)} different labels "
            f"({_join_labels(names)}); data.classes is {classes}"
        )
    for part, labels in zip(parts, numbers, strict=True):
        check_classes(labels, classes, part.where)
    return [labels.astype(np.int64) for labels in numbers], names


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


def group_numbers(rows: DataTable, name: str) -> Numbers:
    """Return the group number of every row, in the order of first appearance.

    Raises:
        TaskError: The column does not exist, a cell is empty, or its type cannot name groups.
    """
    column = rows.column("data.group", name)
    _refuse(rows, column.is_null(), f"no group in column {name!r}")
    try:
        numbered = pc.index_in(column, value_set=column.unique())
    except pa.ArrowException:
        raise TaskError(
            f"{rows.where}: column {name!r} (data.group) holds {column.type}, "
            "which cannot name groups"
        ) from None
    return numbered.to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def blank_rows(rows: DataTable, name: str | None) -> Numbers:
    """Return the numbers of the rows whose text is missing or only white space.

    Raises:
        TaskError: The column does not exist or does not hold texts.
    """
    column = rows.column("data.input", name)
    if not _is_text(column.type):
        raise TaskError(f"{rows.where}: column {name!r} holds {column.type}, not texts")
    return np.flatnonzero(_blank_mask(column).to_numpy())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _blank_mask(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the mask of the texts that are missing or only white space."""
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0).fill_null(True)


def _refuse(rows: DataTable, lacking: pa.ChunkedArray, what: str) -> None:
    first = np.flatnonzero(lacking.to_numpy())[:1]
    if first.size:
        raise TaskError(f"{rows.describe_row(first[0])}: {what}")
