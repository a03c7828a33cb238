"""Sentences about times: which of several runs is faster, and why a run has one time alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from floss_sim.analysis.recorded_networks import unknown_reason
from floss_sim.analysis.recorded_runs import RecordedRun
from floss_sim.analysis.time_spread import (
    PROBED_LEGEND,
    SHAPED_NOTE,
    SPREAD_LEGEND,
    TimeSpread,
    nothing_drawn_note,
    traffic_alone_note,
)
from floss_sim.records.measured_clock import measured_by

_MOST_PAIRS = 3  # of a sentence


def faster_sentence(times: Mapping[str, TimeSpread]) -> str | None:
    """Return in which fraction of fleets the fastest of some runs is faster than the next ones.

    The fastest has the lowest median. None where there is nothing to compare: fewer than two runs,
    or one fleet.

    Args:
        times: Time of each run by its name, all on the same network.
    """
    ordered = sorted(times, key=lambda name: times[name].median_s)
    if len(ordered) < 2 or min(time.draws for time in times.values()) == 1:
        return None
    first, *others = ordered
    parts = [
        f"than {other} in {100 * times[first].fraction_faster(times[other]):.0f} % of fleets"
        for other in others[:_MOST_PAIRS]
    ]
    return f"{first} is faster {', '.join(parts)}"


def time_notes(runs: Iterable[RecordedRun]) -> list[str]:
    """Return what the times of some runs are: their legend, and what is particular about some.

    That is why a run has one time alone, and networks whose seconds are those of traffic alone.
    """
    runs = list(runs)
    spread = [run for run in runs if len(run.fleet_times.closed_at_s) > 1]
    notes = [f"time: {SPREAD_LEGEND}"] if spread else []
    if any(run.fleet_times.method == "probed" for run in spread):
        notes.append(PROBED_LEGEND)
    single = [run for run in runs if len(run.fleet_times.closed_at_s) == 1]
    profiles = (run.profile for run in runs)
    alone = [traffic_alone_note(one.name) for one in profiles if one and one.is_traffic_alone]
    return [*notes, *dict.fromkeys([*map(_single_reason, single), *alone])]


def measured_note(framework: str) -> str:
    """Return the sentence on seconds that the server of a deployment measured."""
    return (
        f"seconds that are marked as measured are those of a deployment's server ({framework}), "
        "not simulated; floss-sim replay simulates the run's messages on a network"
    )


def _single_reason(run: RecordedRun) -> str:
    """Return why a run has one time alone."""
    network = run.folder.manifest().network or "the recorded network"
    if framework := measured_by(run.folder.description):
        return measured_note(framework)
    if not run.waits_for_all:
        return f"one recorded time on {network}: {SHAPED_NOTE}"
    if run.profile is None:
        return (
            f"one recorded time: {unknown_reason(network)}; "
            "--network FILE, with the file of that network, times other fleets"
        )
    return nothing_drawn_note(run.profile.name)
