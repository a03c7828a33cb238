"""Intervals that cover as often as they say: split-conformal, from forecasts put to the test.

A forecast's own deviation is only as good as its model. How far measurements fell from their
forecasts, in units of these deviations, says by how much to widen: the interval of the level 0.9
takes the residual that 90 % of them (and of one more) do not exceed. Where the past residuals and
the next one are exchangeable, it covers with at least that probability, whatever the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.forecast import Forecast, Trial


@dataclass(frozen=True)
class Intervals:
    """Intervals of half-width ``factor`` standard deviations, meant to cover with ``level``.

    ``factor`` is infinite where there are too few residuals to promise the level.
    """

    level: float
    factor: float

    def of(self, forecast: Forecast) -> tuple[float, float]:
        """Return the interval of an accuracy, within [0, 1]."""
        half = self.factor * forecast.sd
        return max(0.0, forecast.mean - half), min(1.0, forecast.mean + half)


def conformal(trials: Sequence[Trial], level: float) -> Intervals:
    """Return intervals calibrated on trials: the ceil((n + 1) * level)-th smallest residual.

    Args:
        trials: Forecasts and what was then measured; fewer than level / (1 - level) are too few.
        level: Wanted coverage, between 0 and 1.
    """
    residuals = sorted(abs(t.measured - t.forecast.mean) / t.forecast.sd for t in trials)
    place = math.ceil((len(residuals) + 1) * level)
    factor = residuals[place - 1] if place <= len(residuals) else math.inf
    return Intervals(level, factor)


def coverage(worlds: Iterable[tuple[Intervals, Sequence[Trial]]]) -> float:
    """Return the share of measurements that lay within their intervals, over all worlds.

    Args:
        worlds: Of each, its intervals, and trials that these were not calibrated on.

    Raises:
        ValueError: There is no trial.
    """
    inside = [
        low <= trial.measured <= high
        for intervals, trials in worlds
        for trial in trials
        for low, high in [intervals.of(trial.forecast)]
    ]
    if not inside:
        raise ValueError("no trial in any world")
    return sum(inside) / len(inside)
