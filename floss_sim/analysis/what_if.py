"""Re-timing of recorded runs on other networks, from their records alone.

Where every round waits for all its clients, time does not influence training. Bytes and accuracies
are then read from the record, and only the seconds are simulated again. Neither the run's task nor
a training framework is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from floss_sim.analysis.comparison import (
    Comparison,
    Configuration,
    CurvePoint,
    check_task,
    drop_duplicates,
    group_runs,
)
from floss_sim.analysis.recorded_runs import RecordedRun, read_run
from floss_sim.analysis.slow_fleets import SlowFleets
from floss_sim.analysis.stragglers import Straggler
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.errors import ConfigError, ProfileError, RecordError
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.named_changes import profile_of_name
from floss_sim.records import RunRecord
from floss_sim.runs.retiming import check_replayable, fleet_size, retime

_UNNAMED = "unnamed network"
_TOLERANCE = 1e-9  # relative difference up to which seconds are equal


def replay_comparison(paths: Iterable[Path], network: str) -> Comparison:
    """Return the comparison of the runs in some folders, whatever networks they were recorded on.

    Args:
        paths: The run folders.
        network: Name of the network for re-timing, for the error message.

    Raises:
        RecordError: A folder holds no run, the runs are of different tasks or data, or no run has
            a committed round.
        ConfigError: Simulated time influenced the training of a run, so it cannot be re-timed.
    """
    read = [_drop_network(read_run(path)) for path in paths]
    check_task(read)
    for run in read:
        try:
            check_replayable(run.folder.description, network)
        except ConfigError as error:
            raise ConfigError(f"{run.path}: {error}") from None
    kept, notes = drop_duplicates([run for run in read if run.rounds])
    if not kept:
        raise RecordError("no run holds a committed round")
    configurations, unsaid = group_runs(kept)
    empty = [f"{run.path} left out: it holds no committed round" for run in read if not run.rounds]
    notes = [*notes, *empty, *_uneven_notes(configurations), *unsaid]
    return Comparison(kept[0].settings["task"], configurations, tuple(notes))


def _drop_network(run: RecordedRun) -> RecordedRun:
    settings = {k: v for k, v in run.settings.items() if k not in ("network", "timing")}
    return replace(run, settings=settings)


def _uneven_notes(configurations: Iterable[Configuration]) -> list[str]:
    """Return a note on each configuration whose seeds have different numbers of rounds."""
    notes = []
    for configuration in configurations:
        counts = [run.rounds for run in configuration.runs]
        if min(counts) < max(counts):
            notes.append(
                f"{configuration.label}: its seeds hold {min(counts)} to {max(counts)} rounds; "
                f"only the first {min(counts)} are used"
            )
    return notes


@dataclass(frozen=True)
class Scenario:
    """A configuration on one network: its runs with that network's seconds.

    ``recorded`` is true if the seconds are taken from the records, not re-timed.
    """

    configuration: Configuration
    network: str
    recorded: bool = False

    @property
    def runs(self) -> tuple[RecordedRun, ...]:
        """The runs in the order of their seeds."""
        return self.configuration.runs

    @property
    def title(self) -> str:
        """The network's name, marked ``(recorded)`` if the seconds are those of the records."""
        return f"{self.network} (recorded)" if self.recorded else self.network

    @property
    def rounds(self) -> int:
        """The number of rounds that all seeds have."""
        return min(run.rounds for run in self.runs)

    @property
    def time(self) -> TimeSpread:
        """Time until the end of round ``rounds``, over fleets that the network may draw."""
        return self.configuration.time(self.rounds)

    @property
    def total_bytes(self) -> float:
        """Encoded bytes of all clients in the first ``rounds`` rounds, mean of seeds."""
        ways = ("down_bytes", "up_bytes")
        return fmean(
            sum(sum(run.record.rounds[way].to_pylist()[: self.rounds]) for way in ways)
            for run in self.runs
        )

    @property
    def own_fleet_s(self) -> float:
        """Seconds until the end of round ``rounds`` on the network's own fleet, mean of seeds."""
        last = self.rounds - 1
        return fmean(run.record.rounds["closed_at_s"][last].as_py() for run in self.runs)

    @property
    def slow_fleets(self) -> SlowFleets | None:
        """The fleets on which a single client takes most of the time of the first seed's run."""
        return self.runs[0].slow_fleets

    @property
    def straggler(self) -> Straggler | None:
        """The client that decides the time of the first seed's run, on the network's own fleet."""
        return self.runs[0].straggler

    @property
    def straggler_link(self) -> ClientLink | None:
        """The link of the straggler; None if there is none or the network is unknown."""
        run = self.runs[0]
        if run.profile is None or run.straggler is None:
            return None
        return run.profile.links(fleet_size(run.folder.description))[run.straggler.client]

    @property
    def last_point(self) -> CurvePoint | None:
        """The point of the last round that all seeds have evaluated, or None."""
        return self.configuration.points[-1] if self.configuration.points else None


def scenario(configuration: Configuration, profile: NetworkProfile) -> Scenario:
    """Return a configuration re-timed on a network.

    Raises:
        RecordError: A run's description lacks the number of clients in the fleet.
    """
    runs = tuple(
        replace(run, record=retime(run.record, profile), profile=profile)
        for run in configuration.runs
    )
    return Scenario(replace(configuration, runs=runs), profile.name)


def scenarios(
    configuration: Configuration, networks: Iterable[NetworkProfile]
) -> tuple[Scenario, ...]:
    """Return a configuration as recorded, then re-timed on each given network.

    A given network equal to the recorded one is skipped. The recorded scenario is omitted if the
    seeds were recorded on several networks.
    """
    others = [scenario(configuration, profile) for profile in networks]
    committed = [run.folder.manifest() for run in configuration.runs]
    if len({one.timing for one in committed}) > 1:
        return tuple(others)
    name = committed[0].network
    recorded = Scenario(configuration, name or _UNNAMED, recorded=True)
    again = [one.network == name and _scenarios_agree(one, recorded) for one in others]
    same = [one.configuration for one, is_same in zip(others, again, strict=True) if is_same]
    if same:  # a network that is not packaged is known now
        recorded = replace(recorded, configuration=same[0])
    return (recorded, *(one for one, is_same in zip(others, again, strict=True) if not is_same))


def _scenarios_agree(one: Scenario, other: Scenario) -> bool:
    pairs = zip(one.runs, other.runs, strict=True)
    return all(_records_agree(a.record, b.record) for a, b in pairs)


def _records_agree(one: RunRecord, other: RunRecord) -> bool:
    ours, theirs = (record.rounds["closed_at_s"].to_numpy() for record in (one, other))
    return bool(np.allclose(ours, theirs, rtol=_TOLERANCE, atol=0))


def recorded_network(configurations: Iterable[Configuration]) -> NetworkProfile:
    """Return the network, possibly changed by options, on which all runs were recorded.

    Raises:
        ProfileError: The runs were recorded on several networks, or on one that is neither packaged
            nor kept in the record.
    """
    runs = [run for configuration in configurations for run in configuration.runs]
    names = sorted({run.folder.manifest().network or _UNNAMED for run in runs})
    if len(names) > 1:
        raise ProfileError(f"the runs were recorded on {' and '.join(names)}; give a --network")
    kept = [run.profile for run in runs if run.profile]
    if len(kept) == len(runs) and len({run.folder.manifest().timing for run in runs}) == 1:
        return kept[0]
    try:
        profile = profile_of_name(names[0])
    except ConfigError:
        raise ProfileError(
            f"the runs were recorded on {names[0]!r}, which is not a packaged network; "
            "give a --network"
        ) from None
    for run in runs:
        if not _records_agree(retime(run.record, profile), run.record):
            raise ProfileError(
                f"{run.path} was recorded on a {names[0]!r} that differs from the packaged one; "
                "give a --network"
            )
    return profile
