"""The choice among finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.noise import difference
from planner.plan import Outcome


@dataclass(frozen=True)
class Choice:
    """A recommendation, the other outcomes (best first), and the margin within which runs tie."""

    recommendation: Outcome
    others: tuple[Outcome, ...]
    best_accuracy: float
    margin: float


def choose(outcomes: Sequence[Outcome], validation_examples: int) -> Choice:
    """Return the outcome of fewest bytes among those within noise of the best accuracy."""
    best = max(outcome.accuracy for outcome in outcomes)
    margin = difference(best, validation_examples)
    tied = [outcome for outcome in outcomes if outcome.accuracy >= best - margin]
    chosen = min(tied, key=lambda o: (o.total_bytes, -o.accuracy, o.candidate))
    others = [outcome for outcome in outcomes if outcome is not chosen]
    others.sort(key=lambda o: (-o.accuracy, o.total_bytes, o.candidate))
    return Choice(chosen, tuple(others), best, margin)


def cheapest(outcomes: Sequence[Outcome]) -> Choice:
    """Return the outcome that spent least, of some that all reached a target; no two tie."""
    ordered = sorted(outcomes, key=lambda o: (o.spent, -o.accuracy, o.candidate))
    best = max(outcome.accuracy for outcome in outcomes)
    return Choice(ordered[0], tuple(ordered[1:]), best, 0.0)
