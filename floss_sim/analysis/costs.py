"""What a run cost: seconds, bytes, energy and money, of every participation, round and client.

A participation is one client's part in a round, from its dispatch until its update is aggregated
or lost::

    |-- download --|-- compute --|-- upload --|-- waiting --|
    dispatch                                  arrival       the round closes

Queueing is the part of downloads and uploads that they would not have taken if nobody else had
sent; of an interrupted transfer it is not known, and counts as 0. The rest of what was interrupted
counts as far as it went. What is still under way when a run ends is in no account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from floss_sim.network import NetworkProfile
from floss_sim.network.profile import EnergySection, PricesSection
from floss_sim.network.transport import IDEAL
from floss_sim.records import RunRecord
from floss_sim.simulator import AGGREGATED
from floss_sim.wire.framing import OVERHEAD_BYTES

_MB, _GB = 1e6, 1e9
_ROUNDING = 1e-9  # relative: what the clock does not resolve is no queueing
SECONDS = ("download_s", "compute_s", "upload_s", "queueing_s", "waiting_s")
BYTES = ("useful_bytes", "wasted_bytes", "wire_down_bytes", "wire_up_bytes")
COSTS = ("energy_j", "money")
Column = NDArray[Any]


@dataclass(frozen=True)
class Account:
    """One row for each participation, in the order of dispatch; all columns have equal length.

    Attributes:
        columns: ``sequence``, ``round``, ``client`` and ``fate``; seconds (``SECONDS``), encoded
            (framed, both ways, with first downloads) and wire bytes (``BYTES``: link and set-up),
            joules and, in the profile's currency, money (``COSTS``).
        currency: Of the money; empty where the profile gives no prices.
    """

    columns: Mapping[str, Column]
    currency: str

    def table(self) -> pa.Table:
        """Return the participations as a table."""
        return pa.table(dict(self.columns))

    def sums_by(self, key: str) -> pa.Table:
        """Return sums by ``"round"`` or ``"client"``, with the number of participations."""
        keys, index = np.unique(self.columns[key], return_inverse=True)
        sums = {
            name: np.bincount(index, weights=self.columns[name], minlength=len(keys))
            for name in (*SECONDS, *BYTES, *COSTS)
        }
        return pa.table({key: keys, "participations": np.bincount(index), **sums})

    def total(self) -> dict[str, float]:
        """Return the sums over the run."""
        return {name: float(self.columns[name].sum()) for name in (*SECONDS, *BYTES, *COSTS)}


def account(record: RunRecord, profile: NetworkProfile | None) -> Account:
    """Return what a run cost on the network on which its seconds were simulated.

    Args:
        record: The run.
        profile: Gives energy and prices; 0 where it gives none, or is None.
    """
    rows = {name: record.transfers[name].to_numpy() for name in record.transfers.column_names}
    sequences, first, index = np.unique(rows["sequence"], return_index=True, return_inverse=True)
    up = rows["direction"] == "up"

    def added(values: Column, where: Column) -> Column:
        return np.bincount(index[where], weights=values[where], minlength=len(sequences))

    def at(values: Column, where: Column, otherwise: Column) -> Column:
        chosen = otherwise.copy()
        chosen[index[where]] = values[where]
        return chosen

    lasted_s = rows["ended_at_s"] - rows["started_at_s"]
    queued_s = lasted_s - rows["alone_s"]
    queued = (rows["sent_bytes"] == rows["nbytes"]) & (queued_s > _ROUNDING * lasted_s)
    aggregated = rows["fate"][first] == AGGREGATED
    down = rows["direction"] == "down"
    down_ended_s = at(rows["ended_at_s"], down, np.zeros(len(sequences)))
    up_started_s = at(rows["started_at_s"], up, down_ended_s)
    up_ended_s = at(rows["ended_at_s"], up, down_ended_s)
    closed_s = _closing_times_s(record, rows["round"][first])
    encoded = added(rows["sent_bytes"], np.ones_like(up))
    columns = {
        "sequence": sequences,
        "round": rows["round"][first],
        "client": rows["client"][first],
        "fate": rows["fate"][first],
        "download_s": added(lasted_s, ~up),
        "compute_s": np.maximum(0.0, up_started_s - down_ended_s),
        "upload_s": added(lasted_s, up),
        "queueing_s": added(queued_s, queued),
        "waiting_s": np.where(aggregated, np.maximum(0.0, closed_s - up_ended_s), 0.0),
        "useful_bytes": np.where(aggregated, encoded, 0.0),
        "wasted_bytes": np.where(aggregated, 0.0, encoded),
        "wire_down_bytes": added(rows["wire_bytes"], ~up),
        "wire_up_bytes": added(rows["wire_bytes"], up),
    }
    prices = profile.prices if profile else None
    columns["energy_j"] = _energy_j(columns, profile.energy if profile else EnergySection())
    columns["money"] = _money(columns, prices)
    return Account(columns, prices.currency if prices else "")


@dataclass(frozen=True)
class MessageBytes:
    """The mean bytes of a delivered message: numbers that are never one.

    Attributes:
        messages: How many were delivered.
        payload: Positions and values.
        framed: The payload in our frame.
        message: Framed, with the framing of its call; None where the network is unknown.
        link: The message with TLS, headers and retransmissions; None likewise.
        setup: Of setting up a connection; None likewise.
        wire: Link and set-up, as recorded.
    """

    messages: int
    payload: float
    framed: float
    message: float | None
    link: float | None
    setup: float | None
    wire: float


def message_bytes(record: RunRecord, profile: NetworkProfile | None) -> dict[str, MessageBytes]:
    """Return what messages took, by direction; first downloads are no messages.

    Args:
        record: The run.
        profile: The network on which its seconds were simulated, if it is known.
    """
    rows = {name: record.transfers[name].to_numpy() for name in record.transfers.column_names}
    whole = rows["sent_bytes"] == rows["nbytes"]
    found = {}
    for way in ("down", "up"):
        chosen = whole & (rows["direction"] == way)
        if chosen.any():
            found[way] = _means(rows["nbytes"][chosen], rows["wire_bytes"][chosen], profile)
    return found


def _means(nbytes: Column, wire_bytes: Column, profile: NetworkProfile | None) -> MessageBytes:
    framed, wire = float(nbytes.mean()), float(wire_bytes.mean())
    message = link = setup = None
    transport = profile.transport if profile else None
    if transport is None and wire == framed:
        transport = IDEAL  # nothing else adds nothing
    if transport:
        message = float(np.mean([transport.message_bytes(int(n)) for n in nbytes]))
        link, setup = wire - transport.setup_bytes, float(transport.setup_bytes)
    return MessageBytes(nbytes.size, framed - OVERHEAD_BYTES, framed, message, link, setup, wire)


def _closing_times_s(record: RunRecord, rounds: Column) -> Column:
    closed_s: Column = record.rounds["closed_at_s"].to_numpy()[rounds - 1]
    return closed_s


def _energy_j(columns: Mapping[str, Column], energy: EnergySection) -> Column:
    joules: Column = (
        columns["wire_down_bytes"] / _MB * energy.joules_per_mb_down
        + columns["wire_up_bytes"] / _MB * energy.joules_per_mb_up
        + columns["compute_s"] * energy.compute_watts
    )
    return joules


def _money(columns: Mapping[str, Column], prices: PricesSection | None) -> Column:
    if prices is None:
        return np.zeros_like(columns["energy_j"])
    money: Column = (
        columns["wire_down_bytes"] / _GB * prices.per_gb_down
        + columns["wire_up_bytes"] / _GB * prices.per_gb_up
        + columns["energy_j"] * prices.per_joule
    )
    return money
