"""Table of a run's transfers, built in memory round by round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from floss_sim.records.schema import TRANSFERS

_ROWS = 10_000  # rows buffered before conversion to columns, which need a tenth of the memory


class TransferTable:
    """Collects rows and returns them as one table (schema ``records.TRANSFERS``)."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._parts = [TRANSFERS.empty_table()]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows; the values of a row are in the order of the schema."""
        self._count += len(rows)
        self._rows.extend(rows)
        if len(self._rows) >= _ROWS:
            self._fold()

    def table(self) -> pa.Table:
        """Return the table of all rows."""
        self._fold()
        return pa.concat_tables(self._parts)

    def _fold(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, TRANSFERS, strict=True)]
            self._parts.append(pa.Table.from_arrays(arrays, schema=TRANSFERS))
            self._rows.clear()
