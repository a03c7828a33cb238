"""Results of a search over methods: the best measured run of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from planner.candidates import Candidate
from planner.execution.candidate_runs import CandidateRuns
from planner.forecasts.intervals import KnownCurves
from planner.plans.method_result import (
    ALL_FAILED,
    NOT_BEGUN,
    REFUSED,
    UNMEASURED,
    Lack,
    MethodResult,
    MethodRun,
    method_order,
    run_order,
)
from planner.plans.outcome import Outcome
from planner.question.cost import Costs
from planner.question.request import Request


def method_results(
    request: Request,
    costs: Costs,
    runs: CandidateRuns,
    known: KnownCurves,
    chosen: Mapping[Candidate, Outcome],
    margin: float,
    *,
    by_cost: bool,
) -> tuple[MethodResult, ...]:
    """Return what a search found of each method that was asked for; empty if that was one.

    A method's run is the best of those that the plan was chosen among. If there is none, or if a
    run that the effort ended is ahead by more than a tie, it is the best of these.

    Args:
        request: The question.
        costs: Its costs.
        runs: Its runs.
        known: Their curves.
        chosen: Outcomes that the plan was chosen among, with their intervals.
        margin: Largest difference of accuracies at which a run ties with a better one.
        by_cost: Whether these have all reached a target, and the cheapest is the best.
    """
    names = dict.fromkeys([*(c.method for c in request.candidates), *request.left_out_methods])
    if len(names) < 2:
        return ()
    measured = {c: _method_run(outcome, counts=True) for c, outcome in chosen.items()}
    ended = dict(_ended_runs(runs, known, chosen))
    asked, able, begun = (
        Counter(c.method for c in among)
        for among in (set(request.candidates), costs.searched, runs.asked)
    )
    made = []
    for name in names:
        result = MethodResult(name, asked[name], able[name], begun[name])
        counted = [run for c, run in measured.items() if run and c.method == name]
        others = [run for c, run in ended.items() if c.method == name]
        best = _best(counted, by_cost=by_cost) or _best(others, by_cost=by_cost)
        further = _best(others, by_cost=by_cost)
        if best and further and not by_cost and _accuracy(further) > _accuracy(best) + margin:
            best = further
        lacks = None if best else _lack(name, request, costs, runs)
        made.append(replace(result, run=best, lacks=lacks))
    return tuple(sorted(made, key=lambda one: method_order(one, by_cost=by_cost)))


def _best(runs: Sequence[MethodRun], *, by_cost: bool) -> MethodRun | None:
    """Return the best of some runs; None if there is none."""
    return min(runs, key=lambda run: run_order(run, by_cost=by_cost), default=None)


def _accuracy(run: MethodRun) -> float:
    return run.interval.mean


def _ended_runs(
    runs: CandidateRuns, known: KnownCurves, chosen: Mapping[Candidate, Outcome]
) -> Iterator[tuple[Candidate, MethodRun]]:
    """Yield the measured runs that the plan was not chosen among."""
    failed = {c for c, curve in runs.history().items() if curve.failed}
    others = {c: runs.outcome(c) for c in runs.asked if c not in chosen and c not in failed}
    cut = {c: outcome for c, outcome in others.items() if outcome}
    intervals = known.intervals({c: outcome.rounds for c, outcome in cut.items()})
    for candidate, outcome in cut.items():
        if candidate in intervals:
            told = replace(outcome, interval=intervals[candidate])
            if run := _method_run(told, counts=False):
                yield candidate, run


def _method_run(outcome: Outcome, *, counts: bool) -> MethodRun | None:
    if outcome.interval is None:
        return None
    return MethodRun(
        outcome.candidate, outcome.rounds, outcome.total_bytes, outcome.spent, counts,
        outcome.interval,
    )  # fmt: skip


def _lack(name: str, request: Request, costs: Costs, runs: CandidateRuns) -> Lack:
    """Return why a method has no measured run."""
    if name in request.left_out_methods:
        return REFUSED
    causes = Counter(cause for c, cause in costs.causes.items() if c.method == name)
    if name not in {c.method for c in costs.searched}:
        return causes.most_common(1)[0][0]
    begun = {c: curve for c, curve in runs.asked_history().items() if c.method == name}
    if not begun:
        return NOT_BEGUN
    failed = all(curve.failed or runs.has_failed(c) for c, curve in begun.items())
    return ALL_FAILED if failed else UNMEASURED
