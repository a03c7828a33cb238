"""Parquet files, with views, dictionaries and other forms of a type made plain."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from floss_sim.tasks.parquet_footer import plain_footer
from floss_sim.tasks.table_cells import TableCells, columns_asked_for
from floss_sim.tasks.unpacked_bytes import refuse_unreadable

_MAX_RATIO = 1000  # bytes of the columns read for each byte of the file
_FREE_BYTES = 1 << 28  # bytes of the columns that are allowed at any ratio
_MAX_ROWS = 1 << 31
# Bytes of one text and entries of one list, in the footer and in the heads of pages.
_LIMITS = {"thrift_string_size_limit": 1 << 26, "thrift_container_size_limit": 1 << 26}


def read_parquet(path: Path, wanted: Collection[str]) -> TableCells:
    """Return the wanted columns of a Parquet file.

    Dictionaries become their values, string views become strings, binary views become binary.

    Raises:
        TaskError: The file is damaged, holds no rows, or states sizes that its length cannot hold.
    """
    with refuse_unreadable(path), path.open("rb") as file:
        footer = pq.ParquetFile(pa.BufferReader(plain_footer(file)), **_LIMITS).metadata
        file.seek(0)
        source = pq.ParquetFile(
            pa.PythonFile(file, mode="r"),
            metadata=footer,
            page_checksum_verification=True,
            **_LIMITS,
        )
        schema = source.schema_arrow
        asked = columns_asked_for(schema.names, wanted)
        _check_sizes(source.metadata, len(asked), path.stat().st_size)
        if not source.metadata.num_rows:
            raise ValueError("it holds no rows")
        names = [schema.names[at] for at in asked]
        table = source.read(names, use_threads=False).select(names)
        table.validate(full=True)
        kinds = [_plain_type(table.schema.field(name).type) for name in names]
        fields = [pa.field(name, kind) for name, kind in zip(names, kinds, strict=True)]
        table = table.cast(pa.schema(fields, schema.metadata))
    return TableCells(table, tuple(schema.names), {})


def _check_sizes(footer: pq.FileMetaData, columns: int, size: int) -> None:
    """Raise ValueError if the footer states more bytes or rows than the file can hold."""
    unpacked = sum(
        footer.row_group(group).column(at).total_uncompressed_size
        for group in range(footer.num_row_groups)
        for at in range(footer.num_columns)
    )
    unpacked = max(unpacked, 8 * columns * footer.num_rows)
    if unpacked > max(_MAX_RATIO * size, _FREE_BYTES):
        raise ValueError(f"its footer states {unpacked} bytes, too many for a file of {size}")
    if not 0 <= footer.num_rows < _MAX_ROWS:
        raise ValueError(f"its footer states {footer.num_rows} rows; valid: below {_MAX_ROWS}")


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type without views and dictionaries, also within structs."""
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _plain_type(f.type)) for f in kind])
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    return kind
