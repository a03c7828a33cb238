"""Schemas of a run record: a table of rounds and a table of transfers, with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from floss_sim.notebook import html_table

# Version of run.json and of the tables. It is frozen, because it is an ingredient of every
# trajectory fingerprint: with another number no stored run would be found. A change of the folder
# changes MANIFEST_VERSION.
RECORD_VERSION = 2
MANIFEST_VERSION: Literal[3] = 3  # version of the manifest: 3 has the SHA-256 of every file
_SHOWN = ("round", "closed_at_s", "total_bytes", "accuracy", "loss")  # columns shown in notebooks


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
# Columns that a rounds table has besides, where clients' own models were measured.
OWN_COLUMNS = _schema(
    (
        "own_accuracy",
        pa.float64(),
        True,
        "mean over clients of each one's own model, on validation examples weighted by the "
        "client's label shares (partition by labels) or on all, 0 to 1",
    ),
    ("own_loss", pa.float64(), True, "its cross-entropy with the same weights, nats"),
)
ROUNDS_WITH_OWN = pa.schema([*ROUNDS, *OWN_COLUMNS])
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


def rounds_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a rounds table, which has OWN_COLUMNS if a row has values of them."""
    own = any(row.get(name) is not None for row in rows for name in OWN_COLUMNS.names)
    return pa.Table.from_pylist(list(rows), ROUNDS_WITH_OWN if own else ROUNDS)


@dataclass(frozen=True)
class RunRecord:
    """Record of a run: its description and its two tables (schemas ROUNDS and TRANSFERS).

    Example:
        >>> from floss_sim import RunConfig, dense, load_profile, load_task, size_only
        >>> config = RunConfig.of(load_task("digits"), dense(), rank=1)
        >>> record = size_only(config, load_profile("lte"), rounds=3)
        >>> record.rounds.num_rows, record.transfers.num_rows
        (3, 30)
        >>> record.to_pandas()["round"].tolist()
        [1, 2, 3]
    """

    description: Mapping[str, Any]
    rounds: pa.Table
    transfers: pa.Table

    def to_pandas(self) -> Any:
        """Return the rounds as a pandas.DataFrame: the columns of ROUNDS and ``total_bytes``.

        OWN_COLUMNS follow where clients' own models were measured.

        ``transfers.to_pandas()`` returns the transfers.
        """
        return self._with_total_bytes().to_pandas()

    def __repr__(self) -> str:
        trajectory = self.description.get("trajectory", {})
        names = [str(trajectory[key]) for key in ("task", "seed") if key in trajectory]
        what = f"{names[0]}, seed {names[1]}: " if len(names) == 2 else ""
        accuracies = self.evaluated()["accuracy"].to_pylist()
        last = f", last accuracy {accuracies[-1]:.3f}" if accuracies else ""
        return f"RunRecord({what}{self.rounds.num_rows} rounds{last})"

    def _repr_html_(self) -> str:
        """Return the evaluated rounds (all rounds if none is) as a table for notebooks."""
        evaluated = self.evaluated()
        rows = (evaluated if evaluated.num_rows else self._with_total_bytes()).to_pylist()
        cells = [[_cell(row[name]) for name in _SHOWN] for row in rows]
        return html_table(cells, _SHOWN, repr(self))

    def evaluated(self) -> pa.Table:
        """Return the evaluated rounds: the columns of ROUNDS and the cumulative ``total_bytes``."""
        table = self._with_total_bytes()
        return table.filter(pc.is_valid(table["accuracy"]))

    def _with_total_bytes(self) -> pa.Table:
        both = pc.cumulative_sum(pc.add(self.rounds["down_bytes"], self.rounds["up_bytes"]))
        return self.rounds.append_column("total_bytes", both)


def _cell(value: object) -> str:
    """Return a value as a cell of a table for people."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
