"""Expected gain of more search: of one candidate, of all, and where a search should end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.forecasts.forecast import Forecast
from planner.forecasts.gain import STOP_SHARE, expected_gain
from planner.forecasts.improvement import expected_improvement, improvement_of_best
from planner.forecasts.intervals import KnownCurves

SPACE = grid([1, 4, 16], [1.0, 1 / 4], [1.0, 1 / 16])


def curve(candidate: Candidate, rounds: int) -> Curve:
    top = 0.9 + 0.01 * math.log2(candidate.rank)
    seen = tuple(range(1, rounds + 1))
    return Curve(seen, tuple(top - 0.6 / (1 + r) for r in seen), rounds)


def known(rounds: dict[Candidate, int]) -> KnownCurves:
    return KnownCurves({c: curve(c, r) for c, r in rounds.items()}, 350, 60, space=tuple(SPACE))


def test_the_best_of_one_forecast_is_that_forecast():
    for made in (Forecast(0.9, 0.02), Forecast(0.97, 0.05), Forecast(0.8, 0.03)):
        assert improvement_of_best([made], 0.9) == pytest.approx(
            expected_improvement(made, 0.9), abs=2e-5
        )


def test_the_best_of_several_forecasts_is_that_of_drawn_maxima():
    made = [Forecast(0.90, 0.03), Forecast(0.92, 0.01), Forecast(0.85, 0.08)]
    draw = np.random.default_rng(1)
    drawn = draw.normal([m.mean for m in made], [m.sd for m in made], (400_000, 3)).max(axis=1)
    gains = np.clip(drawn, 0.91, 1.0) - 0.91
    error = 4 * gains.std() / math.sqrt(len(gains))
    assert improvement_of_best(made, 0.91) == pytest.approx(gains.mean(), abs=error)


def test_all_candidates_promise_at_least_as_much_as_the_best_of_them():
    rounds = {c: 60 if c.rank == 4 else 6 for c in SPACE}
    unfinished = {c: 60 for c in SPACE if c.rank != 4}
    gain = expected_gain(known(rounds), 0.91, unfinished)
    assert gain.candidate.rank == 16
    assert (gain.rounds, gain.all_rounds) == (54, 54 * len(unfinished))
    assert 0 < gain.improvement < gain.all_improvement
    assert gain.noise == pytest.approx(math.sqrt(0.91 * 0.09 / 350))


def test_candidates_that_the_rounds_left_do_not_finish_promise_nothing():
    rounds = {c: 60 if c.rank == 4 else 6 for c in SPACE}
    unfinished = {c: 60 for c in SPACE if c.rank != 4}
    everything = expected_gain(known(rounds), 0.91, unfinished)
    some = expected_gain(known(rounds), 0.91, unfinished, 3 * 54 + 5)
    assert some.all_rounds == 3 * 54
    assert some.all_improvement < everything.all_improvement
    assert expected_gain(known(rounds), 0.91, unfinished, 53) is None


def test_a_search_ends_once_all_that_is_left_promises_less_than_a_share_of_the_noise():
    rounds = {c: 60 if c.rank == 16 else 30 for c in SPACE}
    low = {c: 60 for c in SPACE if c.rank == 1}
    done = expected_gain(known(rounds), 0.935, low)
    assert done.is_small
    assert done.all_improvement < STOP_SHARE * done.noise
    assert not expected_gain(known(rounds), 0.85, low).is_small


def test_vague_forecasts_promise_nothing():
    few = KnownCurves({SPACE[0]: Curve((1, 2), (0.1, 0.7), 2)}, 10, 60, space=tuple(SPACE))
    unfinished = dict.fromkeys(SPACE[1:], 60)
    assert all(interval.is_vague for interval in few.intervals(unfinished).values())
    assert expected_gain(few, 0.5, unfinished) is None
    assert expected_gain(known({}), 0.5, {}) is None
