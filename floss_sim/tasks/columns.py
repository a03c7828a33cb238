"""Columns of a data set as numpy arrays: labels and groups as numbers, inputs as cells."""

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

Numbers = NDArray[np.int64]  # of rows, classes or groups
_BATCH = 256


@dataclass(frozen=True)
class Rows:
    """The rows of one split; ``where`` names them in errors."""

    table: Dataset
    where: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def require(self, key: str, name: str | None) -> str:
        """Return a column's name if there is such a column.

        Raises:
            TaskError: The task file's ``key`` names none; the message lists those that exist.
        """
        columns = self.table.column_names
        if name is None or name not in columns:
            given = "is missing" if name is None else f"is {name!r}, but there is no such column"
            raise TaskError(f"{self.where}: {key} {given}; columns: {', '.join(columns)}")
        return name

    def column(self, key: str, name: str | None) -> pa.ChunkedArray:
        """Return a whole column as Arrow.

        Raises:
            TaskError: There is no such column.
        """
        one = self.table.select_columns([self.require(key, name)])
        return one.with_format("arrow")[:].column(0)

    def holds_images(self, name: str) -> bool:
        """Return whether a column's cells can hold images: encoded bytes, or files by path."""
        from datasets import Image

        return isinstance(self.table.features[name], Image)

    def cells(self, name: str, rows_E: Numbers) -> Iterator[Sequence[Any]]:
        """Yield the cells of some rows, in their order, as batches of Python values.

        Images come as they are stored, with their ``bytes`` or their ``path``.
        """
        from datasets import Image

        chosen = self.table.select_columns([name]).select(rows_E)
        if self.holds_images(name):
            chosen = chosen.cast_column(name, Image(decode=False))
        for batch in chosen.iter(batch_size=_BATCH):
            yield batch[name]


def select_rows(
    splits: Mapping[str, Dataset], name: str, split_column: str | None, where: str
) -> Rows:
    """Return the rows of a split: by its name, or by its value in ``split_column``.

    Raises:
        TaskError: No such split, column or value; the message lists what exists.
    """
    if split_column is None:
        _expect(name, splits, where, "split (data.split_column divides by a column's values)")
        return Rows(splits[name], f"{where}, split {name!r}")
    from datasets import concatenate_datasets

    everything = Rows(concatenate_datasets(list(splits.values())), where)
    values = everything.column("data.split_column", split_column).cast(pa.string())
    found = [value for value in values.unique().to_pylist() if value is not None]
    _expect(name, found, where, f"value of column {split_column!r}")
    chosen = np.flatnonzero(pc.equal(values, name).fill_null(False).to_numpy())
    return Rows(everything.table.select(chosen), f"{where}, {split_column} {name!r}")


def _expect(name: str, names: Collection[str], where: str, what: str) -> None:
    if name not in names:
        raise TaskError(f"{where}: {name!r} is no {what}; valid: {', '.join(sorted(names))}")


def class_numbers(parts: Sequence[Rows], name: str | None, classes: int) -> list[Numbers]:
    """Return the class of every row of each part.

    Whole numbers are classes as they are; strings are numbered in sorted order over all parts.

    Raises:
        TaskError: No such column, an empty cell, a kind that is no label, or a label outside
            the classes.
    """
    columns = [part.column("data.label", name) for part in parts]
    for part, column in zip(parts, columns, strict=True):
        _refuse_nulls(part, column, f"no label in column {name!r}")
    kind = columns[0].type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        columns = _numbered(columns, f"{parts[0].where}: column {name!r}", classes)
    elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise TaskError(
            f"{parts[0].where}: column {name!r} holds {kind}; labels are whole numbers or strings"
        )
    numbers = [column.cast(pa.int64(), safe=False).to_numpy() for column in columns]
    for part, labels in zip(parts, numbers, strict=True):
        check_classes(labels, classes, part.where)
    return numbers


def check_classes(labels_E: Numbers, classes: int, where: str) -> None:
    """Raise TaskError if a label lies outside 0 .. classes - 1; the message says where first."""
    outside = np.flatnonzero((labels_E < 0) | (labels_E >= classes))
    if outside.size:
        raise TaskError(
            f"{where}: labels outside 0 to {classes - 1} (data.classes), first "
            f"{labels_E[outside[0]]} in row {outside[0]}"
        )


def _numbered(
    columns: Sequence[pa.ChunkedArray], where: str, classes: int
) -> list[pa.ChunkedArray]:
    names = sorted({name for column in columns for name in column.unique().to_pylist()})
    if len(names) > classes:
        raise TaskError(f"{where} holds {len(names)} different labels; data.classes is {classes}")
    return [pc.index_in(column, value_set=pa.array(names, column.type)) for column in columns]


def group_numbers(rows: Rows, name: str) -> Numbers:
    """Return the group of every row, numbered by first appearance.

    Raises:
        TaskError: No such column, or an empty cell.
    """
    column = rows.column("data.group", name)
    _refuse_nulls(rows, column, f"no group in column {name!r}")
    numbered = pc.index_in(column, value_set=column.unique())
    return numbered.to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def blank_rows(rows: Rows, name: str | None) -> Numbers:
    """Return the numbers of the rows whose text is missing or only white space.

    Raises:
        TaskError: No such column, or one that holds no texts.
    """
    column = rows.column("data.input", name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise TaskError(f"{rows.where}: column {name!r} holds {column.type}, not texts")
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0).fill_null(True)
    return np.flatnonzero(blank.to_numpy())


def _refuse_nulls(rows: Rows, column: pa.ChunkedArray, what: str) -> None:
    if column.null_count:
        first = np.flatnonzero(column.is_null().to_numpy())[0]
        raise TaskError(f"{rows.where}: {what} in row {first}")
