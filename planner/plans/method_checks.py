"""Checks of a plan file: contradictions between the results of its methods and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from planner.candidates import FLOSS, Candidate
from planner.plans.document_checks import same
from planner.plans.method_result import NOT_BEGUN, REFUSED, MethodResult, MethodRun, method_order
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan

_COUNTS = ("candidates", "affordable", "begun")


def method_contradictions(plan: Plan) -> Iterator[str]:
    """Yield what the results of methods say that the request or the runs contradict."""
    asked, left_out = plan.request.get("method"), plan.request.get("left_out_methods") or {}
    if not plan.methods:
        return
    if asked is not None or left_out:
        names = sorted([*(asked or [FLOSS]), *left_out])
        if sorted(one.method for one in plan.methods) != names:
            yield f"methods: those that were asked for are {', '.join(names)}"
    if len(plan.methods) < 2:
        yield "methods: a plan of one method compares none"
    by_cost = bool(plan.reached)
    keys = [method_order(one, by_cost=by_cost) for one in plan.methods]
    if any(later < earlier for earlier, later in pairwise(keys)):
        yield "methods: those with a measured run come first, best first"
    yield from _sums(plan)
    for i, one in enumerate(plan.methods):
        yield from _result(plan, f"methods.{i}", one, refused=one.method in left_out)


def _sums(plan: Plan) -> Iterator[str]:
    """Yield a number of candidates that is not that of the whole search."""
    effort = plan.effort
    whole = effort["searched"] + effort["unaffordable"], effort["searched"], effort["starters"]
    for name, count in zip(_COUNTS, whole, strict=True):
        told = sum(getattr(one, name) for one in plan.methods)
        if told != count:
            yield f"methods: their {name} add up to {told}, but those of effort are {count}"


def _result(plan: Plan, name: str, one: MethodResult, *, refused: bool) -> Iterator[str]:
    """Yield what the result of a method says against itself, its counts or its run."""
    if not one.begun <= one.affordable <= one.candidates:
        yield f"{name}.begun: {one.begun} of {one.affordable} of {one.candidates} candidates"
    if refused != (one.lacks == REFUSED) or (refused and one.candidates):
        yield f"{name}.lacks: request.left_out_methods says otherwise"
    if one.lacks == NOT_BEGUN and one.begun:
        yield f"{name}.lacks: {one.begun} runs were begun"
    if one.run:
        yield from _run(plan, f"{name}.run", one, one.run)


def _run(plan: Plan, name: str, one: MethodResult, run: MethodRun) -> Iterator[str]:
    """Yield what the best run of a method says against the runs of the plan."""
    if run.candidate.method != one.method:
        yield f"{name}: {run.candidate} is none of {one.method}"
    if plan.cost(run.candidate) is None:
        yield f"{name}: {run.candidate} is not among the costs"
    if run.rounds > plan.request["max_rounds"]:
        yield f"{name}.rounds: {run.rounds} exceed request.max_rounds"
    made = _chosen(plan).get(run.candidate)
    if run.counts != (made is not None):
        yield f"{name}.counts: the plan was {'not ' * run.counts}chosen among runs with this one"
    elif made is not None and not _is_same(run, made):
        yield f"{name}: it differs from the same run in the plan"
    better = [o for o in _chosen(plan).values() if o.candidate.method == one.method]
    if run.counts and not plan.reached:
        best = max((o.expected_accuracy for o in better), default=run.interval.mean)
        if run.interval.mean < best and not same(run.interval.mean, best):
            yield f"{name}: another run of {one.method} is better"


def _chosen(plan: Plan) -> dict[Candidate, Outcome]:
    """Return the runs that a plan was chosen among."""
    return {made.candidate: made for made in (plan.recommendation, *plan.runners_up)}


def _is_same(run: MethodRun, made: Outcome) -> bool:
    told = made.interval
    pairs = [(run.rounds, made.rounds), (run.nbytes, made.total_bytes), (run.spent, made.spent)]
    if told:
        pairs += [
            (getattr(run.interval, end), getattr(told, end)) for end in ("low", "mean", "high")
        ]
    return all(same(*pair) for pair in pairs)
