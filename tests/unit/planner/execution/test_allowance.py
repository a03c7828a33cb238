"""What a search may still train: fixed rounds, or the rounds of a time at the speed reached."""

from __future__ import annotations

import math

import pytest

from planner.execution.allowance import FixedRounds, TimedRounds


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def timed(training_s: float = 100.0, speed: float = 10.0, most: int = 10**6, **further):
    clock = Clock()
    return TimedRounds(training_s, speed, most, clock=clock, **further), clock


def test_fixed_rounds_count_down_and_know_no_time():
    fixed = FixedRounds(100)
    fixed.note(30)
    assert fixed.rounds_left(30) == 70
    assert (fixed.until_s, fixed.left_s, fixed.is_over()) == (math.inf, None, False)


def test_before_the_first_round_the_expected_speed_counts():
    allowance, _ = timed()
    assert allowance.until_s == 50.0 + 97.0
    assert allowance.rounds_left(0) == int(0.95 * 97.0 * 10.0)


def test_rounds_of_baselines_are_kept_until_they_are_trained():
    allowance, clock = timed(beside=200)
    assert allowance.rounds_left(0) == int(0.95 * 97.0 * 10.0) - 200
    clock.now_s += 5.0
    allowance.note(50, before_search=True)
    assert allowance.rounds_left(0) == int(0.95 * 92.0 * allowance.rounds_per_s) - 200
    clock.now_s += 5.0
    allowance.note(50)
    assert allowance.rounds_left(0) == int(0.95 * 87.0 * allowance.rounds_per_s)


@pytest.mark.parametrize("speed", [2.0, 10.0, 50.0])
def test_the_speed_that_is_reached_soon_outweighs_the_expected_one(speed: float):
    allowance, clock = timed()
    clock.now_s += 20.0
    allowance.note(int(20 * speed))
    assert allowance.rounds_per_s == pytest.approx(speed, rel=0.15)


def test_a_change_of_speed_is_noticed_within_an_eighth_of_the_time():
    allowance, clock = timed()
    for _ in range(5):
        clock.now_s += 10.0
        allowance.note(100)
    clock.now_s += 12.5
    allowance.note(int(12.5 * 5))
    assert 5.0 < allowance.rounds_per_s < 7.6
    clock.now_s += 12.5
    allowance.note(int(12.5 * 5))
    assert allowance.rounds_per_s == pytest.approx(5.0, rel=0.27)


def test_stored_rounds_take_no_time_and_tell_no_speed():
    allowance, clock = timed()
    clock.now_s += 5.0
    allowance.note(0)
    assert allowance.rounds_per_s == 10.0
    assert allowance.left_s == 92.0


def test_rounds_end_with_the_time_and_with_the_grid():
    allowance, clock = timed(most=300)
    assert allowance.rounds_left(100) == 200
    assert allowance.rounds_left(400) == 0
    clock.now_s += 96.9
    assert not allowance.is_over()
    clock.now_s += 0.2
    assert allowance.is_over()
    assert (allowance.left_s, allowance.rounds_left(0)) == (0.0, 0)
    assert allowance.elapsed_s == pytest.approx(97.1)


def test_a_measurement_before_is_part_of_the_time():
    allowance, _ = timed(spent_s=30.0)
    assert allowance.elapsed_s == 30.0
    assert allowance.left_s == 67.0
