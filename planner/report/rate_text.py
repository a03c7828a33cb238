"""Sentences on the range test of learning rates."""

from __future__ import annotations

from planner.plans.plan import Plan
from planner.plans.rate_test import RatePair, RateTest


def rate_sentences(plan: Plan) -> list[str]:
    """Return what the range test of learning rates found; empty if there was none."""
    test = plan.rate_test
    if test is None:
        return []
    if test.better:
        return [_better_sentence(test, test.better)]
    lines = [
        f"Learning rates: none of {len(test.tested) - 1} other pairs around the task's own "
        f"({_rates_text(test.own)}: {_accuracy_text(test.own)}) is clearly better, in "
        f"{_runs_text(test)}."
    ]
    if names := test.collapsing:
        of = " or of ".join(f"the {name}" for name in names)
        lines.append(
            f"Three times the learning rate of {of} does not learn: the task's is near the edge."
        )
    return lines


def _better_sentence(test: RateTest, better: RatePair) -> str:
    """Return which rates are clearly better, and whether the plan has them."""
    found = (
        f"{_rates_text(better)} reaches {_accuracy_text(better)} in {_runs_text(test)}, the task's "
        f"own ({_rates_text(test.own)}) {_accuracy_text(test.own)}"
    )
    if test.tuned:
        return f"Learning rates: all runs have the better ones, not the task's: {found}."
    return (
        f"Learning rates: the task's are clearly not the best: {found}. --tune-lr plans with the "
        "better ones."
    )


def _runs_text(test: RateTest) -> str:
    return f"{test.rounds} rounds of dense LoRA of rank {test.rank}"


def _rates_text(pair: RatePair) -> str:
    return f"client {pair.client_lr:g}, server {pair.server_lr:g}"


def _accuracy_text(pair: RatePair) -> str:
    return "diverges" if pair.accuracy is None else f"{pair.accuracy:.3f}"
