"""What is sought within a budget: the best accuracy, a target at least cost, or the front of both.

Everything here looks at measured curves alone: triples of an evaluated round, the share of the
budget that it has spent, and the validation accuracy there. Accuracies are smoothed
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
FRACTIONS = tuple(2 ** (-k / 2) for k in range(13))  # of the budget, at which curves are cut
_Z90 = 1.6449  # standard deviations that hold 90 % of a normal law


@dataclass(frozen=True)
class Objective:
    """What is sought: a ``target`` accuracy at least cost, a ``pareto`` front, or the best."""

    target: float | None = None
    pareto: bool = False

    def check(self) -> None:
        """Raise ConfigError for a target outside (0, 1], or for a target and a front at once."""
        if self.target is not None and not 0 < self.target <= 1:
            raise ConfigError(f"target {self.target} is outside (0, 1]; 0.9 is 90 % accuracy")
        if self.target is not None and self.pareto:
            raise ConfigError(
                "--target seeks the cheapest plan of one accuracy and --pareto shows all; give one"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the objective as plain values."""
        kind = "pareto" if self.pareto else "accuracy" if self.target is None else "target"
        return {"kind": kind, "target": self.target}


BEST = Objective()


def smooth(curve: SpendingCurve) -> Iterator[tuple[int, float, float]]:
    """Yield a curve whose accuracy at each round is what a run that ends there is judged by."""
    evaluated = [round_ for round_, _, _ in curve]
    accuracies = [accuracy for _, _, accuracy in curve]
    for round_, spent, _ in curve:
        yield round_, spent, smoothed_accuracy(evaluated, accuracies, round_)


def first_round_at(
    evaluated: Sequence[int], accuracies: Sequence[float], target: float
) -> int | None:
    """Return the first evaluated round whose smoothed accuracy is at a target, or None."""
    return next(
        (r for r in evaluated if smoothed_accuracy(evaluated, accuracies, r) >= target), None
    )


@dataclass(frozen=True)
class FrontPoint:
    """What a candidate was measured at after some rounds.

    Attributes:
        candidate: What was trained.
        rounds: For how long.
        spent: Share of the budget.
        accuracy: Validation accuracy, smoothed, 0 to 1.
        low: Where a 90 % band of binomial noise and of the luck of seeds begins.
        high: Where it ends.
    """

    candidate: Candidate
    rounds: int
    spent: float
    accuracy: float
    low: float
    high: float

    def to_json(self, amount: float, unit: str) -> dict[str, Any]:
        """Return the point as plain values; the cost in the unit of the limit's ``amount``."""
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
    curves: Mapping[Candidate, SpendingCurve], examples: int, luck: float = 0.0
) -> tuple[FrontPoint, ...]:
    """Return the points that no other beats in both accuracy and cost, cheapest first.

    Every curve is cut at ``FRACTIONS`` of the budget. Among equals the cheaper one counts, then
    the candidate that sorts first.

    Args:
        curves: All that was trained, on the plan's network.
        examples: Validation examples behind every accuracy.
        luck: Deviation of log-odds over seeds.
    """
    points = {
        point
        for c, curve in curves.items()
        for point in _cuts(c, list(smooth(curve)), lambda accuracy: band(accuracy, examples, luck))
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


def band(accuracy: float, examples: int, luck: float = 0.0) -> tuple[float, float]:
    """Return Wilson's 90 % interval of an accuracy on so many examples (Wilson 1927).

    ``luck``, a deviation of log-odds, widens it: both errors add up as independent ones.
    """
    z2 = _Z90**2 / examples
    middle = (accuracy + z2 / 2) / (1 + z2)
    half = _Z90 / (1 + z2) * math.sqrt((accuracy * (1 - accuracy) + z2 / 4) / examples)
    low, high = (_wider_end(middle, end, _Z90 * luck) for end in (middle - half, middle + half))
    return low, high


def _wider_end(middle: float, end: float, more: float) -> float:
    """Return an end that is moved away from the middle: by ``more`` log-odds, in quadrature."""
    if not 0 < end < 1:
        return end
    ends = [math.log(p / (1 - p)) for p in (middle, end)]
    away = math.hypot(ends[1] - ends[0], more)
    return expit(ends[0] + math.copysign(away, end - middle))
