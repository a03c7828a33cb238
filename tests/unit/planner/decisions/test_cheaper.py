"""Cheaper ways: the best run within a half, a quarter and a tenth of the plan's bytes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from planner.candidates import Candidate
from planner.decisions.cheaper import MeasuredRun, cheaper_ways
from planner.forecasts.intervals import Interval, Point

LARGE, MIDDLE, SMALL = (Candidate(rank, 1.0, 1.0) for rank in (16, 4, 1))
RUNS = {
    LARGE: MeasuredRun((10, 20, 40), (200, 400, 800)),
    MIDDLE: MeasuredRun((10, 20, 40), (50, 100, 200)),
    SMALL: MeasuredRun((10, 20, 40), (20, 40, 80)),
}
EXPECTED = {
    LARGE: {10: 0.7, 20: 0.8, 40: 0.9},
    MIDDLE: {10: 0.6, 20: 0.75, 40: 0.85},
    SMALL: {10: 0.5, 20: 0.6, 40: 0.7},
}


def made_up(asked: Iterable[Point]) -> dict[Point, Interval]:
    """Return intervals about the expected accuracies."""
    means = {(c, r): EXPECTED[c][r] for c, r in asked}
    return {at: Interval(mean - 0.1, mean, mean + 0.1, "measured") for at, mean in means.items()}


def told(total: int, runs=RUNS, intervals=made_up) -> list[tuple]:
    ways = cheaper_ways(total, runs, intervals)
    return [(w.share, w.candidate, w.rounds, w.nbytes, w.interval.mean) for w in ways]


def test_each_share_has_its_best_run_at_the_best_affordable_round():
    # 0.85 for 200 bytes beats 0.8 for 400, so that a half buys no more than a quarter
    assert told(800) == [(0.25, MIDDLE, 40, 200, 0.85), (0.1, SMALL, 40, 80, 0.7)]


def test_a_larger_share_is_named_where_it_buys_something():
    assert told(2000) == [(0.5, LARGE, 40, 800, 0.9), (0.1, MIDDLE, 40, 200, 0.85)]


def test_of_equal_points_the_cheapest_is_named():
    def flat(asked):
        return {at: Interval(0, 0.5, 1, "measured") for at in asked}

    assert told(800, intervals=flat) == [(0.1, SMALL, 10, 20, 0.5)]


def test_a_run_that_fell_is_best_before_its_fall():
    fell = {**EXPECTED, MIDDLE: {10: 0.6, 20: 0.75, 40: 0.2}}

    def fallen(asked):
        return {(c, r): Interval(0, fell[c][r], 1, "measured") for c, r in asked}

    assert told(2000, {MIDDLE: RUNS[MIDDLE]}, fallen) == [(0.1, MIDDLE, 20, 100, 0.75)]


@pytest.mark.parametrize("total", [0, 39])
def test_nothing_is_named_where_nothing_is_affordable(total: int):
    assert told(total) == []
