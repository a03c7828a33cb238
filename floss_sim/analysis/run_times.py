"""Time of a recorded run, as a spread over the fleets that a network profile may draw."""

from __future__ import annotations

import pyarrow.compute as pc

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.slow_fleets import SlowFleets, find_slow_fleets
from floss_sim.analysis.time_spread import FleetTimes, Method, TimeSpread
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import ConfigError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.records import RunRecord
from floss_sim.records.measured_clock import measured_by
from floss_sim.runs.retiming import check_retimable, fleet_size, with_first_download


def time_spread(
    record: RunRecord, profile: NetworkProfile, rounds: int | None = None
) -> TimeSpread:
    """Return the simulated time of a recorded run on the fleets that a profile may draw.

    Messages and cohorts are those of the record. The links, their jitter and the starts of their
    traces are drawn anew for each fleet. Where nothing is drawn, the spread has one time.

    Args:
        record: Record of a run whose rounds wait for all their clients; trained or size-only.
        profile: The network, which may differ from the recorded one.
        rounds: Number of the round that ends the run; by default the last recorded one.

    Raises:
        ConfigError: Simulated time affected the run's training, or would on the network; or there
            is no such round.
        RecordError: The record has no rounds, or no fleet size.

    Example:
        >>> from floss_sim import RunConfig, floss, load_profile, load_task, size_only, time_spread
        >>> config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
        >>> profile = load_profile("paper-200-20")
        >>> spread = time_spread(size_only(config, profile, rounds=3), profile)
        >>> spread.draws, spread.method  # every client of this profile has the same link
        (1, 'closed form')
        >>> spread.low_s == spread.median_s == spread.high_s
        True
    """
    return fleet_times(record, profile).at(_round(record, rounds))


def fleet_times(record: RunRecord, profile: NetworkProfile) -> FleetTimes:
    """Return the instants at which a run's rounds close, on the fleets that a profile may draw.

    Arguments and errors are those of :func:`time_spread`.
    """
    fleets, traffic = _fleets(record, profile)
    return fleets.times(traffic)


def slow_fleets(
    record: RunRecord, profile: NetworkProfile, rounds: int | None = None
) -> SlowFleets | None:
    """Return the fleets on which a single client takes more than half of a run's time, or None.

    Arguments and errors are those of :func:`time_spread`.
    """
    fleets, traffic = _fleets(record, profile)
    return find_slow_fleets(fleets, traffic.until(_round(record, rounds)))


def _fleets(record: RunRecord, profile: NetworkProfile) -> tuple[Fleets, Traffic]:
    """Return the fleets that a profile may draw, and the messages of a run on them."""
    check_retimable(record.description, profile)
    profile = with_first_download(record, profile)
    traffic = Traffic.of(record).with_first(profile.first_download)
    return Fleets.of(profile, fleet_size(record.description)), traffic


def recorded_times(record: RunRecord) -> FleetTimes:
    """Return the recorded instants at which a run's rounds close: those of one fleet."""
    method: Method = "measured" if measured_by(record.description) else "recorded"
    return FleetTimes(record.rounds["closed_at_s"].to_numpy()[None], method)


def _round(record: RunRecord, rounds: int | None) -> int:
    """Return the number of the round that ends a run."""
    last = int(pc.max(record.rounds["round"]).as_py() or 0)
    if not last:
        raise RecordError("the record has no rounds, so it has no time")
    if rounds is not None and not 1 <= rounds <= last:
        raise ConfigError(f"round {rounds} of a run of {last} rounds; valid: 1 to {last}")
    return last if rounds is None else rounds
