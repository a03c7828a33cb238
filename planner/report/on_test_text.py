"""Sentences on test accuracies: what they are the mean of, and where validation disagrees."""

from __future__ import annotations

import math
from collections.abc import Iterator

from floss_sim.analysis.on_test import AccuracyOnTest, DifferenceOnTest
from planner.forecasts.intervals import Interval, difference
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.objective_text import baseline_clause
from planner.report.plan_table import BASELINE_TITLES
from planner.report.time_text import median_s


def accuracy_clause(told: AccuracyOnTest | None) -> str:
    """Return a test accuracy with its interval, and what it is the mean of."""
    return f"test accuracy {told.describe() if told else 'not measured'}"


def baseline_sentences(plan: Plan) -> list[str]:
    """Return for each baseline how far the plan is ahead, on validation and on test."""
    lines = []
    for name, title in BASELINE_TITLES.items():
        baseline = plan.baselines[name]
        if baseline is None:
            continue
        where = f"{title}{baseline_clause(plan, baseline)} ({baseline.candidate})"
        if baseline.candidate == plan.recommendation.candidate:
            lines.append(f"The plan is {where}.")
        elif parts := list(_difference_parts(plan, name, baseline)):
            lines.append(
                f"Compared with {where}: {', '.join(parts)}; {_cost_text(plan, baseline)}."
            )
    return lines


def _cost_text(plan: Plan, baseline: Outcome) -> str:
    """Return how many times a baseline's bytes and seconds the recommendation takes."""
    ours = plan.recommendation
    times = (ours.total_bytes / baseline.total_bytes, median_s(ours) / median_s(baseline))
    return "{:.2f} times the bytes, {:.2f} times the time".format(*times)


def _difference_parts(plan: Plan, name: str, baseline: Outcome) -> Iterator[str]:
    """Yield the plan's lead over a baseline: on validation, and if measured on test."""
    if made := validation_difference(plan.recommendation, baseline):
        yield f"validation {points_text(*made)}"
    if told := plan.test_differences.get(name):
        yield (
            f"test {points_text(told.low, told.mean, told.high)}, paired on {told.examples} test "
            f"examples, {_seeds_text(plan.recommendation, baseline)}"
        )


def validation_difference(ours: Outcome, theirs: Outcome) -> tuple[float, float, float] | None:
    """Return low, mean and high of a difference of expected accuracies, -1 to 1.

    None if a run has no interval.
    """
    if ours.interval is None or theirs.interval is None:
        return None
    return difference(ours.interval, theirs.interval)


def disagreement_sentence(plan: Plan) -> list[str]:
    """Return the sentence that names where validation and test disagree beyond chance.

    They disagree where both figures are farther apart than the root of the sum of squares of their
    half intervals. Empty if they do not disagree.
    """
    found = [*_accuracies_that_disagree(plan), *_differences_that_disagree(plan)]
    if not found:
        return []
    return [
        f"Validation and test disagree beyond chance: {'; '.join(found)}. One split is harder, or "
        "the choice was lucky: plan with another --seed, too."
    ]


def _accuracies_that_disagree(plan: Plan) -> Iterator[str]:
    runs: dict[str, Outcome | None] = {"the plan": plan.recommendation}
    runs |= {title: plan.baselines[name] for name, title in BASELINE_TITLES.items()}
    for title, made in runs.items():
        told, tested = (made.interval, made.test) if made else (None, None)
        own = title != "the plan" and made and made.candidate == plan.recommendation.candidate
        if told and tested and not own and _disagree(told, tested):
            yield f"{title} {told.mean:.3f} on validation and {tested.mean:.3f} on test"


def _differences_that_disagree(plan: Plan) -> Iterator[str]:
    for name, told in plan.test_differences.items():
        baseline = plan.baselines[name]
        made = validation_difference(plan.recommendation, baseline) if baseline else None
        if made and _disagree(Interval(*made, "measured"), told):
            yield (
                f"the lead over {BASELINE_TITLES[name]} {100 * made[1]:+.1f} points on validation "
                f"and {100 * told.mean:+.1f} on test"
            )


def _disagree(one: Interval, other: AccuracyOnTest | DifferenceOnTest) -> bool:
    return abs(one.mean - other.mean) > math.hypot(_half(one), _half(other))


def _half(told: Interval | AccuracyOnTest | DifferenceOnTest) -> float:
    return (told.high - told.low) / 2


def points_text(low: float, mean: float, high: float) -> str:
    """Return a difference of accuracies, -1 to 1, in points with its interval."""
    return f"{100 * mean:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def _seeds_text(ours: Outcome, theirs: Outcome) -> str:
    """Return the seeds of the tested runs of the plan and of a baseline."""
    counts = [made.test.seeds for made in (ours, theirs) if made.test]
    texts = ["1 seed" if count == 1 else f"{count} seeds" for count in counts]
    return " against ".join(dict.fromkeys(texts))
