"""Costs of a run: seconds, bytes, energy and money of each participation, round and client.

A participation is one client's part in a round, from its dispatch until its update is aggregated
or lost::

    |-- download --|-- compute --|-- upload --|-- waiting --|
    dispatch                                  arrival       the round closes

Queueing is the extra time of downloads and uploads that the transfers of other clients cause. The
queueing of an interrupted transfer is unknown and counts as 0. All other costs of an interrupted
participation count up to the interruption. Participations still running at the end of a run are
not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from floss_sim.network import NetworkProfile
from floss_sim.network.profile import EnergySection
from floss_sim.network.transport import IDEAL
from floss_sim.records import RunRecord
from floss_sim.simulator import AGGREGATED
from floss_sim.wire.framing import OVERHEAD_BYTES

_ROUNDING = 1e-9  # fraction of a transfer's duration; less queueing is rounding of the clock
SECONDS = ("download_s", "compute_s", "upload_s", "queueing_s", "waiting_s")
BYTES = ("useful_bytes", "wasted_bytes", "wire_down_bytes", "wire_up_bytes")
COSTS = ("energy_j", "money")
Column = NDArray[Any]


@dataclass(frozen=True)
class Account:
    """Costs of all participations, one row each, in the order of dispatch.

    Attributes:
        columns: Arrays of equal length by name: ``sequence``, ``round``, ``client`` and ``fate``;
            seconds (``SECONDS``); encoded bytes (framed, both directions, with first downloads) and
            wire bytes (link and set-up), both named in ``BYTES``; joules, and money in the
            profile's currency (``COSTS``).
        currency: The currency of the money; empty where the profile has no prices.
        unknown: Names of ``COSTS`` that the profile does not state. Their columns are 0 here, and
            null in tables.
    """

    columns: Mapping[str, Column]
    currency: str
    unknown: tuple[str, ...] = ()

    def table(self) -> pa.Table:
        """Return the participations as a table; unknown costs are null."""
        return self._with_nulls(self.columns)

    def sums_by(self, key: str) -> pa.Table:
        """Return the sums and the number of participations of each ``"round"`` or ``"client"``.

        Sums of unknown costs are null.
        """
        keys, index = np.unique(self.columns[key], return_inverse=True)
        sums = {
            name: np.bincount(index, weights=self.columns[name], minlength=len(keys))
            for name in (*SECONDS, *BYTES, *COSTS)
        }
        return self._with_nulls({key: keys, "participations": np.bincount(index), **sums})

    def total(self) -> dict[str, float | None]:
        """Return the sums over the run; None where the profile does not state a cost."""
        return {
            name: None if name in self.unknown else float(self.columns[name].sum())
            for name in (*SECONDS, *BYTES, *COSTS)
        }

    def _with_nulls(self, columns: Mapping[str, Column]) -> pa.Table:
        """Return a table of columns, in which the costs that the profile lacks are null."""
        return pa.table({
            name: pa.nulls(len(values), pa.float64()) if name in self.unknown else values
            for name, values in columns.items()
        })  # fmt: skip


def account(record: RunRecord, profile: NetworkProfile | None) -> Account:
    """Return the costs of a run on the network on which its seconds were simulated.

    Args:
        record: The record of the run.
        profile: The network profile with energy and prices; what None or a missing section does not
            state is named in ``unknown``.
    """
    rows = {name: record.transfers[name].to_numpy() for name in record.transfers.column_names}
    sequences, first, index = np.unique(rows["sequence"], return_index=True, return_inverse=True)
    up = rows["direction"] == "up"

    def sum_per_dispatch(values: Column, where: Column) -> Column:
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
    encoded = sum_per_dispatch(rows["sent_bytes"], np.ones_like(up))
    columns = {
        "sequence": sequences,
        "round": rows["round"][first],
        "client": rows["client"][first],
        "fate": rows["fate"][first],
        "download_s": sum_per_dispatch(lasted_s, ~up),
        "compute_s": np.maximum(0.0, up_started_s - down_ended_s),
        "upload_s": sum_per_dispatch(lasted_s, up),
        "queueing_s": sum_per_dispatch(queued_s, queued),
        "waiting_s": np.where(aggregated, np.maximum(0.0, closed_s - up_ended_s), 0.0),
        "useful_bytes": np.where(aggregated, encoded, 0.0),
        "wasted_bytes": np.where(aggregated, 0.0, encoded),
        "wire_down_bytes": sum_per_dispatch(rows["wire_bytes"], ~up),
        "wire_up_bytes": sum_per_dispatch(rows["wire_bytes"], up),
    }
    prices = profile.prices if profile else None
    energy = profile.energy if profile else EnergySection()
    wire = columns["wire_down_bytes"], columns["wire_up_bytes"]
    joules = energy.joules(*wire, columns["compute_s"])
    money = prices.money(*wire, joules) if prices else np.zeros_like(joules)
    columns |= {"energy_j": joules, "money": money}
    known = {"energy_j": energy.is_known, "money": prices is not None and prices.are_known}
    if prices and prices.per_joule:
        known["money"] = energy.is_known
    unknown = tuple(name for name in COSTS if not known[name])
    return Account(columns, prices.currency if prices else "", unknown)


@dataclass(frozen=True)
class MessageBytes:
    """Mean bytes of a delivered message, at each level from the payload to the wire.

    Attributes:
        messages: Number of delivered messages.
        payload: Bytes of positions and values.
        framed: Bytes of the payload with our frame.
        message: Framed bytes with the call's RPC framing; None if the network is unknown.
        link: Message bytes with TLS, headers and retransmissions; None if the network is unknown.
        setup: Bytes of setting up a connection; None if the network is unknown.
        wire: Link and set-up bytes together, as recorded.
    """

    messages: int
    payload: float
    framed: float
    message: float | None
    link: float | None
    setup: float | None
    wire: float


def message_bytes(record: RunRecord, profile: NetworkProfile | None) -> dict[str, MessageBytes]:
    """Return the mean bytes of a message by direction, ``"down"`` or ``"up"``.

    First downloads and interrupted transfers are not included.

    Args:
        record: The record of the run.
        profile: The network on which the run's seconds were simulated; None if it is unknown.
    """
    rows = {name: record.transfers[name].to_numpy() for name in record.transfers.column_names}
    whole = rows["sent_bytes"] == rows["nbytes"]
    found = {}
    for way in ("down", "up"):
        chosen = whole & (rows["direction"] == way)
        if chosen.any():
            found[way] = _means(rows["nbytes"][chosen], rows["wire_bytes"][chosen], profile, way)
    return found


def _means(
    nbytes: Column, wire_bytes: Column, profile: NetworkProfile | None, way: str
) -> MessageBytes:
    framed, wire = float(nbytes.mean()), float(wire_bytes.mean())
    message = link = setup = None
    transport = profile.transport if profile else None
    if transport is None and wire == framed:
        transport = IDEAL  # wire bytes equal framed bytes, so no transport overhead was simulated
    if transport:
        message = float(np.mean([transport.message_bytes(int(n), way) for n in nbytes]))
        link, setup = wire - transport.setup_bytes, float(transport.setup_bytes)
    return MessageBytes(nbytes.size, framed - OVERHEAD_BYTES, framed, message, link, setup, wire)


def _closing_times_s(record: RunRecord, rounds: Column) -> Column:
    closed_s: Column = record.rounds["closed_at_s"].to_numpy()[rounds - 1]
    return closed_s
