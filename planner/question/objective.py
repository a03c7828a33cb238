"""Objectives of a plan: best accuracy, cheapest plan that reaches a target, or the Pareto front.

A front holds measured runs only. The accuracy of a run at an evaluated round is the expected one,
with the interval that a plan gives it (:class:`planner.forecasts.intervals.KnownCurves`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval, Point

SpendingCurve = Sequence[tuple[int, float, float]]  # round, share of the budget, accuracy
IntervalsAt = Callable[[Iterable[Point]], Mapping[Point, Interval]]
FRACTIONS = tuple(2 ** (-k / 2) for k in range(13))  # fractions of the budget to cut curves at


@dataclass(frozen=True)
class Objective:
    """The objective: a ``target`` accuracy at least cost, a ``pareto`` front, or the best plan."""

    target: float | None = None
    pareto: bool = False

    def check(self) -> None:
        """Raise ConfigError for a target outside (0, 1], or for a target together with a front."""
        if self.target is not None and not 0 < self.target <= 1:
            raise ConfigError(f"target {self.target} is outside (0, 1]; 0.9 is 90 % accuracy")
        if self.target is not None and self.pareto:
            raise ConfigError(
                "--target (cheapest plan at one accuracy) excludes --pareto (the front); give one"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the objective as JSON values."""
        kind = "pareto" if self.pareto else "accuracy" if self.target is None else "target"
        return {"kind": kind, "target": self.target}


BEST = Objective()


@dataclass(frozen=True)
class FrontPoint:
    """A point of the Pareto front: a candidate's expected accuracy and cost after some rounds.

    Attributes:
        candidate: The trained candidate.
        rounds: Rounds of training.
        spent: Fraction of the budget spent.
        accuracy: Expected validation accuracy, 0 to 1.
        low: Lower end of its interval.
        high: Upper end of its interval.
    """

    candidate: Candidate
    rounds: int
    spent: float
    accuracy: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        """Interval of the accuracy."""
        return Interval(self.low, self.accuracy, self.high, "measured")

    def to_json(self, amount: float, unit: str) -> dict[str, Any]:
        """Return the point as JSON values, with the cost in a unit.

        Args:
            amount: The whole budget, in ``unit``.
            unit: Name of the unit.
        """
        return {
            **self.candidate.settings(),
            "rounds": self.rounds,
            "validation_accuracy": self.accuracy,
            "interval": self.interval.to_json(),
            "cost": self.spent * amount,
            "cost_unit": unit,
            "budget_spent": self.spent,
        }


def front(
    curves: Mapping[Candidate, SpendingCurve], intervals_at: IntervalsAt
) -> tuple[FrontPoint, ...]:
    """Return the Pareto front of accuracy and cost, cheapest point first.

    Every curve is cut at ``FRACTIONS`` of the budget. Of points with equal accuracy the cheapest
    is kept; of these, the candidate that sorts first.

    Args:
        curves: The curves of all trained candidates, on the plan's network.
        intervals_at: Returns the interval of each candidate's accuracy at a round.
    """
    spent = {(c, rounds): share for c, curve in curves.items() for rounds, share in _cuts(curve)}
    made = intervals_at(spent)
    points = [
        FrontPoint(*point, share, made[point].mean, made[point].low, made[point].high)
        for point, share in spent.items()
    ]
    best, chosen = -math.inf, []
    for point in sorted(points, key=lambda p: (p.spent, -p.accuracy, p.candidate)):
        if point.accuracy > best:
            best = point.accuracy
            chosen.append(point)
    return tuple(chosen)


def _cuts(curve: SpendingCurve) -> Iterator[tuple[int, float]]:
    """Yield round and share of the budget where a curve is cut."""
    for fraction in FRACTIONS:
        affordable = [(rounds, spent) for rounds, spent, _ in curve if spent <= fraction]
        if affordable:
            yield affordable[-1]
