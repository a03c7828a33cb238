"""What-if: recorded runs re-timed on other networks, from their records alone.

Where rounds wait for all their clients, time does not change what is learned: bytes and accuracies
stand in the record, and only the seconds are simulated again. Neither the run's task nor a
training framework is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from floss_sim.changes import named
from floss_sim.comparison import Comparison, Configuration, Point, check_task, distinct, grouped
from floss_sim.errors import ConfigError, ProfileError, RecordError
from floss_sim.learners import ReplayLearner
from floss_sim.messages import Cohort
from floss_sim.network import NetworkProfile
from floss_sim.recorded import RecordedRun, read_run
from floss_sim.records import TRANSFERS, RunRecord
from floss_sim.simulator import WaitAll, simulate

_SHAPED_BY_TIME = ("policy", "network")  # a trajectory has these only where time shaped it
_UNNAMED = "unnamed network"
_SAME = 1e-9  # relative difference of seconds that are called equal


def retime(record: RunRecord, profile: NetworkProfile) -> RunRecord:
    """Return the same rounds on another network; on the recorded one, the very same record.

    Args:
        record: A run's committed tables with its description; it may have been interrupted.
        profile: The network.

    Raises:
        ConfigError: Time shaped what was learned.
        RecordError: The description does not say how large the fleet is.
    """
    check_replayable(record.description, profile.name)
    cohorts = _cohorts(record.transfers)
    outcomes = list(
        simulate(
            ReplayLearner(record),
            profile.links(_fleet(record.description)),
            WaitAll(),
            lambda number: cohorts[number],
            record.rounds.num_rows,
        )
    )
    rounds = _with(record.rounds, "opened_at_s", [one.opened_at_s for one in outcomes])
    rounds = _with(rounds, "closed_at_s", [one.closed_at_s for one in outcomes])
    transfers = [vars(transfer) for one in outcomes for transfer in one.transfers]
    return replace(record, rounds=rounds, transfers=pa.Table.from_pylist(transfers, TRANSFERS))


def check_replayable(description: Mapping[str, Any], network: str) -> None:
    """Raise ConfigError if time shaped what a run learned; name the command that trains again.

    Args:
        description: The run's, as in ``run.json``.
        network: Where it was to be re-timed.
    """
    shaped = [key for key in _SHAPED_BY_TIME if key in description.get("trajectory", {})]
    if shaped:
        raise ConfigError(
            f"simulated time shaped what this run learned (by its {' and '.join(shaped)}), so "
            f"other seconds would have made another model; train again: "
            f"{_command(description, network)}"
        )


def _command(description: Mapping[str, Any], network: str) -> str:
    trajectory = description["trajectory"]
    options = {"task": trajectory.get("task"), "method": description.get("method")}
    options |= {key: trajectory.get(key) for key in ("rank", "seed")}
    said = (f"--{key} {value}" for key, value in options.items() if value is not None)
    return f"floss-sim run {' '.join(said)} --network {network!r} and the run's other options"


def _fleet(description: Mapping[str, Any]) -> int:
    try:
        return int(description["trajectory"]["fleet"]["clients"])
    except (KeyError, TypeError, ValueError):
        raise RecordError("the record does not say how many clients its fleet has") from None


def _cohorts(transfers: pa.Table) -> dict[int, Cohort]:
    """Return each round's clients in the order of their dispatches."""
    downloads = transfers.filter(pc.equal(transfers["direction"], "down")).sort_by("sequence")
    clients: dict[int, list[int]] = {}
    pairs = zip(downloads["round"].to_pylist(), downloads["client"].to_pylist(), strict=True)
    for number, client in pairs:
        clients.setdefault(number, []).append(client)
    return {number: Cohort(number, tuple(those)) for number, those in clients.items()}


def _with(table: pa.Table, column: str, values: Sequence[float]) -> pa.Table:
    field = table.schema.field(column)
    at = table.schema.get_field_index(column)
    return table.set_column(at, field, pa.array(values, field.type))


def replayable(paths: Iterable[Path], network: str) -> Comparison:
    """Return the configurations of some run folders, whatever networks they were recorded on.

    Args:
        paths: The run folders.
        network: Where they are to be re-timed.

    Raises:
        RecordError: A folder holds no run, the runs are of different tasks or data, or none has a
            committed round.
        ConfigError: Time shaped what a run learned.
    """
    read = [_without_network(read_run(path)) for path in paths]
    check_task(read)
    for run in read:
        try:
            check_replayable(run.folder.description, network)
        except ConfigError as error:
            raise ConfigError(f"{run.path}: {error}") from None
    kept, notes = distinct([run for run in read if run.rounds])
    if not kept:
        raise RecordError("no run holds a committed round")
    configurations, unsaid = grouped(kept)
    empty = [f"{run.path} left out: it holds no committed round" for run in read if not run.rounds]
    notes = [*notes, *empty, *_uneven(configurations), *unsaid]
    return Comparison(kept[0].settings["task"], configurations, tuple(notes))


def _without_network(run: RecordedRun) -> RecordedRun:
    settings = {k: v for k, v in run.settings.items() if k not in ("network", "timing")}
    return replace(run, settings=settings)


def _uneven(configurations: Iterable[Configuration]) -> list[str]:
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
    def last(self) -> Point | None:
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

    Where its seeds were recorded on several networks, there is no such first line.
    """
    others = [scenario(configuration, profile) for profile in networks]
    committed = [run.folder.committed() for run in configuration.runs]
    if len({one.timing for one in committed}) > 1:
        return tuple(others)
    recorded = Scenario(configuration, committed[0].network or _UNNAMED, recorded=True)
    return (recorded, *(one for one in others if not _same_seconds(one, recorded)))


def _same_seconds(one: Scenario, other: Scenario) -> bool:
    pairs = zip(one.runs, other.runs, strict=True)
    return all(_equal_seconds(a.record, b.record) for a, b in pairs)


def _equal_seconds(one: RunRecord, other: RunRecord) -> bool:
    ours, theirs = (record.rounds["closed_at_s"].to_numpy() for record in (one, other))
    return bool(np.allclose(ours, theirs, rtol=_SAME, atol=0))


def recorded_network(configurations: Iterable[Configuration]) -> NetworkProfile:
    """Return the one packaged network, changed or not, that all runs were recorded on.

    Raises:
        ProfileError: They were recorded on several, or on one that is not packaged.
    """
    runs = [run for configuration in configurations for run in configuration.runs]
    names = sorted({run.folder.committed().network or _UNNAMED for run in runs})
    if len(names) > 1:
        raise ProfileError(f"the runs were recorded on {' and '.join(names)}; give a --network")
    try:
        profile = named(names[0])
    except ConfigError:
        raise ProfileError(
            f"the runs were recorded on {names[0]!r}, which is no packaged network; "
            "give a --network"
        ) from None
    for run in runs:
        if not _equal_seconds(retime(run.record, profile), run.record):
            raise ProfileError(
                f"{run.path} was recorded on another {names[0]!r} than the packaged one; "
                "give a --network"
            )
    return profile
