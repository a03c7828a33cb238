"""What smoothing takes in, and how large noise is."""

from __future__ import annotations

import pytest

from planner.forecasts.smoothing import difference_error, smoothed_accuracy


def test_the_last_sixth_or_so_is_averaged():
    evaluated = tuple(range(5, 101, 5))
    accuracies = tuple(r / 100 for r in evaluated)
    assert smoothed_accuracy(evaluated, accuracies, 100) == pytest.approx((0.9 + 0.95 + 1.0) / 3)


def test_what_lies_beyond_the_end_is_not_looked_at():
    assert smoothed_accuracy((10, 20, 30), (0.1, 0.2, 0.9), 20) == 0.2


def test_the_last_evaluation_counts_however_early():
    assert smoothed_accuracy((1, 2), (0.3, 0.4), 400) == 0.4
    with pytest.raises(ValueError, match="first 4 rounds"):
        smoothed_accuracy((5,), (0.5,), 4)


def test_noise_is_the_binomial_error_of_a_difference():
    assert difference_error(0.9, 350) == pytest.approx((0.9 * 0.1 / 350 * 2) ** 0.5)
    assert difference_error(1.0, 350) == 1 / 350
