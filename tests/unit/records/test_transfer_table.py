"""The table of transfers, grown by rows."""

from __future__ import annotations

import pyarrow as pa
import pytest

from floss_sim.records import TRANSFERS, transfer_table
from floss_sim.records.transfer_table import TransferTable
from floss_sim.simulator import Transfer


def row(number: int) -> Transfer:
    return Transfer(
        number, 1, 7, "down", 3, 100, 5, 0, 0.5, 1.5 + number, 99, 120, 1.25, "aggregated"
    )


def test_the_fields_of_a_transfer_are_the_columns_of_the_record():
    assert list(Transfer._fields) == TRANSFERS.names


@pytest.mark.parametrize("part", [1, 4, 1000])
def test_rows_come_back_in_order_whatever_the_parts(part: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transfer_table, "_ROWS", part)
    table = TransferTable()
    for first in range(0, 12, 3):
        table.extend([row(i) for i in range(first, first + 3)])
    assert len(table) == 12
    expected = pa.Table.from_pylist([row(i)._asdict() for i in range(12)], TRANSFERS)
    assert table.table().equals(expected, check_metadata=True)
    table.extend([row(12)])
    assert len(table) == table.table().num_rows == 13


def test_no_rows_are_an_empty_table():
    assert TransferTable().table().equals(TRANSFERS.empty_table())
