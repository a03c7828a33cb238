"""Cells of one table file: the columns asked for, with the names of all columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from floss_sim.errors import TaskError

BATCH_ROWS = 10_000  # rows that are converted to Arrow at a time


@dataclass(frozen=True)
class CsvForm:
    """How cells of a CSV file are written; None stands for a sign to be found.

    Attributes:
        delimiter: Sign between cells; all signs, one after the other, where files of one split
            differ.
        decimal: Decimal sign of its numbers; ``""`` where no number has one, or where some have a
            point and others a comma.
        decimal_stated: Whether the task states the decimal sign.
    """

    delimiter: str | None = None
    decimal: str | None = None
    decimal_stated: bool = False


@dataclass(frozen=True)
class TableCells:
    """The columns of a table file that were asked for.

    Attributes:
        table: Those of the columns asked for that exist once, in the file's order.
        columns: Names of all columns of the file, in its order, repeated where the file repeats.
        mixed: Columns asked for whose values are of several kinds, and those kinds.
        form: How a CSV file is written; None for other formats. Cells of a CSV file are strings.
    """

    table: pa.Table
    columns: tuple[str, ...]
    mixed: dict[str, str]
    form: CsvForm | None = None


def columns_asked_for(columns: Sequence[str], wanted: Collection[str]) -> list[int]:
    """Return the positions of the wanted columns that occur exactly once."""
    return [at for at, name in enumerate(columns) if name in wanted and columns.count(name) == 1]


class ColumnBuilder:
    """One column, built from batches of Python values; its type is that of all batches together."""

    def __init__(self) -> None:
        self._batches: list[pa.Array] = []
        self._kinds: set[str] = set()
        self._broken = False

    def append(self, values: list[Any]) -> None:
        """Append the values of the next rows.

        Raises:
            ValueError: A text holds half of a surrogate pair, or a number exceeds 64 bits.
        """
        self._kinds |= {type(value).__name__ for value in values} - {"NoneType"}
        if self._broken:
            return
        try:
            batch = pa.array(values, from_pandas=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            self._broken = True
            return
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a surrogate pair") from None
        except OverflowError:
            raise ValueError("a number exceeds 64 bits") from None
        self._batches.append(batch)

    def column(self) -> pa.ChunkedArray | None:
        """Return the whole column, or None if its values have no common type."""
        if self._broken or not (len(self._kinds) < 2 or self._kinds == {"int", "float"}):
            return None
        try:
            schemas = [pa.schema([("x", batch.type)]) for batch in self._batches]
            kind = pa.unify_schemas(schemas, promote_options="permissive").field("x").type
            kind = pa.string() if pa.types.is_null(kind) else kind
            return pa.chunked_array([batch.cast(kind) for batch in self._batches], kind)
        except pa.ArrowException:
            return None

    def kinds(self) -> str:
        """Return the kinds of the values, such as ``int, str``."""
        return ", ".join(sorted(self._kinds))


def join_cells(parts: Sequence[TableCells], paths: Sequence[Path], where: str) -> TableCells:
    """Return the rows of several files of one split below each other.

    Raises:
        TaskError: The files have different columns, or types that do not fit together.
    """
    first = parts[0]
    for part in parts[1:]:
        if differ := sorted(set(part.columns) ^ set(first.columns)):
            raise TaskError(
                f"cannot read {where}: its files have different columns; missing in some files: "
                f"{', '.join(differ)}"
            )
    mixed = {name: kinds for part in parts for name, kinds in part.mixed.items()}
    tables = [part.table.select([n for n in part.table.column_names if n not in mixed])
              for part in parts]  # fmt: skip
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        raise TaskError(
            f"cannot read {where}: a column has different types in "
            f"{' and '.join(path.name for path in paths[:2])}"
        ) from None
    repeated = [n for part in parts for n in part.columns if part.columns.count(n) > 1]
    columns = first.columns + tuple(
        n for n in dict.fromkeys(repeated) if first.columns.count(n) < 2
    )
    return TableCells(table, columns, mixed, _join_forms(parts))


def _join_forms(parts: Sequence[TableCells]) -> CsvForm | None:
    """Return the form of the CSV files of one split; None for other formats."""
    forms = [part.form for part in parts if part.form]
    if not forms:
        return None
    delimiters = dict.fromkeys(form.delimiter or "" for form in forms)
    decimals = {form.decimal for form in forms if form.decimal}
    decimal = decimals.pop() if len(decimals) == 1 else ""
    return CsvForm("".join(delimiters), decimal, forms[0].decimal_stated)
