"""Ranks of finished runs, ties, and who is run again."""

from __future__ import annotations

import pytest

from planner.candidates import Candidate
from planner.decisions.recommend import (
    deviation,
    near_best_candidates,
    rank,
    rounds_for_second_seeds,
)
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


def test_who_may_be_best_is_run_again_as_far_as_the_effort_goes():
    known = {A: interval(0.950), B: interval(0.955), C: interval(0.8)}
    rounds = dict.fromkeys(known, 100)
    assert near_best_candidates(known, rounds, 1000) == [B, A]
    assert near_best_candidates(known, rounds, 199) == []  # one alone would tell nothing
    assert near_best_candidates({B: known[B], C: known[C]}, rounds, 1000) == []


def test_an_effort_is_kept_for_other_seeds_where_it_suffices_for_three_runs():
    assert rounds_for_second_seeds(8000, [300, 500]) == 1200
    assert rounds_for_second_seeds(7900, [300, 500]) == 0
