"""Bins, forecasts and the weight that backtests give them."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.forecasts.forecast import (
    BINS,
    Forecast,
    Trial,
    backtest,
    blended_ranks,
    boundaries,
    curve_bins,
    expit,
    forecast,
)

GRID = grid((1, 4, 16), (1.0, 0.25, 1 / 16), (1.0, 0.25, 1 / 16))
EVALUATED = (1, 2, 3, 5, 7, *range(10, 401, 5))


def truth(candidate: Candidate, rounds: int) -> float:
    scale = 4 * candidate.down_density**-0.3 * candidate.up_density**-0.2
    best = 0.9 - 0.02 * abs(math.log2(candidate.rank) - 2)
    return best - 0.8 * (1 + rounds / scale) ** -0.9


def curve(candidate: Candidate, rounds: int, seed: int = 0, examples: int = 350) -> Curve:
    rng = np.random.default_rng([seed, GRID.index(candidate)])
    evaluated = tuple(r for r in EVALUATED if r <= rounds)
    noisy = (rng.binomial(examples, truth(candidate, r)) / examples for r in evaluated)
    return Curve(evaluated, tuple(noisy), rounds)


def test_curves_have_at_most_nine_bins_of_all_their_evaluations():
    full = curve_bins(curve(GRID[0], 400), 400)
    assert len(full) <= BINS
    assert sum(count for _, _, count in full) == len(EVALUATED)
    mean = sum(accuracy * count for _, accuracy, count in full) / len(EVALUATED)
    assert mean == pytest.approx(np.mean(curve(GRID[0], 400).accuracies))


def test_a_bin_means_the_same_for_short_and_long_curves():
    short, long_ = (curve_bins(Curve(r := tuple(range(1, n + 1)), r, n), 400) for n in (60, 400))
    assert short[:-1] == long_[: len(short) - 1]
    edges = boundaries(400)
    assert edges[0] == 1
    assert edges[-1] > 400


def test_forecasts_find_the_ends_of_regular_curves():
    known = {c: curve(c, 400 if i % 3 == 0 else 45) for i, c in enumerate(GRID)}
    made = forecast(known, dict.fromkeys(GRID, 400), 350, 400)
    errors = [made[c].mean - truth(c, 400) for c in GRID]
    assert float(np.sqrt(np.mean(np.square(errors)))) < 0.02
    assert all(0 < made[c].sd < 0.1 for c in GRID)


def test_what_was_never_trained_is_forecast_with_less_confidence():
    known = {c: curve(c, 400) for c in GRID[1:]}
    made = forecast(known, dict.fromkeys(GRID, 400), 350, 400)
    assert made[GRID[0]].sd > made[GRID[1]].sd
    assert made[GRID[0]].mean == pytest.approx(truth(GRID[0], 400), abs=0.06)


def test_forecasts_are_the_same_in_any_order_and_every_time():
    known = {c: curve(c, 45) for c in GRID}
    asked = dict.fromkeys(GRID, 400)
    backwards = dict(reversed(known.items()))
    assert forecast(known, asked, 350, 400) == forecast(backwards, asked, 350, 400)


def test_diverged_runs_and_perfect_scores_do_not_break_a_forecast():
    known = {
        GRID[0]: Curve((1, 2), (0.5, 0.6), 2, failed=True),
        GRID[1]: Curve((1, 2), (0.0, 1.0), 2),
    }
    made = forecast(known, dict.fromkeys(GRID[:2], 9), 350, 9)
    assert all(0 <= f.mean <= 1 and math.isfinite(f.sd) for f in made.values())
    assert forecast({GRID[0]: known[GRID[0]]}, {GRID[0]: 9}, 350, 9) == {}


def test_a_run_that_fell_to_no_right_example_has_a_forecast():
    """Its deviation in log-odds is half its fall over a slope of nearly 0: thousands."""
    rounds = tuple(range(1, 41))
    fell = Curve(rounds, tuple(0.95 if r < 20 else 0.0 for r in rounds), 40)
    steady = Curve(rounds, (0.6,) * 40, 40)
    first, second = grid([2, 4], [1.0], [1.0])
    made = forecast({first: fell, second: steady}, {first: 40}, 3000, 40)[first]
    assert made.mean == pytest.approx(0.0, abs=0.01)
    assert 0.4 < made.sd <= 0.5  # anything from 0 to 1


def test_log_odds_far_from_nought_are_probabilities():
    assert expit(-1e6) == pytest.approx(0.0, abs=1e-300)
    assert expit(1e6) == 1.0
    assert expit(math.log(3)) == pytest.approx(0.75)


def test_a_thousand_points_take_seconds_at_most():
    many = grid((1, 4, 16, 64), tuple(2.0**-k for k in range(6)), tuple(2.0**-k for k in range(6)))
    known = {c: Curve(EVALUATED, tuple(truth(c, r) for r in EVALUATED), 400) for c in many}
    before = time.perf_counter()
    forecast(known, dict.fromkeys(many, 400), 350, 400)
    assert time.perf_counter() - before < 5


def trial(seen: float, forecast_: float, measured: float) -> Trial:
    return Trial(seen, Forecast(forecast_, 0.1), measured)


def test_forecasts_that_order_worse_than_what_was_seen_weigh_nothing():
    adversarial = [trial(k, -k, k) for k in range(10)]
    ranks = blended_ranks(range(10), [-k for k in range(10)], backtest([adversarial]))
    assert list(np.argsort(ranks)) == list(range(9, -1, -1))


def test_forecasts_are_trusted_as_long_as_they_order_no_worse():
    assert backtest([]) == backtest([[trial(0.5, 0.6, 0.7)]]) == 1
    assert backtest([[trial(k, k, k) for k in range(10)]]) == 1
    swapped = [trial(k, {0: 1, 1: 0}.get(k, k), k) for k in range(10)]  # within luck
    assert backtest([swapped]) == 1


def test_forecasts_that_order_better_outweigh_what_was_seen():
    assert backtest([[trial(-k, k, k) for k in range(10)]]) > 0.5


def test_ranks_are_within_a_rung_only():
    """Accuracies of later rungs are higher: pairs across rungs would tell nothing."""
    rungs = [[trial(k, -k, k) for k in range(3)], [trial(9 - k, k, k) for k in range(8)]]
    assert backtest(rungs) > 0.5


def test_blends_of_ranks():
    assert blended_ranks([0.9, 0.5, 0.7], [1, 3, 2], 0).tolist() == [0, 2, 1]
    assert blended_ranks([0.9, 0.5, 0.7], [1, 3, 2], 1).tolist() == [2, 0, 1]
    assert blended_ranks([0.5, 0.5, 0.7], [1, 3, 2], 0).tolist() == [1.5, 1.5, 0]
