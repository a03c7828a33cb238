"""Falls of curves: told from noise, and the round that a fallen run ends at."""

from __future__ import annotations

import numpy as np

from planner.curves import Curve
from planner.forecasts.falls import curve_fall, peak_round
from planner.forecasts.smoothing import smoothed_accuracy

EVALUATED = tuple(range(10, 401, 10))
RISEN = tuple(0.9 - 0.6 * (1 + r / 20) ** -1.2 for r in EVALUATED)


def curve(*accuracies: float) -> Curve:
    return Curve(EVALUATED[: len(accuracies)], accuracies, EVALUATED[len(accuracies) - 1])


def test_a_collapsed_run_ends_at_its_highest_smoothed_accuracy():
    fallen = curve(*RISEN[:20], 0.77, 0.43, 0.09)
    assert peak_round(fallen, 350) == 200
    smoothed = {r: smoothed_accuracy(fallen.evaluated, fallen.accuracies, r)
                for r in fallen.evaluated}  # fmt: skip
    assert peak_round(fallen, 350) == max(smoothed, key=smoothed.get)
    assert curve_fall(fallen, 350) == smoothed[200] - smoothed[230]


def test_a_collapse_of_the_last_evaluation_alone_is_a_fall():
    fallen = curve(*RISEN[:39], 0.55)
    whole = smoothed_accuracy(fallen.evaluated, fallen.accuracies, 390)
    assert whole - smoothed_accuracy(fallen.evaluated, fallen.accuracies, 400) < 0.06
    assert peak_round(fallen, 350) == 390
    assert curve_fall(fallen, 350) == whole - 0.55


def test_noise_is_rarely_a_fall():
    draws = np.random.default_rng(0)
    for risen in (RISEN, (0.1,) * 12, (0.6,) * 12, (0.97,) * 12):
        noisy = [curve(*(draws.binomial(350, risen) / 350)) for _ in range(200)]
        assert np.mean([curve_fall(one, 350) > 0 for one in noisy]) < 0.04


def test_a_dip_that_was_made_good_is_no_fall():
    assert peak_round(curve(*RISEN[:15], 0.3, 0.3, *RISEN[17:]), 350) is None


def test_a_run_that_still_rises_and_an_empty_one_have_not_fallen():
    assert peak_round(curve(0.2, 0.5, 0.8), 350) is None
    assert peak_round(Curve(), 350) is None
    assert peak_round(curve(0.9), 350) is None
