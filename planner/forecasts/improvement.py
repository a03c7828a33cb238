"""Expected improvement: what a forecast promises beyond an accuracy that is reached already."""

from __future__ import annotations

from statistics import NormalDist

from planner.forecasts.forecast import Forecast

_NORMAL = NormalDist()


def expected_improvement(made: Forecast, best: float) -> float:
    """Return the expected improvement over ``best`` of a forecast, 0 to 1.

    The forecast is a normal distribution of which what exceeds 1 counts as 1.
    """
    return _mean_above(made, best) - _mean_above(made, 1.0)


def _mean_above(made: Forecast, level: float) -> float:
    """Return the mean of what a normally distributed forecast exceeds a level by, at least 0."""
    z = (made.mean - level) / made.sd
    return (made.mean - level) * _NORMAL.cdf(z) + made.sd * _NORMAL.pdf(z)
