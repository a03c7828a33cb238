"""Cheaper ways: the best run within a half, a quarter and a tenth of the plan's bytes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from planner.candidates import Candidate
from planner.decisions.cheaper import MeasuredRun, cheaper_ways
from planner.forecasts.intervals import Interval

LARGE, MIDDLE, SMALL = (Candidate(rank, 1.0, 1.0) for rank in (16, 4, 1))
RUNS = {
    LARGE: MeasuredRun((10, 20, 40), (0.7, 0.8, 0.9), (200, 400, 800)),
    MIDDLE: MeasuredRun((10, 20, 40), (0.6, 0.75, 0.85), (50, 100, 200)),
    SMALL: MeasuredRun((10, 20, 40), (0.5, 0.6, 0.7), (20, 40, 80)),
}


def own_means(asked: Mapping[Candidate, int]) -> dict[Candidate, Interval]:
    """Return what was measured as the mean."""
    found = {}
    for c, round_ in asked.items():
        mean = RUNS[c].accuracies[RUNS[c].evaluated.index(round_)]
        found[c] = Interval(mean - 0.1, mean, mean + 0.1, "measured")
    return found


def told(total: int, runs=RUNS, intervals=own_means) -> list[tuple]:
    ways = cheaper_ways(total, runs, intervals)
    return [(w.share, w.candidate, w.rounds, w.nbytes, w.interval.mean) for w in ways]


def test_each_share_has_its_best_run_at_the_best_affordable_round():
    # 0.85 for 200 bytes beats 0.8 for 400, so that a half buys no more than a quarter
    assert told(800) == [(0.25, MIDDLE, 40, 200, 0.85), (0.1, SMALL, 40, 80, 0.7)]


def test_a_larger_share_is_named_where_it_buys_something():
    assert told(2000) == [(0.5, LARGE, 40, 800, 0.9), (0.1, MIDDLE, 40, 200, 0.85)]


def test_the_expected_accuracy_decides_and_not_the_measured_one():
    def doubted(asked):
        return {c: Interval(0, 0.9 if c == SMALL else 0.1, 1, "measured") for c in asked}

    assert [way[1] for way in told(800, intervals=doubted)] == [SMALL]


@pytest.mark.parametrize("total", [0, 39])
def test_nothing_is_named_where_nothing_is_affordable(total: int):
    assert told(total) == []
