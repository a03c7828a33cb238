"""Sentences of a plan's explanation; a ``~`` marks a forecast."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.analysis.compute_bound import compute_bound_text
from floss_sim.analysis.framework_floor import framework_text
from floss_sim.units import format_duration
from floss_sim.vectors.density import format_density
from planner.forecasts.gain import STOP_SHARE
from planner.forecasts.intervals import LEVEL, Interval, difference
from planner.plans.explanation import (
    Explanation,
    MoreBudget,
    Neighbour,
    Range,
    RoundTime,
    StopRule,
)
from planner.plans.outcome import EFFORT
from planner.plans.plan import Plan
from planner.report.time_text import is_drawn, median_s

_WORDS = {
    "rank": "rank", "down_density": "down", "up_density": "up", "cohort_size": "cohort",
    "epochs": "epochs", "values": "", "method": "", "depth": "depth",
    "client_lr": "client lr", "server_lr": "server lr", "options": "",
}  # fmt: skip
_MEDIAN_ROUND = " in the median of fleets; its shares on the fleet of the network's seed"
_PARTS = ("download", "upload", "latency", "compute", "queueing", "framework")


def explanation_sentences(plan: Plan) -> list[str]:
    """Return the sentences of a plan's explanation; empty if the plan has none."""
    said = plan.explanation
    if said is None:
        return []
    lines = [_time_sentence(plan, said.time)]
    shares = {name: getattr(said.time, name) for name in _PARTS}
    if said.time.framework:
        lines.append(framework_text(said.time.framework, _round_s(plan), plan.request["network"]))
    if bound := compute_bound_text(shares, _round_s(plan)):
        lines.append(bound)
    if said.neighbours:
        near = "; ".join(_neighbour_text(plan, one) for one in said.neighbours)
        lines.append(
            "Candidates one step away, difference in validation accuracy (points, with its "
            f"{100 * LEVEL:.0f} % interval): {near}."
        )
    if said.tenth and plan.recommendation.binds != EFFORT:
        lines.append(_tenth_sentence(said.tenth))
    if said.stop and plan.learned:
        lines.append(_stop_sentence(said.stop, _promising(plan, said)))
    if any("~" in line for line in lines):
        lines.append(f"~ marks a forecast; in parentheses is its {100 * LEVEL:.0f} % interval.")
    return lines


def chance_clause(chance: float, *, own: bool = False) -> str:
    """Return that an accuracy does not exceed that of chance, 0 to 1.

    Args:
        chance: The accuracy of chance.
        own: Whether it is that of the clients' own models.
    """
    class_ = "each client's most frequent class" if own else "the most frequent class"
    return f"is not above that of always predicting {class_} ({chance:.3f}) by two standard errors"


def interval_text(range_: Range) -> str:
    """Return an interval in words, such as ``"(0.912 to 0.934)"``."""
    return f"({range_.low:.3f} to {range_.high:.3f})"


def _time_sentence(plan: Plan, time: RoundTime) -> str:
    """Return the mean duration of a round, and its shares on the network's own fleet."""
    shares = {name: getattr(time, name) for name in _PARTS}
    large = sorted((n for n in _PARTS if shares[n] >= 0.005), key=lambda n: -shares[n])
    parts = ", ".join(f"{100 * shares[name]:.0f} % {name}" for name in large)
    waits = f"; a client waits for the others during {100 * time.waiting:.0f} % of a round"
    where = _MEDIAN_ROUND if is_drawn(plan) else ""
    waits = waits if time.waiting >= 0.005 else ""
    return f"A round takes {format_duration(_round_s(plan))}{where}: {parts}{waits}."


def _round_s(plan: Plan) -> float:
    """Return the mean seconds of a round in the median of fleets."""
    return median_s(plan.recommendation) / plan.recommendation.rounds


def _neighbour_text(plan: Plan, one: Neighbour) -> str:
    """Return how far a neighbour's accuracy is from the plan's; ``~`` marks a forecast."""
    value = getattr(one.candidate, one.axis)
    said = format_density(value) if one.axis.endswith("density") else value
    said = f"{value:g}" if one.axis.endswith("_lr") else said
    said = one.candidate.own_words if one.axis == "options" else said
    name = f"{_WORDS[one.axis]} {said}".strip()
    if one.accuracy is None or (one.interval and one.interval.is_vague):
        return f"{name} unknown"
    mark = "~" if one.kind == "forecast" else ""
    made, best = _interval(plan, one), plan.recommendation.interval
    if made is None or best is None:
        return f"{name} {mark}{100 * (one.accuracy - plan.recommendation.expected_accuracy):+.1f}"
    low, mean, high = (f"{100 * points:+.1f}" for points in difference(made, best))
    return f"{name} {mark}{mean} ({low} to {high})"


def _interval(plan: Plan, one: Neighbour) -> Interval | None:
    """Return the interval of a neighbour: its forecast's, or that of its run in the plan."""
    if one.interval:
        return Interval(one.interval.low, one.interval.mean, one.interval.high, "forecast")
    runs = (*plan.runners_up, *filter(None, plan.baselines.values()))
    return next((made.interval for made in runs if made.candidate == one.candidate), None)


def _tenth_sentence(more: MoreBudget) -> str:
    if more.accuracy is None:
        return (
            f"10 % more budget would not help: the run would still end after {more.rounds} rounds."
        )
    made = more.accuracy
    if made.is_vague:
        return f"10 % more budget affords {more.rounds} rounds; what they gain is unknown."
    return (
        f"10 % more budget affords {more.rounds} rounds: validation accuracy ~{made.mean:.3f} "
        f"{interval_text(made)}."
    )


def _promising(plan: Plan, said: Explanation) -> list[str]:
    """Return the neighbours whose whole forecast is better than the recommended run."""
    best = plan.recommendation.expected_accuracy
    return [
        _neighbour_text(plan, one)
        for one in said.neighbours
        if one.interval and one.interval.low > best and not one.interval.is_vague
    ]


def _stop_sentence(stop: StopRule, promising: Sequence[str]) -> str:
    if promising:
        return f"More search may be worth it: {'; '.join(promising)}."
    alone = (
        f"Of the candidates that are not trained to their end, {stop.candidate} promises most: "
        f"its remaining {stop.rounds} rounds raise the best accuracy by {100 * stop.gain:.1f} "
        "points on average"
    )
    if stop.all_gain is None:
        return f"{alone}."
    least = f"{100 * STOP_SHARE * stop.noise:.1f} points, a quarter of the noise of one evaluation"
    said = (
        f"which is less than {least}: more search is not worth it"
        if stop.is_reached
        else f"which is not less than {least}: more search may be worth it"
    )
    return (
        f"{alone}. All {stop.all_rounds} rounds that such candidates lack raise it by at most "
        f"{100 * stop.all_gain:.1f} points, {said} (stop rule after Makarova et al., AutoML 2022)."
    )
