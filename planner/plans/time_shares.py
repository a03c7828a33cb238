"""Round time by download, upload, compute, latency and queueing; upload share of the budget.

Both are computed from a timed record.

Legend: P participations, R rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.network import NetworkProfile
from floss_sim.records import RunRecord
from floss_sim.runs.retiming import retime
from floss_sim.units import BITS_PER_BYTE
from planner.plans.explanation import RoundTime
from planner.question.budget import Limit

Column = NDArray[Any]


def upload_share(record: RunRecord, limit: Limit, rounds: int) -> float | None:
    """Return the uploads' share of the budget that the first rounds spend.

    None for a budget that is no sum over messages: uploads overlap with other activities in
    simulated time, and the busiest device may change.
    """
    if not limit.budget.is_sum:
        return None
    rows = _rows(record, rounds)
    up, cost = rows["direction"] == "up", rows["nbytes"].astype(np.float64)
    if limit.budget.kind == "dense-rounds":
        cost /= _rates(rows, limit)
    return float(cost[up].sum() / cost.sum())


def round_time(record: RunRecord, profile: NetworkProfile, limit: Limit, rounds: int) -> RoundTime:
    """Return the mean duration and the breakdown of a run's first rounds.

    A round ends when its last client reports; the shares are those of that client.

    Args:
        record: A run that was timed on ``profile``; its rounds wait for all clients.
        profile: The network.
        limit: The budget, with the clients' links.
        rounds: Number of first rounds to analyse.
    """
    if profile.transport.framework:
        return _with_floor(record, profile, limit, rounds)
    rows = _rows(record, rounds)
    lasted_s = rows["ended_at_s"] - rows["started_at_s"]
    alone_s = np.minimum(rows["alone_s"], lasted_s)
    ways = ("down", "up")
    most = dict(zip(ways, (profile.alone_bits_per_s(way) for way in ways), strict=True))
    up = rows["direction"] == "up"
    rate = np.minimum(_rates(rows, limit), np.where(up, most["up"], most["down"]))
    data_s = np.minimum(alone_s, BITS_PER_BYTE * rows["wire_bytes"] / rate)
    last = np.isin(rows["sequence"], _last_reporters(rows))
    closed_R = np.asarray(record.rounds["closed_at_s"], dtype=np.float64)[:rounds]
    opened_R = np.asarray(record.rounds["opened_at_s"], dtype=np.float64)[:rounds]
    total_s = float((closed_R - opened_R).sum())
    parts = {
        "download": data_s[last & ~up].sum(),
        "upload": data_s[last & up].sum(),
        "latency": (alone_s - data_s)[last].sum(),
        "queueing": (lasted_s - alone_s)[last].sum(),
    }
    parts["compute"] = total_s - sum(parts.values())
    waited_P = closed_R[rows["round"][up] - 1] - rows["ended_at_s"][up]
    whole_P = (closed_R - opened_R)[rows["round"][up] - 1]
    return RoundTime(
        round_s=total_s / rounds,
        waiting=_share(float(waited_P.sum()), float(whole_P.sum())),
        **{name: _share(float(seconds), total_s) for name, seconds in parts.items()},
    )


def _with_floor(record: RunRecord, profile: NetworkProfile, limit: Limit, rounds: int) -> RoundTime:
    """Return the breakdown on a network with a framework: its floor, and the rest without it."""
    plain = profile.without_framework()
    rest = round_time(retime(record, plain), plain, limit, rounds)
    round_s = float(record.rounds["closed_at_s"][rounds - 1].as_py()) / rounds
    ratio = min(1.0, rest.round_s / round_s)
    shares = rest.model_dump(exclude={"round_s", "framework"})
    scaled = {name: ratio * share for name, share in shares.items()}
    return RoundTime(round_s=round_s, framework=1 - ratio, **scaled)


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole else 0.0


def _rows(record: RunRecord, rounds: int) -> dict[str, Column]:
    """Return the columns of the transfers of the first rounds."""
    transfers = record.transfers
    early = np.asarray(transfers["round"]) <= rounds
    names = ("sequence", "round", "client", "nbytes", "wire_bytes", "started_at_s", "ended_at_s",
             "alone_s")  # fmt: skip
    rows = {name: np.asarray(transfers[name])[early] for name in names}
    return {**rows, "direction": np.asarray(transfers["direction"].to_pylist())[early]}


def _rates(rows: dict[str, Column], limit: Limit) -> Column:
    """Return the nominal bits per second of each transfer's link."""
    clients, index = np.unique(rows["client"], return_inverse=True)
    down = np.array([limit.links[int(i)].down_bits_per_s for i in clients])[index]
    up = np.array([limit.links[int(i)].up_bits_per_s for i in clients])[index]
    rates: Column = np.where(rows["direction"] == "up", up, down)
    return rates


def _last_reporters(rows: dict[str, Column]) -> Column:
    """Return the sequence number of each round's participation whose upload ends last."""
    up = rows["direction"] == "up"
    number_P, ended_P, sequence_P = (rows[n][up] for n in ("round", "ended_at_s", "sequence"))
    order = np.lexsort((sequence_P, ended_P, number_P))
    final = np.flatnonzero(np.diff(number_P[order], append=np.inf) != 0)
    chosen: Column = sequence_P[order][final]
    return chosen
