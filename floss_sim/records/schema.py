"""Schema of a run record: two tables, one row a round and one row a transfer, with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

RECORD_VERSION = 2


def _schema(*columns: tuple[str, pa.DataType, bool, str]) -> pa.Schema:
    return pa.schema(
        [
            pa.field(name, kind, nullable, metadata={"description": description})
            for name, kind, nullable, description in columns
        ]
    )


ROUNDS = _schema(
    ("round", pa.int32(), False, "1-based number of the round"),
    ("version", pa.int32(), False, "global version after the round's server step"),
    ("opened_at_s", pa.float64(), False, "simulated instant of the first dispatch, seconds"),
    ("closed_at_s", pa.float64(), False, "simulated instant of the server step, seconds"),
    ("reports", pa.int32(), False, "updates that were aggregated"),
    (
        "down_bytes",
        pa.int64(),
        False,
        "payload bytes sent in downloads, first ones included",
    ),
    ("up_bytes", pa.int64(), False, "payload bytes sent in all uploads of the round"),
    ("wasted_bytes", pa.int64(), False, "of these, bytes for updates that were not aggregated"),
    ("wire_bytes", pa.int64(), False, "bytes on the wire, headers and set-up included"),
    ("accuracy", pa.float64(), True, "validation accuracy of P * M, 0 to 1; null: not evaluated"),
    ("loss", pa.float64(), True, "validation cross-entropy of P * M, nats"),
    ("dense_accuracy", pa.float64(), True, "diagnostic: validation accuracy of dense P"),
    ("dense_loss", pa.float64(), True, "diagnostic: validation cross-entropy of dense P, nats"),
)
TRANSFERS = _schema(
    ("sequence", pa.int64(), False, "number of the dispatch in the run, from 0"),
    ("round", pa.int32(), False, "1-based round in which the update was aggregated or lost"),
    ("client", pa.int32(), False, "client, 0 to fleet - 1"),
    (
        "direction",
        pa.string(),
        False,
        "'down': server to client; 'up': client to server; 'first': downloaded once by a client",
    ),
    ("version", pa.int32(), False, "global version that the client downloaded"),
    ("nbytes", pa.int64(), False, "encoded bytes of the payload"),
    ("entries", pa.int64(), False, "adapter entries that the payload carries"),
    ("examples", pa.int32(), False, "local examples; 0 for downloads"),
    (
        "started_at_s",
        pa.float64(),
        False,
        "simulated instant at which the transfer starts, seconds",
    ),
    (
        "ended_at_s",
        pa.float64(),
        False,
        "simulated instant of the last byte's arrival or of an interruption, seconds",
    ),
    ("sent_bytes", pa.int64(), False, "bytes of the payload that were sent"),
    ("wire_bytes", pa.int64(), False, "bytes on the wire, headers and set-up included"),
    ("alone_s", pa.float64(), False, "seconds that the transfer takes where nobody else sends"),
    ("fate", pa.string(), False, "aggregated, late, cancelled, dropped or offline"),
)
SCHEMAS = {"rounds": ROUNDS, "transfers": TRANSFERS}


@dataclass(frozen=True)
class RunRecord:
    """A run as data: its description and its two tables (schemas ROUNDS and TRANSFERS)."""

    description: Mapping[str, Any]
    rounds: pa.Table
    transfers: pa.Table

    def evaluated(self) -> pa.Table:
        """Return the evaluated rounds: the columns of ROUNDS plus cumulative ``total_bytes``."""
        both = pc.cumulative_sum(pc.add(self.rounds["down_bytes"], self.rounds["up_bytes"]))
        table = self.rounds.append_column("total_bytes", both)
        return table.filter(pc.is_valid(table["accuracy"]))
