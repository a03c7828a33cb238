"""Differences of two seeds of one configuration: their intervals cover the choice of examples."""

from __future__ import annotations

import numpy as np
import pytest
from made_plans import outcome

from floss_sim.analysis.on_test import AccuracyOnTest, DifferenceOnTest, HitsOnTest
from planner.decisions.another_seed import SeedDifference, judged_alone

ONES = np.ones(340, np.int64)


def test_the_interval_on_validation_is_that_of_two_binomials():
    """On validation: 0.90 against 0.92, averaged over the last part, on 350 examples."""
    test = DifferenceOnTest(-0.02, 0.0, 0.02, 340)
    made = SeedDifference.of(outcome(4, 0.90), outcome(4, 0.92), 0, 350, test)
    half = 1.644854 * (2 * 0.91 * 0.09 / 350) ** 0.5
    assert (made.low, made.mean, made.high) == pytest.approx((-0.02 - half, -0.02, -0.02 + half))
    told = made.to_json()
    assert told["test"] == test.to_json()
    assert told["validation"]["examples"] == 350
    assert (told["to_seed"], told["validation"]["level"]) == (0, 0.9)


def test_the_interval_on_validation_holds_no_difference_in_nine_of_ten_cases():
    """Two runs of one accuracy, whose examples are drawn independently, differ by chance alone."""
    accuracies = np.random.default_rng(0).binomial(350, 0.8, (4000, 2)) / 350
    made = [
        SeedDifference.of(outcome(4, ours), outcome(4, theirs), 0, 350, None)
        for ours, theirs in accuracies.tolist()
    ]
    assert np.mean([one.low <= 0 <= one.high for one in made]) == pytest.approx(0.9, abs=0.015)


def test_a_run_is_judged_alone_with_the_plans_variation_between_seeds():
    hits = [HitsOnTest(np.repeat([1.0, 0.0], (306, 34)), 3)]
    widths = []
    for seed_sd in (0.13, 1.0):
        planned = outcome(4, 0.95, test=AccuracyOnTest(0.9, 0.94, 0.97, 340, 3, 1, seed_sd))
        made = judged_alone(outcome(4, 0.9), planned, hits, ONES, 350)
        assert (made.test_accuracy, made.expected_accuracy) == pytest.approx((0.9, 0.9))
        widths.append([told.high - told.low for told in (made.test, made.interval)])
    assert widths[0][0] < widths[1][0]
    assert widths[0][1] < widths[1][1]
    error = np.hypot((0.09 / 350) ** 0.5, 0.13 * 0.09)
    assert widths[0][1] == pytest.approx(2 * 1.645 * error, rel=0.03)
