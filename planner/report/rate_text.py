"""Sentences on the range test of learning rates."""

from __future__ import annotations

from planner.plans.plan import Plan


def rate_sentences(plan: Plan) -> list[str]:
    """Return what the range test of learning rates found; empty if there was none."""
    test = plan.rate_test
    if test is None:
        return []
    if test.tuned:
        return [
            f"Learning rates: all runs have the better ones, not the task's: {test.better_text()}."
        ]
    lines = [
        f"Learning rates: none of {len(test.tested) - 1} other pairs around the task's own "
        f"({test.own.rates_text()}: {test.own.accuracy_text()}) is clearly better, in "
        f"{test.runs_text()} ({test.trained_now_rounds} trained now, besides the search)."
    ] * (test.better is None)
    return [*lines, *filter(None, [test.warning])]
