"""What-if: recorded runs re-timed on other networks, from their records alone.

Where rounds wait for all their clients, time does not change what is learned: bytes and accuracies
stand in the record, and only the seconds are simulated again. Neither the run's task nor a
training framework is loaded.
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
from floss_sim.errors import ConfigError, ProfileError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.network.named_changes import profile_of_name
from floss_sim.records import RunRecord
from floss_sim.runs.retiming import check_replayable, retime

_UNNAMED = "unnamed network"
_TOLERANCE = 1e-9  # relative difference of seconds that are called equal


def replay_comparison(paths: Iterable[Path], network: str) -> Comparison:
    """Return the configurations of some run folders, whatever networks they were recorded on.

    Args:
        paths: The run folders.
        network: Where they are to be re-timed.

    Raises:
        RecordError: A folder holds no run, the runs are of different tasks or data, or none has a
            committed round.
        ConfigError: Time shaped what a run learned.
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
    """Return a note on each configuration some of whose seeds have gone further than others."""
    notes = []
    for configuration in configurations:
        counts = [run.rounds for run in configuration.runs]
        if min(counts) < max(counts):
            notes.append(
                f"{configuration.label}: its seeds hold {min(counts)} to {max(counts)} rounds; "
                f"the first {min(counts)} count"
            )
    return notes


@dataclass(frozen=True)
class Scenario:
    """A configuration on one network: its runs with that network's seconds.

    ``recorded``: the seconds are those of the records, not re-timed.
    """

    configuration: Configuration
    network: str
    recorded: bool = False

    @property
    def runs(self) -> tuple[RecordedRun, ...]:
        """The runs, by seed."""
        return self.configuration.runs

    @property
    def title(self) -> str:
        """The network's name, and whether the runs were recorded on it."""
        return f"{self.network} (recorded)" if self.recorded else self.network

    @property
    def rounds(self) -> int:
        """How many rounds all seeds hold."""
        return min(run.rounds for run in self.runs)

    @property
    def simulated_s(self) -> float:
        """Simulated seconds of these rounds, the mean over the seeds."""
        last = self.rounds - 1
        return fmean(run.record.rounds["closed_at_s"][last].as_py() for run in self.runs)

    @property
    def last_point(self) -> CurvePoint | None:
        """The last round that all seeds have evaluated, if there is one."""
        return self.configuration.points[-1] if self.configuration.points else None


def scenario(configuration: Configuration, profile: NetworkProfile) -> Scenario:
    """Return a configuration on a network.

    Raises:
        RecordError: A run's description does not say how large its fleet is.
    """
    runs = tuple(replace(run, record=retime(run.record, profile)) for run in configuration.runs)
    return Scenario(replace(configuration, runs=runs), profile.name)


def scenarios(
    configuration: Configuration, networks: Iterable[NetworkProfile]
) -> tuple[Scenario, ...]:
    """Return a configuration as recorded, then on other networks.

    The recorded network is not repeated. Where its seeds were recorded on several networks, there
    is no such first line.
    """
    others = [scenario(configuration, profile) for profile in networks]
    committed = [run.folder.manifest() for run in configuration.runs]
    if len({one.timing for one in committed}) > 1:
        return tuple(others)
    recorded = Scenario(configuration, committed[0].network or _UNNAMED, recorded=True)
    name = committed[0].network
    again = (one.network == name and _scenarios_agree(one, recorded) for one in others)
    return (recorded, *(one for one, same in zip(others, again, strict=True) if not same))


def _scenarios_agree(one: Scenario, other: Scenario) -> bool:
    pairs = zip(one.runs, other.runs, strict=True)
    return all(_records_agree(a.record, b.record) for a, b in pairs)


def _records_agree(one: RunRecord, other: RunRecord) -> bool:
    ours, theirs = (record.rounds["closed_at_s"].to_numpy() for record in (one, other))
    return bool(np.allclose(ours, theirs, rtol=_TOLERANCE, atol=0))


def recorded_network(configurations: Iterable[Configuration]) -> NetworkProfile:
    """Return the one packaged network, changed or not, that all runs were recorded on.

    Raises:
        ProfileError: They were recorded on several, or on one that is not packaged.
    """
    runs = [run for configuration in configurations for run in configuration.runs]
    names = sorted({run.folder.manifest().network or _UNNAMED for run in runs})
    if len(names) > 1:
        raise ProfileError(f"the runs were recorded on {' and '.join(names)}; give a --network")
    try:
        profile = profile_of_name(names[0])
    except ConfigError:
        raise ProfileError(
            f"the runs were recorded on {names[0]!r}, which is no packaged network; "
            "give a --network"
        ) from None
    for run in runs:
        if not _records_agree(retime(run.record, profile), run.record):
            raise ProfileError(
                f"{run.path} was recorded on another {names[0]!r} than the packaged one; "
                "give a --network"
            )
    return profile
