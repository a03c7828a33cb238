"""The expected improvement is that of a normal law whose part above 1 counts as 1."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.forecasts.forecast import Forecast
from planner.forecasts.improvement import expected_improvement


def test_expected_improvement_is_that_of_a_normal_law():
    assert expected_improvement(Forecast(0.9, 0.02), 0.9) == pytest.approx(
        0.02 / math.sqrt(2 * math.pi)
    )
    assert expected_improvement(Forecast(0.95, 1e-4), 0.9) == pytest.approx(0.05)
    assert expected_improvement(Forecast(0.85, 1e-4), 0.9) == pytest.approx(0)


def test_no_accuracy_above_one_is_expected():
    drawn = np.random.default_rng(1).normal(0.98, 0.03, 400_000)
    gains = np.clip(np.minimum(drawn, 1.0) - 0.96, 0, None)
    error = gains.std() / math.sqrt(len(gains))
    assert abs(expected_improvement(Forecast(0.98, 0.03), 0.96) - gains.mean()) < 4 * error
