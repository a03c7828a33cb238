"""Split-conformal intervals: the place of the quantile, and coverage where it is promised."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.forecast import Forecast, Trial
from planner.intervals import Intervals, conformal, coverage


def trial(residual: float) -> Trial:
    return Trial(0.5, Forecast(0.5, 0.1), 0.5 + 0.1 * residual)


def test_the_factor_is_the_residual_of_its_place():
    made = conformal([trial(k / 10) for k in range(1, 20)], 0.9)
    assert made.factor == pytest.approx(1.8)  # ceil(20 * 0.9) = 18th of 19
    assert made.of(Forecast(0.5, 0.1)) == pytest.approx((0.32, 0.68))
    assert made.of(Forecast(0.95, 0.1))[1] == 1.0


def test_too_few_residuals_promise_nothing_but_the_whole_range():
    assert conformal([trial(0.1)] * 8, 0.9).factor == math.inf
    assert conformal([trial(0.1)] * 9, 0.9).factor < math.inf
    assert conformal([], 0.9).of(Forecast(0.4, 0.1)) == (0.0, 1.0)


def test_coverage_counts_over_all_worlds():
    narrow, wide = Intervals(0.9, 0.5), Intervals(0.9, 5.0)
    assert coverage([(narrow, [trial(1.0)]), (wide, [trial(1.0), trial(-2.0)])]) == 2 / 3
    with pytest.raises(ValueError, match="no trial"):
        coverage([(narrow, [])])


@pytest.mark.parametrize("stretch", [0.3, 1.0, 4.0])
def test_intervals_cover_as_promised_whatever_the_deviations_say(stretch: float):
    """Forecasts whose deviations are wrong by a factor, with heavy-tailed errors."""
    worlds = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sd = rng.uniform(0.005, 0.02, 50)
        measured = 0.5 + stretch * sd * rng.standard_t(4, 50)
        trials = [
            Trial(0.5, Forecast(0.5, float(s)), float(m)) for s, m in zip(sd, measured, strict=True)
        ]
        worlds.append((conformal(trials[:30], 0.9), trials[30:]))
    assert 0.85 <= coverage(worlds) <= 0.95
