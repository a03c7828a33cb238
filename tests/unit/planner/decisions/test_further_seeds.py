"""Further seeds: rounds that are kept for them, and the runs that are repeated."""

from __future__ import annotations

from itertools import pairwise

import pytest

from planner.candidates import Candidate
from planner.decisions.further_seeds import next_repeats, rounds_for_seeds, rounds_of_repeats
from planner.forecasts.intervals import Interval

A, B, C, DENSE = (Candidate(rank_, 1.0, 1.0) for rank_ in (1, 2, 4, 16))
KNOWN = {
    c: Interval(mean - 0.02, mean, mean + 0.02, "measured")
    for c, mean in ((A, 0.950), (B, 0.955), (C, 0.8), (DENSE, 0.7))
}
ROUNDS = {A: 100, B: 100, C: 100, DENSE: 50}


def test_two_seeds_of_two_average_runs_and_of_the_baselines_are_kept():
    assert rounds_for_seeds(8000, [300, 500] * 4) == 2 * 2 * 400
    assert rounds_for_seeds(8000, [300, 500] * 4, [50, 450]) == 2 * (2 * 400 + 500)


def test_the_search_keeps_three_runs_and_a_twentieth_of_the_grid():
    small, large = [400] * 8, [400] * 100
    assert rounds_for_seeds(3 * 400 + 900, small) == 900
    assert rounds_for_seeds(3 * 400 + 1, small) == 1
    assert rounds_for_seeds(3 * 400, small) == 0
    assert rounds_for_seeds(5 * 400 + 900, large) == 900
    assert rounds_for_seeds(5 * 400, large) == 0


@pytest.mark.parametrize("effort", range(1000, 20_000, 379))
def test_what_is_kept_leaves_the_search_its_part(effort: int):
    kept = rounds_for_seeds(effort, [400] * 48, [55, 400])
    assert kept == 0 or effort - kept >= 1200
    assert kept <= 2 * (2 * 400 + 455)


@pytest.mark.parametrize("horizons", [[400] * 48, [15, 60, 400] * 9, [301, 17] * 100])
@pytest.mark.parametrize("baselines", [(), (55, 400)])
def test_a_larger_effort_never_leaves_the_search_fewer_rounds(horizons, baselines):
    efforts = range(min(horizons), sum(horizons) + 1)
    searched = [e - rounds_for_seeds(e, horizons, baselines) for e in efforts]
    assert all(0 <= more - fewer <= 1 for fewer, more in pairwise(searched))


def test_rounds_of_repeats_are_those_of_all_seeds_that_can_be_afforded():
    assert rounds_of_repeats(KNOWN, {}, ROUNDS, 1000, [DENSE]) == 2 * (100 + 100 + 50)
    assert rounds_of_repeats(KNOWN, {B: 2, A: 1}, ROUNDS, 1000, [DENSE]) == 100 + 2 * 50
    assert rounds_of_repeats(KNOWN, {}, ROUNDS, 260, [DENSE]) == 100 + 100 + 50
    assert rounds_of_repeats(KNOWN, {}, ROUNDS, 40) == 0


def test_the_two_best_and_the_baselines_are_repeated():
    assert next_repeats(KNOWN, {}, ROUNDS, 1000, [DENSE]) == [B, A, DENSE, DENSE]
    assert next_repeats(KNOWN, {B: 2, A: 1}, ROUNDS, 1000, [DENSE]) == [A, DENSE, DENSE]
    assert next_repeats(KNOWN, {B: 2, A: 2, DENSE: 1}, ROUNDS, 1000, [DENSE]) == [DENSE]
    assert next_repeats(KNOWN, {}, ROUNDS, 1000, [B]) == [B, B, A]
    assert next_repeats(KNOWN, {A: 2, B: 2, DENSE: 2}, ROUNDS, 1000, [DENSE]) == []


def test_what_the_rounds_left_do_not_finish_is_left_out():
    assert next_repeats(KNOWN, {}, ROUNDS, 199, [DENSE]) == [B, DENSE]
    assert next_repeats(KNOWN, {}, ROUNDS, 40, [DENSE]) == []


def test_baselines_take_what_the_later_seeds_of_the_finalists_leave():
    assert next_repeats(KNOWN, {}, ROUNDS, 320, [DENSE]) == [B, A]
    assert next_repeats(KNOWN, {B: 1, A: 1}, ROUNDS, 120, [DENSE]) == [B]
    assert next_repeats(KNOWN, {}, ROUNDS, 450, [DENSE]) == [B, A, DENSE]
    assert next_repeats(KNOWN, {}, ROUNDS, 90, [DENSE]) == [DENSE]


def test_a_finalist_that_was_only_lucky_gives_its_place_to_the_next():
    averaged = {**KNOWN, B: Interval(0.75, 0.79, 0.82, "measured")}
    assert next_repeats(averaged, {B: 1, A: 1}, ROUNDS, 1000) == [A, C]


def test_seeds_have_three_fifths_of_the_effort_at_most():
    assert rounds_for_seeds(3285, [400] * 41, [55, 400]) == int(0.6 * 3285)
