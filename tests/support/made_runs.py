"""Run folders made by hand: any rounds, any settings, nothing trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.fingerprints import fingerprint
from floss_sim.network import NetworkProfile
from floss_sim.protocol import Snapshot
from floss_sim.records import RunFolder
from floss_sim.records.schema import RECORD_VERSION
from floss_sim.runs.conditions import timing_of
from floss_sim.simulator import wait_all

Row = tuple[float | None, int, int, float]  # accuracy, bytes down, bytes up, closed at second


def cache_test_metrics(folder: RunFolder, round_: int, metrics: Mapping[str, float]) -> None:
    """Store the test metrics of a round's model as earlier versions did: no single predictions."""
    folder._cache({round_: metrics})


def trajectory(**changes: Any) -> dict[str, Any]:
    """Return a small trajectory; ``changes`` replace its keys."""
    settings: dict[str, Any] = {
        "task": "made",
        "method": {"down_density": 1.0, "up_density": 1.0},
        "rank": 4,
        "seed": 0,
        "fleet": {"clients": 2, "law": "iid", "alpha": 0.1},
        "client": {"learning_rate": 0.05},
        "server": {"learning_rate": 0.005, "cohort": 2},
        "layout": "a9ac0976166cb411",
        "data": "c8a227754e283e3e",
    }
    return {**settings, **changes}


def make_run(
    path: Path,
    rows: Sequence[Row],
    *,
    method: str = "floss",
    timing: str = "0123456789abcdef",
    on: NetworkProfile | None = None,
    test: Mapping[int, float] | None = None,
    own: Mapping[int, float] | None = None,
    **changes: Any,
) -> Path:
    """Write a run of two clients a round, who share the round's bytes one to three.

    Its rounds close at the given seconds, or ``on`` a network at those of the closed form. ``own``
    has the accuracy of the clients' own models by round.
    """
    settings = trajectory(**changes)
    description = {
        "record_version": RECORD_VERSION,
        "fingerprint": fingerprint(settings),
        "method": method,
        "trajectory": settings,
    }
    folder = RunFolder.open(path, description)
    if on is not None:
        rows = timed(rows, on)
    if rows:
        told = {n: {"own_accuracy": a, "own_loss": 1 - a} for n, a in (own or {}).items()}
        folder.commit(
            [_round(n, row) | told.get(n, {}) for n, row in enumerate(rows, start=1)],
            [t for number, row in enumerate(rows, start=1) for t in _transfers(number, row)],
            timing=timing if on is None else timing_of(on, wait_all().settings()),
            network="" if on is None else on.name,
            snapshot=Snapshot(len(rows), {"P": np.zeros(1, np.float32)}),
            models={},
        )
    for number, accuracy in (test or {}).items():
        cache_test_metrics(folder, number, {"accuracy": accuracy, "loss": 1.0})
    return path


def timed(rows: Sequence[Row], profile: NetworkProfile) -> list[Row]:
    """Return rows whose seconds are those of a network, by the closed form."""
    links, now, made = profile.links(2), 0.0, []
    for accuracy, down, up, _ in rows:
        now += max(
            link.rtt_s + link.compute_s_per_example
            + 8 * _part(down, share) / link.down_bits_per_s
            + 8 * _part(up, share) / link.up_bits_per_s
            for link, share in zip(links, (1, 3), strict=True)
        )  # fmt: skip
        made.append((accuracy, down, up, now))
    return made


def _part(nbytes: int, share: int) -> int:
    """Return one client's bytes, a quarter or (with share 3) what it leaves."""
    quarter = nbytes // 4
    return quarter if share == 1 else nbytes - quarter


def _round(number: int, row: Row) -> dict[str, Any]:
    accuracy, down, up, closed = row
    loss = None if accuracy is None else 1 - accuracy
    return {
        "round": number, "version": number, "opened_at_s": 0.0, "closed_at_s": closed,
        "reports": 2, "down_bytes": down, "up_bytes": up, "wasted_bytes": 0,
        "wire_bytes": down + up, "accuracy": accuracy, "loss": loss,
        "dense_accuracy": accuracy, "dense_loss": loss,
    }  # fmt: skip


def _transfers(number: int, row: Row) -> list[dict[str, Any]]:
    return [
        {
            "sequence": 2 * (number - 1) + client, "round": number, "client": client,
            "direction": direction, "version": number - 1, "nbytes": _part(both, share),
            "entries": 1, "examples": 1, "started_at_s": 0.0, "ended_at_s": row[3],
            "sent_bytes": _part(both, share), "wire_bytes": _part(both, share),
            "alone_s": row[3], "fate": "aggregated",
        }
        for direction, both in (("down", row[1]), ("up", row[2]))
        for client, share in ((0, 1), (1, 3))
    ]  # fmt: skip


def one_time(seconds: float) -> TimeSpread:
    """Return a time that nothing is drawn for."""
    return TimeSpread((seconds,), "closed form")
