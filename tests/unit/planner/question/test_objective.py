from __future__ import annotations

import math

import pytest

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.question.objective import FRACTIONS, Objective, band, first_round_at, front

ONE, TWO = Candidate(1, 1.0, 1.0), Candidate(4, 1.0, 1.0)


def test_a_target_is_reached_by_the_smoothed_accuracy():
    evaluated = (10, 20, 90, 95, 100)
    lucky = (0.5, 0.6, 0.95, 0.7, 0.75)  # at 90 alone in its last 15 %, at 100 one of three
    assert first_round_at(evaluated, lucky, 0.9) == 90
    assert first_round_at((80, 85, 90, 95, 100), (0.5, 0.6, 0.95, 0.7, 0.75), 0.9) is None
    assert first_round_at(evaluated, lucky, 0.55) == 20
    assert first_round_at((), (), 0.5) is None


def test_the_front_is_what_no_other_point_beats():
    cheap = [(10, 0.05, 0.5), (20, 0.1, 0.6), (100, 0.5, 0.7)]
    dear = [(5, 0.2, 0.55), (10, 0.4, 0.8), (20, 0.8, 0.9)]
    points = front({ONE: cheap, TWO: dear}, 350)
    assert [(p.candidate, p.rounds, p.spent, p.accuracy) for p in points] == [
        (ONE, 10, 0.05, 0.5),
        (ONE, 20, 0.1, 0.6),
        (TWO, 10, 0.4, 0.8),
        (TWO, 20, 0.8, 0.9),
    ]
    assert all(p.low < p.accuracy < p.high for p in points)


def test_equal_points_are_shown_once_and_the_cheaper_counts():
    points = front({ONE: [(10, 0.3, 0.8)], TWO: [(10, 0.2, 0.8)]}, 350)
    assert [(p.candidate, p.spent) for p in points] == [(TWO, 0.2)]
    assert front({}, 350) == ()


def test_curves_are_cut_at_fractions_of_the_budget():
    assert FRACTIONS[0] == 1
    many = [(r, r / 1000, r / 2000) for r in range(1, 1001)]
    points = front({ONE: many}, 350)
    assert len(points) == len([f for f in FRACTIONS if f >= 1 / 1000])
    assert points[-1].rounds == 1000


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 0.9, 1.0])
def test_bands_hold_the_accuracy_and_shrink_with_examples(accuracy: float):
    low, high = band(accuracy, 350)
    assert -1e-12 <= low <= accuracy + 1e-12
    assert accuracy - 1e-12 <= high <= 1 + 1e-12
    narrow = band(accuracy, 3500)
    assert narrow[1] - narrow[0] < high - low
    assert band(0.5, 1000)[0] == pytest.approx(0.5 - 1.645 * (0.25 / 1000) ** 0.5, abs=1e-3)


def test_the_luck_of_seeds_widens_a_band_in_log_odds():
    few, many = 350, 10**9
    assert band(0.9, few, 0.0) == band(0.9, few)
    low, high = band(0.9, many, 0.13)
    for end, sign in ((low, -1), (high, 1)):
        assert math.log(end / (1 - end)) == pytest.approx(math.log(9) + sign * 1.645 * 0.13, 1e-3)
    for accuracy in (0.0, 0.5, 1.0):
        wide, narrow = band(accuracy, few, 0.13), band(accuracy, few)
        assert wide[0] <= narrow[0] < narrow[1] <= wide[1]
        assert wide[0] + 1e-12 >= 0
        assert wide[1] <= 1 + 1e-12


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (Objective(target=0.0), "outside"),
        (Objective(target=1.01), "outside"),
        (Objective(target=float("nan")), "outside"),
        (Objective(target=0.9, pareto=True), "give one"),
    ],
)
def test_objectives_that_cannot_be_are_refused(objective: Objective, says: str):
    with pytest.raises(ConfigError, match=says):
        objective.check()
