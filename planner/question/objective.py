"""Objectives of a plan: best accuracy, cheapest plan that reaches a target, or the Pareto front.

All functions here use measured curves only. A point of such a curve is an evaluated round, the
fraction of the budget spent after it, and the validation accuracy there. Accuracies are smoothed
(:func:`planner.forecasts.smoothing.smoothed_accuracy`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.forecasts.forecast import expit
from planner.forecasts.smoothing import smoothed_accuracy

SpendingCurve = Sequence[tuple[int, float, float]]
FRACTIONS = tuple(2 ** (-k / 2) for k in range(13))  # fractions of the budget to cut curves at
_Z90 = 1.6449  # standard deviations: +- this many hold 90 % of a normal distribution


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


def smooth(curve: SpendingCurve) -> Iterator[tuple[int, float, float]]:
    """Yield the points of a curve with smoothed accuracies.

    A run that ends at a round is judged by the smoothed accuracy there.
    """
    evaluated = [round_ for round_, _, _ in curve]
    accuracies = [accuracy for _, _, accuracy in curve]
    for round_, spent, _ in curve:
        yield round_, spent, smoothed_accuracy(evaluated, accuracies, round_)


def first_round_at(
    evaluated: Sequence[int], accuracies: Sequence[float], target: float
) -> int | None:
    """Return the first evaluated round whose smoothed accuracy reaches a target, or None."""
    return next(
        (r for r in evaluated if smoothed_accuracy(evaluated, accuracies, r) >= target), None
    )


@dataclass(frozen=True)
class FrontPoint:
    """A point of the Pareto front: a candidate's measured accuracy and cost after some rounds.

    Attributes:
        candidate: The trained candidate.
        rounds: Rounds of training.
        spent: Fraction of the budget spent.
        accuracy: Validation accuracy, smoothed, 0 to 1.
        low: Lower end of the accuracy's 90 % band: binomial noise and seed-to-seed variation.
        high: Upper end of this band.
    """

    candidate: Candidate
    rounds: int
    spent: float
    accuracy: float
    low: float
    high: float

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
            "band": [self.low, self.high],
            "cost": self.spent * amount,
            "cost_unit": unit,
            "budget_spent": self.spent,
        }


def front(
    curves: Mapping[Candidate, SpendingCurve], examples: int, seed_sd: float = 0.0
) -> tuple[FrontPoint, ...]:
    """Return the Pareto front of accuracy and cost, cheapest point first.

    Every curve is cut at ``FRACTIONS`` of the budget. Of points with equal accuracy the cheapest
    is kept; of these, the candidate that sorts first.

    Args:
        curves: The curves of all trained candidates, on the plan's network.
        examples: Validation examples behind every accuracy.
        seed_sd: Standard deviation of accuracy between seeds, in log-odds.
    """
    points = {
        point
        for c, curve in curves.items()
        for point in _cuts(
            c, list(smooth(curve)), lambda accuracy: band(accuracy, examples, seed_sd)
        )
    }
    best, chosen = -math.inf, []
    for point in sorted(points, key=lambda p: (p.spent, -p.accuracy, p.candidate)):
        if point.accuracy > best:
            best = point.accuracy
            chosen.append(point)
    return tuple(chosen)


def _cuts(
    candidate: Candidate, curve: SpendingCurve, around: Callable[[float], tuple[float, float]]
) -> Iterator[FrontPoint]:
    for fraction in FRACTIONS:
        affordable = [row for row in curve if row[1] <= fraction]
        if affordable:
            rounds, spent, accuracy = affordable[-1]
            yield FrontPoint(candidate, rounds, spent, accuracy, *around(accuracy))


def band(accuracy: float, examples: int, seed_sd: float = 0.0) -> tuple[float, float]:
    """Return Wilson's 90 % interval of an accuracy (Wilson 1927), widened for seed variation.

    Both errors are added as independent ones.

    Args:
        accuracy: The measured accuracy, 0 to 1.
        examples: Validation examples that it was measured on.
        seed_sd: Standard deviation of accuracy between seeds, in log-odds.
    """
    z2 = _Z90**2 / examples
    middle = (accuracy + z2 / 2) / (1 + z2)
    half = _Z90 / (1 + z2) * math.sqrt((accuracy * (1 - accuracy) + z2 / 4) / examples)
    low, high = (_wider_end(middle, end, _Z90 * seed_sd) for end in (middle - half, middle + half))
    return low, high


def _wider_end(middle: float, end: float, more: float) -> float:
    """Return an interval's end after adding ``more`` log-odds in quadrature to its distance."""
    if not 0 < end < 1:
        return end
    ends = [math.log(p / (1 - p)) for p in (middle, end)]
    away = math.hypot(ends[1] - ends[0], more)
    return expit(ends[0] + math.copysign(away, end - middle))
