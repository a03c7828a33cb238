"""Stored runs of a plan, found by their descriptions: no task and no training framework is loaded.

A run belongs to a plan if task, data, backbone and fleet are the plan's, and its other settings are
those of the recommended run, whose accuracies are the plan's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from floss_sim.documents import Section
from floss_sim.errors import RecordError
from floss_sim.fingerprints import fingerprint
from floss_sim.records import RunFolder, RunRecord
from floss_sim.tasks.sections import ClientSection, LoraSection, ServerSection
from planner.candidates import Candidate
from planner.curves import Curve
from planner.execution.curve_store import store_checks
from planner.execution.own_runs import OwnRunFolder, root_of_measure
from planner.forecasts.intervals import KnownCurves
from planner.plans.plan import Plan
from planner.question.origin import Origin
from planner.question.request import FURTHER_SEEDS

_SEARCHED = ("rank", "method", "seed", "layout")  # what differs between a plan's runs
_AXES: Mapping[str, tuple[str, str, type[Section]]] = {  # place of an axis in a run's settings
    "cohort_size": ("server", "cohort", ServerSection),
    "epochs": ("client", "epochs", ClientSection),
    "depth": ("lora", "depth", LoraSection),
    "client_lr": ("client", "learning_rate", ClientSection),
    "server_lr": ("server", "learning_rate", ServerSection),
}


@dataclass(frozen=True)
class UsedRun:
    """A stored run of a plan, with its curve."""

    folder: RunFolder
    record: RunRecord
    seed: int

    @cached_property
    def curve(self) -> Curve:
        """Its evaluated rounds."""
        rows = self.record.evaluated().to_pylist()
        return Curve(
            evaluated=tuple(row["round"] for row in rows),
            accuracies=tuple(row["accuracy"] for row in rows),
            rounds=self.record.rounds.num_rows,
            failed=self.folder.divergence() is not None,
        )


@dataclass(frozen=True)
class UsedRuns:
    """The runs that a store holds for a plan.

    Attributes:
        plan: The plan.
        runs: Runs with the plan's seed, by candidate.
        again: Runs with its further seeds.
    """

    plan: Plan
    runs: Mapping[Candidate, UsedRun]
    again: Mapping[Candidate, tuple[UsedRun, ...]]

    @cached_property
    def known(self) -> KnownCurves:
        """The source of expected accuracies and their intervals, given all these curves."""
        return KnownCurves(
            {c: run.curve for c, run in self.runs.items()},
            self.plan.request["judged"]["validation"],
            self.plan.request["max_rounds"],
            {c: [run.curve for run in runs] for c, runs in self.again.items()},
            sorted(_candidates(self.plan)),
        )


def find_used_runs(plan: Plan, root: Path) -> UsedRuns | None:
    """Return the runs that a store holds for a plan; None if it lacks the recommended run.

    Unreadable runs are left out.

    Args:
        plan: The plan; without an origin nothing is found.
        root: Folder of the store.
    """
    root = root_of_measure(root, own=plan.measures_own)
    best, marks = plan.recommendation.candidate, _marks(plan)
    if marks is None:
        return None
    described = [(path, told) for path, told in _descriptions(root) if _is_of(plan, told, marks)]
    seed = plan.request["seed"]
    for path, told in described:
        trajectory = told["trajectory"]
        if trajectory["seed"] == seed and _is_candidate(plan, told, best, {}):
            run = _read(plan, path, root, seed)
            if run and _is_recommended(plan, run):
                same = [(p, t) for p, t in described if _rest(t) == _rest(told)]
                return _gathered(plan, root, same, _defaults(best, trajectory))
    return None


def _gathered(
    plan: Plan, root: Path, described: list[tuple[Path, dict[str, Any]]], defaults: dict[str, Any]
) -> UsedRuns:
    """Return the runs of a plan's candidates among stored runs that differ in no other setting."""
    seed = plan.request["seed"]
    runs: dict[Candidate, UsedRun] = {}
    again: dict[Candidate, tuple[UsedRun, ...]] = {}
    wanted = sorted(_candidates(plan))
    for path, told in described:
        own = told["trajectory"]["seed"]
        candidate = next((c for c in wanted if _is_candidate(plan, told, c, defaults)), None)
        if candidate is None or not seed <= own <= seed + FURTHER_SEEDS:
            continue
        run = _read(plan, path, root, own)
        if run and run.curve.evaluated and own == seed:
            runs[candidate] = run
        elif run and run.curve.evaluated and not run.curve.failed:
            again[candidate] = (*again.get(candidate, ()), run)
    ordered = {c: tuple(sorted(found, key=lambda run: run.seed)) for c, found in again.items()}
    return UsedRuns(plan, dict(sorted(runs.items())), ordered)


def _candidates(plan: Plan) -> set[Candidate]:
    """Return the searched candidates and the baselines of a plan."""
    named = [Candidate.of_settings(cost) for cost in (*plan.costs, *plan.baseline_costs.values())]
    outcomes = (plan.recommendation, *plan.runners_up, *filter(None, plan.baselines.values()))
    return {*named, *(outcome.candidate for outcome in outcomes)}


def _marks(plan: Plan) -> tuple[str, str] | None:
    """Return the fingerprints of a plan's data and backbone, or None if it has none."""
    given = plan.request.get("origin")
    marks = Origin.model_validate(given).marks if given else {}
    data, backbone = marks.get("its data"), marks.get("its backbone")
    return (data, backbone) if data and backbone else None


def _descriptions(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each run folder of a store with its description, unchecked."""
    for file in sorted(root.glob("*/run.json")):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(told, dict) and isinstance(told.get("trajectory"), dict):
            yield file.parent, told


def _is_of(plan: Plan, told: Mapping[str, Any], marks: tuple[str, str]) -> bool:
    """Return whether a described run has a plan's task, data, backbone and fleet."""
    trajectory, fleet = told["trajectory"], plan.request.get("fleet") or {}
    if trajectory.get("task") != plan.request["task"] or "conditions" in trajectory:
        return False
    own = trajectory.get("fleet") or {}
    known = {key: fleet[key] for key in own if key in fleet}
    mine = (trajectory.get("data"), trajectory.get("backbone"))
    return mine == marks and all(own[key] == value for key, value in known.items())


def _is_candidate(
    plan: Plan, told: Mapping[str, Any], candidate: Candidate, defaults: Mapping[str, Any]
) -> bool:
    """Return whether a described run is one of a plan's candidate.

    Args:
        plan: The plan, whose privacy the run has.
        told: The description.
        candidate: The candidate.
        defaults: Values of the axes that candidates leave to their task; empty if unknown.
    """
    trajectory, method = told["trajectory"], candidate.as_method()
    if plan.privacy:
        method = replace(method, privacy=plan.privacy.settings)
    if told.get("method") != method.name or trajectory.get("rank") != candidate.rank:
        return False
    mine = _axes(trajectory)
    expected = {axis: getattr(candidate, axis) or defaults.get(axis, mine[axis]) for axis in mine}
    return trajectory.get("method") == method.settings() and mine == expected


def _axes(trajectory: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a run on the axes that its settings hold; records omit defaults."""
    return {
        axis: (trajectory.get(section) or {}).get(key, kind.model_fields[key].default)
        for axis, (section, key, kind) in _AXES.items()
    }


def _defaults(candidate: Candidate, trajectory: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the axes that a candidate leaves to its task, from a run of it."""
    own = _axes(trajectory)
    return {axis: value for axis, value in own.items() if not getattr(candidate, axis)}


def _rest(told: Mapping[str, Any]) -> str:
    """Return a fingerprint of a run's settings besides those that a plan's runs differ in."""
    trajectory = {k: v for k, v in told["trajectory"].items() if k not in _SEARCHED}
    for section, key, _ in _AXES.values():
        held = trajectory.get(section) or {}
        trajectory[section] = {name: value for name, value in held.items() if name != key}
    return fingerprint(trajectory)


def _read(plan: Plan, path: Path, root: Path, seed: int) -> UsedRun | None:
    """Return a run by the measure of a plan; None if it is damaged."""
    kind = OwnRunFolder if plan.measures_own else RunFolder
    try:
        folder = kind.read(path, store_checks(root))
        return UsedRun(folder, folder.record(), seed)
    except RecordError:
        return None


def _is_recommended(plan: Plan, run: UsedRun) -> bool:
    """Return whether a run has the accuracies of a plan's recommendation."""
    told = {number: accuracy for number, _, accuracy in plan.recommendation.curve}
    mine = dict(zip(run.curve.evaluated, run.curve.accuracies, strict=True))
    return all(mine.get(number) == accuracy for number, accuracy in told.items())
