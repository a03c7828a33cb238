"""Columns of a split: groups as arrays of numbers, inputs as batches of cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.tasks.folder_splits import CANONICAL_SPLITS, canonical_split
from floss_sim.tasks.split_rows import SplitRows, Splits

if TYPE_CHECKING:
    from datasets import Dataset

Numbers = NDArray[np.int64]  # numbers of rows, classes or groups
_BATCH = 256  # rows read at a time
_SHOWN = 50  # maximum number of names in an error message


@dataclass(frozen=True)
class DataTable:
    """The rows of one split; ``where`` is the split's name in error messages."""

    rows: SplitRows
    where: str

    @property
    def table(self) -> Dataset:
        """The rows of the split."""
        return self.rows.table

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def require(self, key: str, name: str | None) -> str:
        """Return the name of a column after checking that it exists once and has one kind.

        Raises:
            TaskError: The task file's ``key`` names no column, one of several columns, or a column
                of several kinds of values; the message lists what there is.
        """
        columns = self.rows.columns
        if name is None or name not in columns:
            given = "is missing" if name is None else f"is {name!r}, but there is no such column"
            raise TaskError(f"{self.where}: {key} {given}; columns: {_join_columns(columns)}")
        if (times := columns.count(name)) > 1:
            raise TaskError(f"{self.where}: {key} is {name!r}, but {times} columns have this name")
        if name in self.rows.mixed:
            kinds = self.rows.mixed[name]
            raise TaskError(f"{self.where}: column {name!r} ({key}) holds values of kinds {kinds}")
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

        if isinstance(self.table.features[name], Image):
            return True
        kind = self.table.features.arrow_schema.field(name).type
        if pa.types.is_struct(kind):
            fields = {one.name: one.type for one in kind}
            return {"bytes"} <= fields.keys() <= {"bytes", "path"} and _is_binary(fields["bytes"])
        return _is_binary(kind)

    def cells(self, name: str, rows_E: Numbers) -> Iterator[Sequence[Any]]:
        """Yield the cells of the given rows, in the given order, as batches of Python values.

        An image stays encoded: its cell is a mapping with ``bytes`` and ``path``, or bytes.
        """
        from datasets import Image

        chosen = self.table.select_columns([name]).select(rows_E)
        if isinstance(self.table.features[name], Image):
            chosen = chosen.cast_column(name, Image(decode=False))
        for batch in chosen.iter(batch_size=_BATCH):
            yield batch[name]


def select_rows(splits: Splits, names: Sequence[str], where: str) -> list[DataTable]:
    """Return the rows of the splits of these names.

    Raises:
        TaskError: A split does not exist; the message lists the valid ones.
    """
    what = "split (data.split_column divides by a column's values)"
    for name in names:
        _expect(name, splits, where, what)
    return [DataTable(splits[name], f"{where}, split {name!r}") for name in names]


def divide_rows(
    splits: Splits, names: Sequence[str], split_column: str, where: str
) -> tuple[list[DataTable], Mapping[str, int]]:
    """Return the rows of the splits that ``split_column`` names, and counts of the other rows.

    Rows of another usual split, such as ``validation`` beside ``train`` and ``test``, are counted
    by its name.

    Raises:
        TaskError: The column or a split does not exist, or a row is empty there or names neither
            one of the splits nor another usual one.
    """
    everything = DataTable(_join_splits(list(splits.values()), where), where)
    column = everything.column("data.split_column", split_column)
    refuse_rows(everything, missing_mask(column), f"no split in column {split_column!r}")
    try:
        values = column.cast(pa.string())
    except pa.ArrowException:
        raise TaskError(
            f"{where}: column {split_column!r} (data.split_column) holds {column.type}, "
            "which cannot name splits"
        ) from None
    counts = {one["values"].as_py(): one["counts"].as_py() for one in values.value_counts()}
    for name in names:
        _expect(name, counts, where, f"value of column {split_column!r}")
    unused = {value: count for value, count in counts.items() if value not in names}
    for value in unused:
        if not _is_another_split(value, names):
            said = f"{value[:_SHOWN]!r} in column {split_column!r} (data.split_column) is no split"
            refuse_rows(everything, pc.equal(values, value), f"{said}; valid: {', '.join(names)}")
    chosen = [np.flatnonzero(pc.equal(values, name).to_numpy()) for name in names]
    parts = [replace(everything.rows, table=everything.table.select(one)) for one in chosen]
    said = f"{where}, rows of {split_column}"
    named = zip(parts, names, strict=True)
    return [DataTable(part, f"{said} {name!r}") for part, name in named], unused


def _is_another_split(value: str, names: Sequence[str]) -> bool:
    """Return whether a value is a usual name of a split, and of none of these."""
    split = canonical_split(value)
    return split in CANONICAL_SPLITS and split not in map(canonical_split, names)


def _join_splits(parts: Sequence[SplitRows], where: str) -> SplitRows:
    """Return the rows of all splits below each other.

    Raises:
        TaskError: The splits have different columns or types.
    """
    from datasets import concatenate_datasets

    first = parts[0]
    if len(parts) == 1:
        return first
    different = sorted({name for part in parts for name in set(part.columns) ^ set(first.columns)})
    if different:
        raise TaskError(
            f"{where}: splits have different columns; missing in some: {', '.join(different)}"
        )
    try:
        table = concatenate_datasets([part.table for part in parts])
    except ValueError:
        raise TaskError(f"{where}: a column has different types in different splits") from None
    mixed = {name: kinds for part in parts for name, kinds in part.mixed.items()}
    return SplitRows(table, max((part.columns for part in parts), key=len), mixed, first.form)


def _join_columns(names: Sequence[str]) -> str:
    """Return a list of column names in one line."""
    shown = [name if name.isprintable() else repr(name) for name in names[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(shown) + more


def row_name(where: str, number: int) -> str:
    """Return the name of a row of a split for error messages."""
    return f"{where}, row {number} (counted from 0)"


def _expect(name: str, names: Collection[str], where: str, what: str) -> None:
    if name not in names:
        raise TaskError(f"{where}: {name!r} is not a {what}; valid: {_join_columns(sorted(names))}")


def group_numbers(rows: DataTable, name: str) -> Numbers:
    """Return the group number of every row, in the order of first appearance.

    Raises:
        TaskError: The column does not exist, a cell is empty, or its type cannot name groups.
    """
    column = rows.column("data.group", name)
    refuse_rows(rows, missing_mask(column), f"no group in column {name!r}")
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
    if not is_text(column.type):
        raise TaskError(f"{rows.where}: column {name!r} holds {column.type}, not texts")
    return np.flatnonzero(_blank_mask(column).to_numpy())


def missing_mask(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the mask of the cells that are missing: null, NaN, or texts of only white space."""
    return _blank_mask(column) if is_text(column.type) else column.is_null(nan_is_null=True)


def is_text(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _blank_mask(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the mask of the texts that are missing or only white space."""
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0).fill_null(True)


def refuse_rows(rows: DataTable, lacking: pa.ChunkedArray, what: str) -> None:
    """Raise TaskError if the mask of a split's rows holds any; the message names the first."""
    first = np.flatnonzero(lacking.to_numpy())[:1]
    if first.size:
        raise TaskError(f"{rows.describe_row(first[0])}: {what}")
