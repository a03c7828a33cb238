"""Privacy of a recorded run: epsilon of its rounds, by the updates that arrived."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from floss_sim.analysis.run_privacy import RunPrivacy
from floss_sim.errors import ConfigError, RecordError
from floss_sim.methods import DifferentialPrivacy
from floss_sim.records import RunRecord
from floss_sim.records.measured_clock import measured_by
from floss_sim.simulator.participation import AGGREGATED


def recorded_privacy(record: RunRecord, rounds: int | None = None) -> RunPrivacy | None:
    """Return the privacy of a recorded run; None if it ran without.

    The nodes of a deployed run know its seed, and so its cohorts. Its server sees each upload, also
    one that came too late to be recorded.

    Args:
        record: The record.
        rounds: Rounds that count, from the first; None: all.

    Raises:
        RecordError: The description does not say what the privacy was.
    """
    trajectory = record.description.get("trajectory", {})
    told = trajectory.get("method", {}).get("privacy")
    if told is None:
        return None
    try:
        settings = DifferentialPrivacy(**{"clip": math.inf, **told})
        cohort, clients = trajectory["server"]["cohort"], trajectory["fleet"]["clients"]
    except (KeyError, TypeError, ConfigError):
        raise RecordError("the record's description has no privacy that can be read") from None
    reports = record.rounds["reports"].to_pylist()[:rounds]
    deployed = measured_by(record.description) is not None
    way = "down" if deployed and settings.trust == "local" else "up"
    uploads = record.transfers.filter(pc.equal(record.transfers["direction"], way))
    if settings.trust != "local":
        uploads = uploads.filter(pc.equal(uploads["fate"], AGGREGATED))
    rounds_of: dict[int, list[int]] = {}
    for number, client in zip(
        uploads["round"].to_pylist(), uploads["client"].to_pylist(), strict=True
    ):
        if number <= len(reports):
            rounds_of.setdefault(client, []).append(number - 1)
    sampled = "conditions" not in trajectory and not deployed
    return RunPrivacy(settings, clients, cohort, sampled, reports, rounds_of, not deployed)


def told_privacy(record: RunRecord, rounds: int, evaluated: Sequence[int]) -> dict[str, Any] | None:
    """Return a run's epsilon, as plain values with a sentence; None without privacy.

    Args:
        record: The record.
        rounds: Rounds that count, from the first.
        evaluated: Rounds after which epsilon is stated, too.

    Raises:
        ConfigError: The library is not installed.
        RecordError: The description does not say what the privacy was.
    """

    def reached(count: int) -> RunPrivacy | None:
        return recorded_privacy(record, count)

    if (last := reached(rounds)) is None:
        return None
    at = {n: found.to_json()["epsilon"] for n in evaluated if (found := reached(n))}
    return {**last.to_json(), "text": last.text, "epsilon_by_round": at}
