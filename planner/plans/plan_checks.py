"""Contradictions between the figures of a plan, such as more rounds than the plan's own cap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from planner.candidates import DEFAULTS, Candidate
from planner.plans.outcome import CLIENT_LIMIT, Outcome
from planner.plans.plan import Plan
from planner.question.limits import MAX_ROUNDS

BINDS = ("budget", CLIENT_LIMIT, "round cap", "target")  # valid values of ``Outcome.binds``
_SAME = 1e-9  # relative difference of equal figures
# Keys of the request that list the searched values, and the axis of each.
_AXES = {
    "ranks": "rank",
    "down_densities": "down_density",
    "up_densities": "up_density",
    "cohort_size": "cohort_size",
    "epochs": "epochs",
    "values": "values",
    "method": "method",
}


def first_contradiction(plan: Plan) -> str:
    """Return the first contradiction between a plan's figures in words; empty if there is none."""
    named = {"recommendation": plan.recommendation}
    named |= {f"runners_up.{i}": outcome for i, outcome in enumerate(plan.runners_up)}
    trained = {f"baselines.{name}": made for name, made in plan.baselines.items() if made}
    checks = (
        _rounds(plan),
        (said for pair in {**named, **trained}.items() for said in _outcome(*pair)),
        _space(plan, named),
        _choice(plan),
        _front(plan, [*named.values(), *trained.values()]),
        _budget(plan),
    )
    return next((said for check in checks for said in check), "")


def first_difference(given: Any, told: Any, place: str = "") -> str:
    """Return the place of the first value that differs from the same value derived anew.

    Args:
        given: Plain values, as a file holds them.
        told: The same document derived from its figures; keys that only it has are not compared.
        place: Dotted key of both.
    """
    if isinstance(given, Mapping) and isinstance(told, Mapping):
        pairs: Iterable[tuple[Any, Any, Any]] = (
            (key, value, told[key]) for key, value in given.items() if key in told
        )
    elif isinstance(given, list | tuple) and isinstance(told, list | tuple):
        if len(given) != len(told):
            return place
        pairs = ((i, one, other) for i, (one, other) in enumerate(zip(given, told, strict=True)))
    else:
        return "" if _same(given, told) else place
    places = (
        first_difference(one, other, f"{place}.{key}".lstrip(".")) for key, one, other in pairs
    )
    return next((found for found in places if found), "")


def _same(given: Any, told: Any) -> bool:
    if isinstance(given, int | float) and isinstance(told, int | float):
        return math.isclose(given, told, rel_tol=_SAME, abs_tol=1e-12)
    return bool(given == told)


def _rounds(plan: Plan) -> Iterator[str]:
    """Yield the numbers of rounds that exceed the plan's cap, and a cap that is too large."""
    cap = plan.request["max_rounds"]
    if cap > MAX_ROUNDS:
        yield f"request.max_rounds: {cap} rounds are more than a plan may have, {MAX_ROUNDS}"
    named: dict[str, int] = {"recommendation.rounds": plan.recommendation.rounds}
    named |= {f"runners_up.{i}.rounds": made.rounds for i, made in enumerate(plan.runners_up)}
    named |= {f"baselines.{n}.rounds": made.rounds for n, made in plan.baselines.items() if made}
    named |= {f"front.{i}.rounds": point.rounds for i, point in enumerate(plan.front)}
    named |= {
        f"costs.{i}.affordable_rounds": c["affordable_rounds"] for i, c in enumerate(plan.costs)
    }
    for i, answer in enumerate(plan.also):
        named |= {f"also.{i}.rounds": answer.rounds, f"also.{i}.affords": answer.affords}
    if plan.explanation:
        near = plan.explanation.neighbours
        named |= {f"explanation.neighbours.{i}.rounds": one.rounds for i, one in enumerate(near)}
        named |= (
            {"explanation.tenth.rounds": plan.explanation.tenth.rounds}
            if plan.explanation.tenth
            else {}
        )
        named |= (
            {"explanation.stop.rounds": plan.explanation.stop.rounds}
            if plan.explanation.stop
            else {}
        )
    for name, rounds in named.items():
        if rounds > cap:
            yield f"{name}: {rounds} rounds exceed the cap of {cap} (request.max_rounds)"


def _outcome(name: str, made: Outcome) -> Iterator[str]:
    """Yield the contradictions within one run."""
    measured = [number for number, _, _ in made.curve]
    if made.rounds not in measured:
        yield f"{name}.rounds: round {made.rounds} is none of the measured ones in {name}.curve"
        return
    if measured != sorted(set(measured)) or measured[-1] != made.rounds:
        yield f"{name}.curve: its rounds must ascend to {made.rounds}, the last one of the run"
    shares = [share for _, share, _ in made.curve]
    if shares != sorted(shares):
        yield f"{name}.curve: the share of the budget must not fall from round to round"
    if not _same(made.curve[-1][1], made.spent):
        yield f"{name}.budget_spent: {made.spent:g} differs from {shares[-1]:g} in the curve"
    if not _same(made.curve[-1][2], made.accuracy):
        yield (
            f"{name}.validation_accuracy: {made.accuracy:g} differs from {made.curve[-1][2]:g} in "
            "the curve"
        )
    if made.spent > 1 + _SAME or made.most > 1 + _SAME:
        yield f"{name}.budget_spent: a run spends at most the whole budget"
    if made.most * made.rounds < made.spent * (1 - 1e-6):
        yield (
            f"{name}.largest_round: {made.rounds} rounds of at most {made.most:g} do not spend "
            f"{made.spent:g} of the budget"
        )
    if made.binds not in BINDS:
        yield f"{name}.binds: {made.binds!r} is unknown; valid: {', '.join(BINDS)}"
    if made.candidate.cohort_size not in (0, made.cohort):
        yield f"{name}.cohort: {made.cohort} differs from cohort_size {made.candidate.cohort_size}"
    if made.interval and not made.interval.low <= made.interval.mean <= made.interval.high:
        yield f"{name}.interval: low, mean and high must ascend"


def _space(plan: Plan, named: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield the values of candidates that the request did not search."""
    trained = [made.candidate for made in plan.baselines.values() if made]
    for name, made in named.items():
        if made.candidate in trained:
            continue  # a baseline, which need not be searched
        for key, axis in _AXES.items():
            value = getattr(made.candidate, axis)
            searched = plan.request.get(
                key, [getattr(DEFAULTS, axis)] if "ranks" in plan.request else None
            )
            if isinstance(searched, list) and value not in searched:
                yield (
                    f"{name}.{axis}: {value} is outside the searched space {searched} "
                    f"(request.{key})"
                )
    for name, densities in (("dense", (1.0, 1.0)), ("thesis_rule", (0.25, None))):
        made_baseline = plan.baselines.get(name)
        if made_baseline and not _is_baseline(made_baseline.candidate, plan, densities):
            yield f"baselines.{name}: {made_baseline.candidate} is not this baseline"


def _is_baseline(candidate: Candidate, plan: Plan, densities: tuple[float, float | None]) -> bool:
    down, up = densities
    same = candidate.rank == plan.request["reference_rank"] and candidate.down_density == down
    return same and up in (None, candidate.up_density)


def _choice(plan: Plan) -> Iterator[str]:
    """Yield the contradictions between the recommendation and the other runs."""
    runs = [plan.recommendation, *plan.runners_up]
    if len({made.candidate for made in runs}) < len(runs):
        yield "runners_up: a candidate is there twice"
    best = max(made.expected_accuracy for made in runs)
    if not _same(plan.best_accuracy, best):
        yield f"best_accuracy: {plan.best_accuracy:g} differs from the best run's {best:g}"
    if plan.target is None and not plan.ties(plan.recommendation):
        yield (
            f"recommendation: its accuracy of {plan.recommendation.expected_accuracy:g} is not "
            f"within tie_margin {plan.margin:g} of the best {plan.best_accuracy:g}"
        )
    if plan.reached is not None and plan.target is None:
        yield "reached: belongs to a plan with a target (request.objective)"


def _front(plan: Plan, runs: Iterable[Outcome]) -> Iterator[str]:
    """Yield the points of the front whose round their run has not measured."""
    measured = {made.candidate: {number for number, _, _ in made.curve} for made in runs}
    for i, point in enumerate(plan.front):
        if point.candidate in measured and point.rounds not in measured[point.candidate]:
            yield f"front.{i}.rounds: round {point.rounds} is none of the measured ones"
        if not point.low <= point.accuracy <= point.high:
            yield f"front.{i}.band: it must hold the accuracy {point.accuracy:g}"


def _budget(plan: Plan) -> Iterator[str]:
    """Yield an amount that is not that of the budget's text, where the text tells it."""
    budget, amount = plan.limit.budget, plan.limit.amount
    if budget.kind != "dense-rounds" and not _same(budget.amount, amount):
        yield f"budget.amount: {amount:g} differs from {budget.text!r}, which is {budget.amount:g}"
