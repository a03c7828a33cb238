"""Expected improvement: what forecasts promise beyond an accuracy that is reached already."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from planner.forecasts.forecast import Forecast

_NORMAL = NormalDist()
_STEPS = 400  # accuracies between the best one and 1, for an integral


def expected_improvement(made: Forecast, best: float) -> float:
    """Return the expected improvement over ``best`` of a forecast, 0 to 1.

    The forecast is a normal distribution of which what exceeds 1 counts as 1.
    """
    return _mean_above(made, best) - _mean_above(made, 1.0)


def improvement_of_best(made: Sequence[Forecast], best: float) -> float:
    """Return the expected improvement over ``best`` of the best of some forecasts, 0 to 1.

    The forecasts are independent normal distributions of which what exceeds 1 counts as 1. The
    result is the integral, from ``best`` to 1, of the probability that some accuracy is higher.
    """
    from scipy.special import ndtr  # type: ignore[import-untyped]

    levels_L = np.linspace(best, 1, _STEPS)
    mean_F, sd_F = np.array([(forecast.mean, forecast.sd) for forecast in made]).T
    below_L = ndtr((levels_L[:, None] - mean_F) / sd_F).prod(axis=1)
    return float(np.trapezoid(1 - below_L, levels_L))


def _mean_above(made: Forecast, level: float) -> float:
    """Return the mean of what a normally distributed forecast exceeds a level by, at least 0."""
    z = (made.mean - level) / made.sd
    return (made.mean - level) * _NORMAL.cdf(z) + made.sd * _NORMAL.pdf(z)
