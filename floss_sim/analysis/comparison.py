"""Comparison of recorded runs: means and ranges over seeds, and a ranking of configurations.

Runs that differ only in the seed are one configuration. Another network or round policy makes
another configuration, because it changes the seconds. The seeds of a configuration are compared at
the rounds that all of them have evaluated. Each such round is one point: its seconds, bytes and
accuracy are means over the seeds, and its range goes from the lowest to the highest accuracy of a
seed. Seconds and bytes of a round differ a little between seeds; they are averaged, not
interpolated. Where the network is known, seconds are a spread over the fleets that it may draw: on
each fleet the mean over the seeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from floss_sim.analysis.configuration_labels import labels
from floss_sim.analysis.on_test import AccuracyOnTest, accuracy_on_test
from floss_sim.analysis.recorded_networks import is_timed_on
from floss_sim.analysis.recorded_runs import RecordedRun, read_run
from floss_sim.analysis.time_spread import TimeSpread, mean_spread
from floss_sim.errors import ConfigError, ProfileError, RecordError, UnitError
from floss_sim.network import NetworkProfile
from floss_sim.units import parse_bytes, parse_duration


class Axis(StrEnum):
    """Quantity on the x axis of an accuracy curve, and of a limit on it."""

    ROUND = "round"
    BYTES = "bytes"
    SECONDS = "seconds"

    @property
    def column(self) -> str:
        """The column of ``plots.accuracy.comparison_frame``."""
        return {"bytes": "total_bytes", "seconds": "closed_at_s"}.get(self.value, self.value)


_AXIS_WORDS = {"rounds": Axis.ROUND, "traffic": Axis.BYTES, "time": Axis.SECONDS}


@dataclass(frozen=True)
class CurveLimit:
    """Limit up to which curves are read: at most ``amount`` rounds, bytes or seconds."""

    axis: Axis
    amount: float


@dataclass(frozen=True)
class CurvePoint:
    """A configuration at one evaluated round: means over its seeds, and the range of accuracies.

    ``closed_at_s`` is the recorded instant, ``time`` that over fleets. ``accuracy_sd`` is the
    sample standard deviation over the seeds, None for one seed. ``total_bytes`` sums all clients,
    both directions and all rounds up to this one. ``own_accuracy`` is that of the clients' own
    models, None where a seed lacks it.
    """

    round: int
    closed_at_s: float
    total_bytes: float
    accuracy: float
    accuracy_sd: float | None
    lowest: float
    highest: float
    time: TimeSpread
    own_accuracy: float | None = None

    def is_within(self, limit: CurveLimit | None) -> bool:
        """Return whether the point is at or below a limit; None is no limit.

        A limit of seconds is compared with the median over fleets.
        """
        if limit is None:
            return True
        reached = {Axis.ROUND: self.round, Axis.BYTES: self.total_bytes}
        return reached.get(limit.axis, self.time.median_s) <= limit.amount


@dataclass(frozen=True)
class Configuration:
    """The runs of one configuration, in the order of their seeds."""

    label: str
    method: str
    runs: tuple[RecordedRun, ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings, which are equal in all runs of the configuration."""
        return self.runs[0].settings

    @cached_property
    def points(self) -> tuple[CurvePoint, ...]:
        """The points of the rounds that all seeds have evaluated, in order."""
        shared = set.intersection(*(set(run.curve) for run in self.runs))
        return tuple(self._point(number) for number in sorted(shared))

    def _point(self, number: int) -> CurvePoint:
        rows = [run.curve[number] for run in self.runs]
        accuracies = [row["accuracy"] for row in rows]
        own = [row.get("own_accuracy") for row in rows]
        return CurvePoint(
            round=number,
            closed_at_s=fmean(row["closed_at_s"] for row in rows),
            total_bytes=fmean(row["total_bytes"] for row in rows),
            accuracy=fmean(accuracies),
            accuracy_sd=stdev(accuracies) if len(rows) > 1 else None,
            lowest=min(accuracies),
            highest=max(accuracies),
            time=self.time(number),
            own_accuracy=None if None in own else _mean(own),
        )

    def time(self, round_: int) -> TimeSpread:
        """Return the time until the end of a round: on each fleet the mean over the seeds."""
        return mean_spread([run.fleet_times.at(round_) for run in self.runs])

    def target_point(self, accuracy: float) -> CurvePoint | None:
        """Return the first point whose mean accuracy is at least ``accuracy``, or None."""
        return next((point for point in self.points if point.accuracy >= accuracy), None)

    def last_point(self, limit: CurveLimit | None) -> CurvePoint | None:
        """Return the last point within a limit, or None."""
        return next((p for p in reversed(self.points) if p.is_within(limit)), None)

    def read(self, limit: CurveLimit | None) -> ComparisonRow:
        """Return the table row of the configuration at its last point within a limit."""
        point = self.last_point(limit)
        if point is None:
            return ComparisonRow(self, None, None, None, ())
        last = point.round
        down, up = (_mean(run.payload_bytes(d, last) for run in self.runs) for d in ("down", "up"))
        tests = tuple(t for t in (run.test_accuracy(last) for run in self.runs) if t is not None)
        own = tuple(t for t in (run.own_test_accuracy(last) for run in self.runs) if t is not None)
        return ComparisonRow(self, point, down, up, tests, self._on_test(last), own)

    def _on_test(self, round_: int) -> AccuracyOnTest | None:
        """Return the test accuracy with its interval, if every tested seed has its predictions."""
        tested = [run for run in self.runs if run.test_accuracy(round_) is not None]
        hits = [made for run in tested if (made := run.hits_on_test(round_))]
        if not hits or len(hits) < len(tested):
            return None
        return accuracy_on_test(hits, np.ones(len(hits[0].right), np.int64))


@dataclass(frozen=True)
class ComparisonRow:
    """Table row: a configuration at one of its points, or without a point within the limit.

    ``down_bytes`` and ``up_bytes`` are mean framed bytes of a client in a round, over all rounds
    up to the point. ``test_accuracies`` holds the test accuracies recorded at the point's round,
    ``test`` their mean with its interval; None where single predictions are not recorded.
    ``own_tests`` holds those of the clients' own models.
    """

    configuration: Configuration
    point: CurvePoint | None
    down_bytes: float | None
    up_bytes: float | None
    test_accuracies: tuple[float, ...]
    test: AccuracyOnTest | None = None
    own_tests: tuple[float, ...] = ()

    @property
    def own_test_accuracy(self) -> float | None:
        """The mean over the seeds of the own models' test accuracy, where it was measured."""
        return _mean(self.own_tests)

    @property
    def test_accuracy(self) -> float | None:
        """The mean test accuracy over the seeds for which it was measured."""
        return _mean(self.test_accuracies)

    def rank(self) -> tuple[Any, ...]:
        """Return the sort key: highest accuracy, then fewest bytes; rows without a point last."""
        label = self.configuration.label
        if self.point is None:
            return (1, 0.0, 0.0, label)
        return (0, -self.point.accuracy, self.point.total_bytes, label)


@dataclass(frozen=True)
class Comparison:
    """Configurations of one task, and notes on runs left out and other limits of the comparison."""

    task: str
    configurations: tuple[Configuration, ...]
    notes: tuple[str, ...]

    def readings(self, limit: CurveLimit | None = None) -> list[ComparisonRow]:
        """Return the table rows at the last points within a limit, the best configuration first."""
        readings = [configuration.read(limit) for configuration in self.configurations]
        return sorted(readings, key=ComparisonRow.rank)

    def missed_target(self, target: float | None) -> str | None:
        """Return that no configuration reaches a target accuracy, or None."""
        points = [(point, one.label) for one in self.configurations for point in one.points]
        if target is None or not points or any(p.accuracy >= target for p, _ in points):
            return None
        best, label = max(points, key=lambda pair: pair[0].accuracy)
        return (
            f"no configuration reaches accuracy {target:g}: the highest is {best.accuracy:.3f}, "
            f"{label} at round {best.round}"
        )


def equal_bytes(readings: Sequence[ComparisonRow]) -> CurveLimit | None:
    """Return the limit of the fewest bytes among table rows; None if fewer than two have a point.

    The accuracies of all configurations within it are those at equal bytes.
    """
    nbytes = [reading.point.total_bytes for reading in readings if reading.point]
    return CurveLimit(Axis.BYTES, min(nbytes)) if len(nbytes) > 1 else None


def parse_axis(text: str) -> Axis:
    """Return the axis of a word: ``"round"``, ``"bytes"`` or ``"seconds"``, or a synonym.

    Raises:
        ConfigError: The word is none of them.
    """
    named = {axis.value: axis for axis in Axis} | _AXIS_WORDS
    if text.lower() not in named:
        raise ConfigError(f"--x {text!r} is no axis; valid: {', '.join(named)}")
    return named[text.lower()]


def parse_limit(text: str) -> CurveLimit:
    """Return the limit of a text such as ``"100"`` (rounds), ``"20MB"`` or ``"30s"``.

    Raises:
        ConfigError: The text is neither rounds, bytes nor seconds.
    """
    if re.fullmatch(r"[1-9]\d{0,8}", text):
        return CurveLimit(Axis.ROUND, int(text))
    for axis, parse in ((Axis.BYTES, parse_bytes), (Axis.SECONDS, parse_duration)):
        try:
            return CurveLimit(axis, parse(text))
        except UnitError:
            continue
    raise ConfigError(f"cannot parse --at {text!r}; valid: 100 (rounds), 20MB or 30s")


def compare(paths: Iterable[Path], networks: Sequence[NetworkProfile] = ()) -> Comparison:
    """Return the comparison of the runs in some folders.

    A run without an evaluated round is left out. Of two runs with equal settings and seed the
    shorter one is left out. The notes name both.

    Args:
        paths: The run folders.
        networks: Networks on which some of the runs were recorded, for runs that do not keep them.

    Raises:
        ProfileError: No run was recorded on one of the networks.
        RecordError: A folder holds no run, the runs are of different tasks or data, no run has an
            evaluated round, or the seeds of a configuration have no evaluated round in common.
    """
    read = [read_run(path, networks) for path in paths]
    check_task(read)
    for profile in networks:
        _check_recorded(read, profile)
    runs, left_out = _usable_runs(read)
    configurations, unsaid = group_runs(runs)
    check_evaluated(configurations)
    notes = (
        *left_out, *_uneven_notes(configurations), *unsaid, *_timing_notes(configurations),
        *_test_notes(configurations),
    )  # fmt: skip
    return Comparison(runs[0].settings["task"], configurations, notes)


def _check_recorded(runs: Iterable[RecordedRun], profile: NetworkProfile) -> None:
    """Raise ProfileError unless some run was recorded on a network."""
    if not any(is_timed_on(run.folder, profile) for run in runs):
        raise ProfileError(
            f"no run was recorded on {profile.name} as it is now; floss-sim replay RUNS --network "
            "FILE times runs on other networks"
        )


def group_runs(runs: Iterable[RecordedRun]) -> tuple[tuple[Configuration, ...], list[str]]:
    """Return runs grouped into labelled configurations, and a note on values the labels omit."""
    groups: dict[str, list[RecordedRun]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        groups.setdefault(run.settings_fingerprint, []).append(run)
    # Two methods can have equal settings: FLoSS with densities 1 and 1 is dense LoRA.
    named = [(min(run.method for run in runs), runs[0].settings) for runs in groups.values()]
    made, unsaid = labels(named)
    configurations = tuple(
        Configuration(label, method, tuple(runs))
        for label, (method, _), runs in zip(made, named, groups.values(), strict=True)
    )
    return configurations, _unsaid_notes(unsaid)


def check_task(runs: Sequence[RecordedRun]) -> None:
    """Raise RecordError unless all runs have the same task and data."""
    first, one = runs[0], _task(runs[0])
    for run in runs:
        if _task(run) != one:
            raise RecordError(
                f"runs of different tasks cannot be compared: {one} in {first.path}, "
                f"{_task(run)} in {run.path}"
            )


def check_evaluated(configurations: Iterable[Configuration]) -> None:
    """Raise RecordError if the seeds of a configuration have no evaluated round in common."""
    for configuration in configurations:
        if not configuration.points:
            paths = ", ".join(str(run.path) for run in configuration.runs)
            few = "this run has" if len(configuration.runs) == 1 else "these seeds share"
            raise RecordError(f"{few} no evaluated round: {paths}")


def _task(run: RecordedRun) -> str:
    return f"{run.settings['task']} (data {str(run.settings['data'])[:8]})"


def _usable_runs(runs: Iterable[RecordedRun]) -> tuple[list[RecordedRun], list[str]]:
    """Return the runs to compare, and a note on each run that is left out."""
    evaluated, notes = [], []
    for run in runs:
        if run.curve:
            evaluated.append(run)
        else:
            why = run.folder.divergence() or "it holds no evaluated round"
            notes.append(f"{run.path} left out: {why}")
    if not evaluated:
        raise RecordError("no run holds an evaluated round")
    kept, same = drop_duplicates(evaluated)
    return kept, [*same, *notes]


def drop_duplicates(runs: Sequence[RecordedRun]) -> tuple[list[RecordedRun], list[str]]:
    """Return the longest of the runs with equal settings and seed, and a note on each other one."""
    kept: dict[tuple[str, int], RecordedRun] = {}
    notes = []
    for run in sorted(runs, key=lambda run: (-max(run.curve, default=0), -run.rounds)):
        same = kept.setdefault((run.settings_fingerprint, run.seed), run)
        if same is not run:
            notes.append(f"{run.path} left out: {same.path} is the same run")
    chosen = {id(run) for run in kept.values()}
    return [run for run in runs if id(run) in chosen], notes


def _uneven_notes(configurations: Iterable[Configuration]) -> list[str]:
    """Return a note on each configuration whose seeds were not evaluated to the same last round."""
    notes = []
    for configuration in configurations:
        last, shared = (
            max(run.last_round for run in configuration.runs),
            configuration.points[-1].round,
        )
        if shared < last:
            notes.append(
                f"{configuration.label}: some seeds end at round {shared}, others go on to {last}"
            )
    return notes


def _unsaid_notes(unsaid: Sequence[str]) -> list[str]:
    return [f"unless a label says otherwise: {', '.join(unsaid)}"] if unsaid else []


def _test_notes(configurations: Sequence[Configuration]) -> Iterator[str]:
    """Yield a note on the runs whose test accuracy is that of one model of several."""
    runs = [run for configuration in configurations for run in configuration.runs]
    alone = [run for run in runs if 0 < run.tested_models(run.last_round)[0] < _part(run)]
    if alone:
        others = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
        yield (
            f"{alone[0].path}{others}: test accuracy of the last model alone, not of the last "
            f"{_part(alone[0])}; `floss-sim run` with the same settings measures the others"
        )


def _part(run: RecordedRun) -> int:
    return run.tested_models(run.last_round)[1]


def _timing_notes(configurations: Sequence[Configuration]) -> list[str]:
    if len({configuration.settings["timing"] for configuration in configurations}) == 1:
        return []
    return [
        "seconds: on the network and round policy of each configuration (timing: its fingerprint)"
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
