from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floss_sim.analysis.time_spread import (
    TimeSpread,
    fleet_quantile,
    mean_spread,
    spread_texts,
)

seconds = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60)


def test_a_quantile_holds_for_a_further_draw():
    """A further draw is at or below the quantile q of F draws with probability q.

    The probability is known for each sample, because the law is: the mean over 4,000 samples of
    40 draws must be q within four standard errors. Interpolation in a skewed law adds a little.
    """
    law, draws = NormalDist(), np.random.default_rng(3).standard_normal((4000, 40))
    for q in (0.05, 0.5, 0.95):
        below = np.array([law.cdf(v) for v in fleet_quantile(draws.T, q)])
        assert abs(below.mean() - q) < 4 * below.std() / math.sqrt(len(below)) + 0.001


def test_positions_among_the_sorted_draws():
    spread = TimeSpread(tuple(float(s) for s in range(19, 0, -1)), "closed form")
    assert (spread.low_s, spread.median_s, spread.high_s) == pytest.approx((1, 10, 19))
    few = TimeSpread((4.0, 2.0), "simulated")
    assert (few.low_s, few.median_s, few.high_s) == (2, 3, 4)


@given(seconds)
def test_the_interval_lies_among_the_draws(drawn: list[float]):
    spread = TimeSpread(tuple(drawn), "closed form")
    low_s, middle_s, high_s = spread.low_s, spread.median_s, spread.high_s
    assert min(drawn) <= low_s <= middle_s <= high_s <= max(drawn)
    assert middle_s == pytest.approx(float(np.median(drawn)))


def test_texts():
    assert TimeSpread((20.0,), "closed form").text == "20 s"
    assert TimeSpread((12.0, 20.0, 222.0), "simulated").text == "20 s (12 s to 3.7 min)"
    assert TimeSpread((12.0, 20.0, 222.0), "probed").text == "≈20 s (12 s to 3.7 min)"
    assert TimeSpread((12.0, 20.0, 222.0), "probed").to_json() == {
        "median_s": 20, "low_s": 12, "high_s": 222, "draws": 3, "method": "probed",
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=30))
def test_fleets_are_compared_in_pairs(pairs: list[tuple[int, int]]):
    a, b = (TimeSpread(tuple(map(float, one)), "closed form") for one in zip(*pairs, strict=True))
    wins = sum(1.0 if x < y else 0.5 if x == y else 0.0 for x, y in pairs)
    assert a.fraction_faster(b) == pytest.approx(wins / len(pairs))
    assert a.fraction_faster(b) + b.fraction_faster(a) == pytest.approx(1)
    assert a.fraction_faster(a) == 0.5


def test_only_common_fleets_are_compared_and_averaged():
    many, few = TimeSpread((1.0, 5.0, 3.0), "closed form"), TimeSpread((2.0, 3.0), "probed")
    assert many.fraction_faster(few) == 0.5
    assert mean_spread([many, few]) == TimeSpread((1.5, 4.0), "probed")
    assert many.per_round(2) == TimeSpread((0.5, 2.5, 1.5), "closed form")


def test_a_column_of_times_has_one_unit():
    slow = TimeSpread((58.0, 72.0, 222.0), "closed form")
    fast = TimeSpread((9.0,), "probed")
    assert slow.text == "1.2 min (58 s to 3.7 min)"
    assert spread_texts([slow, None, fast]) == ["72 s (58 s to 222 s)", "-", "≈9 s"]
    outlier = TimeSpread((60.0, 72.0, 7200.0), "closed form")
    assert spread_texts([outlier, fast]) == ["72 s (60 s to 7200 s)", "≈9 s"]
    assert spread_texts([None], "not reached") == ["not reached"]
