"""Tables of a run folder: reading of their Parquet files, and agreement with the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from floss_sim.errors import RecordError
from floss_sim.records.file_checks import FileSum
from floss_sim.records.manifest import Manifest
from floss_sim.records.row_checks import check_rows
from floss_sim.records.schema import OWN_COLUMNS, ROUNDS_WITH_OWN, SCHEMAS, rounds_table


def read_tables(
    folder: Path, committed: Manifest, remedy: str, fleet: int | None = None
) -> dict[str, pa.Table]:
    """Return the committed tables of a run folder, by kind.

    Args:
        folder: Run folder.
        committed: Its manifest.
        remedy: Advice at the end of an error message.
        fleet: Number of clients, if it is known.

    Raises:
        RecordError: A file is missing or damaged, or the tables do not agree with the manifest or
            with each other.
    """
    try:
        tables = {
            kind: _read_table(folder, kind, committed.parts.get(kind, ()), committed)
            for kind in SCHEMAS
        }
        check_tables(
            tables["rounds"],
            tables["transfers"],
            committed.rounds,
            committed.checkpoint_version,
        )
        if committed.rounds:
            check_rows(tables["rounds"], tables["transfers"], fleet)
    except ValueError as error:
        raise RecordError(f"{folder} is damaged ({error}); {remedy}") from None
    return tables


def _read_table(folder: Path, kind: str, names: Sequence[str], committed: Manifest) -> pa.Table:
    parts = [SCHEMAS[kind].empty_table()]
    for name in names:
        part = _read_part(folder / name, kind)
        known = committed.files.get(name)
        if known is not None and part.num_rows != known.rows:
            raise ValueError(f"{name} has {part.num_rows} rows instead of {known.rows}")
        parts.append(part)
    return join_tables(parts).combine_chunks()


def _read_part(path: Path, kind: str) -> pa.Table:
    try:
        with path.open("rb") as raw:  # a name need not be UTF-8
            return read_table(raw, kind, path.name)
    except OSError as error:
        raise _unreadable(path.name, kind, error) from None


def read_table(raw: BinaryIO, kind: str, name: str) -> pa.Table:
    """Return a Parquet file with the schema of its kind.

    Args:
        raw: The open file.
        kind: Kind of the table.
        name: Name of the file in messages.

    Raises:
        ValueError: The file cannot be read, or has other columns, types or missing values.
    """
    schema = SCHEMAS[kind]
    try:
        with pq.ParquetFile(raw) as file:
            if kind == "rounds" and set(OWN_COLUMNS.names) <= set(file.schema_arrow.names):
                schema = ROUNDS_WITH_OWN
            if not file.schema_arrow.equals(schema, check_metadata=False):
                raise ValueError(f"{name} has other columns than the {kind} table")
            found = file.read(use_threads=False)
        found.validate(full=True)
    except (OSError, pa.ArrowException, MemoryError, OverflowError) as error:
        raise _unreadable(name, kind, error) from None
    for field, column in zip(schema, found.columns, strict=True):
        if column.null_count and not field.nullable:
            raise ValueError(f"{name} has missing values in column {field.name}")
    return pa.Table.from_arrays(found.columns, schema=schema)


def join_tables(parts: Sequence[pa.Table]) -> pa.Table:
    """Return tables of a kind one after another; columns that a part lacks are null in its rows."""
    return pa.concat_tables(parts, promote_options="default")


def _unreadable(name: str, kind: str, error: BaseException) -> ValueError:
    said = str(error).partition("\n")[0]
    return ValueError(f"cannot read {name} of the {kind} table: {said}")


def check_tables(rounds: pa.Table, transfers: pa.Table, count: int, version: int) -> None:
    """Check that two tables have the rounds 1 to ``count``, and end with a version.

    Args:
        rounds: Rounds table.
        transfers: Transfers table.
        count: Number of rounds.
        version: Version of the global adapter in the checkpoint after the last of them.

    Raises:
        ValueError: They do not.
    """
    _check_rounds(rounds, count, version)
    _check_transfers(transfers, count)


def _check_rounds(rounds: pa.Table, count: int, version: int) -> None:
    numbers = rounds["round"].to_numpy()
    if not np.array_equal(numbers, np.arange(1, count + 1)):
        raise ValueError(
            f"the rounds table has {len(numbers)} rows that are not rounds 1 to {count}"
        )
    if count and rounds["version"][-1].as_py() != version:
        raise ValueError(
            f"the last round made version {rounds['version'][-1]}, and the checkpoint is of "
            f"version {version}"
        )


def _check_transfers(transfers: pa.Table, count: int) -> None:
    if not transfers.num_rows:
        return
    found = pc.min_max(transfers["round"]).as_py()
    if found["min"] < 1 or found["max"] > count:
        raise ValueError(
            f"the transfers table has rounds {found['min']} to {found['max']}; valid: 1 to {count}"
        )


def as_table(kind: str, rows: Sequence[Mapping[str, Any]] | pa.Table) -> pa.Table:
    """Return rows as a table of a kind; a table is returned as it is."""
    if isinstance(rows, pa.Table):
        return rows
    if kind == "rounds":
        return rounds_table(rows)
    return pa.Table.from_pylist(list(rows), SCHEMAS[kind])


def sum_on_disk(path: Path) -> FileSum:
    """Return the sum of a file as it is on disk, with the number of rows of a Parquet file.

    Raises:
        OSError: The file cannot be read.
        pa.ArrowException: The file should be Parquet and is not.
    """
    if path.suffix != ".parquet":
        return FileSum.of(path)
    with path.open("rb") as file:
        return FileSum.of(path, pq.read_metadata(file).num_rows)
