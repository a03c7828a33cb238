"""Ranks of finished runs, and ties."""

from __future__ import annotations

import pytest

from planner.candidates import Candidate
from planner.decisions.recommend import deviation, rank
from planner.forecasts.intervals import Interval

A, B, C = (Candidate(rank_, 1.0, 1.0) for rank_ in (1, 2, 4))


def interval(mean: float, half: float = 0.0165) -> Interval:
    return Interval(mean - half, mean, mean + half, "measured")


def test_a_deviation_is_that_of_a_normal_law():
    assert deviation(interval(0.9, 0.0164485)) == pytest.approx(0.01, rel=1e-4)


def test_among_ties_far_fewer_bytes_come_first_and_the_others_by_expectation():
    known = {A: interval(0.950), B: interval(0.955), C: interval(0.951)}
    ranking = rank(known, {A: 5.0, B: 30.0, C: 20.0})
    assert ranking.order == (A, B, C)
    assert ranking.best == 0.955
    assert ranking.margin == pytest.approx(0.4307 * 2**0.5 * 0.01, rel=0.01)


def test_among_ties_slightly_fewer_bytes_are_no_reason_for_the_worse_one():
    known = {A: interval(0.950), B: interval(0.955)}
    assert rank(known, {A: 9.0, B: 10.0}).order == (B, A)
    assert rank({A: known[A], B: interval(0.950)}, {A: 9.0, B: 10.0}).order == (A, B)


def test_a_surely_better_run_is_recommended_whatever_its_bytes():
    known = {A: interval(0.950, 0.003), B: interval(0.955, 0.003)}
    assert rank(known, {A: 10.0, B: 30.0}).order == (B, A)
