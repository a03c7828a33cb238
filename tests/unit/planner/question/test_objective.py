from __future__ import annotations

import pytest

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.question.objective import FRACTIONS, Objective, front

ONE, TWO = Candidate(1, 1.0, 1.0), Candidate(4, 1.0, 1.0)


def made_up(*curves):
    """Return intervals about the accuracies of some curves."""
    known = {c: {r: accuracy for r, _, accuracy in curve} for c, curve in curves}

    def intervals_at(points):
        means = {(c, r): known[c][r] for c, r in points}
        return {at: Interval(mean / 2, mean, 1.0, "measured") for at, mean in means.items()}

    return intervals_at


def fronts(curves):
    return front(curves, made_up(*curves.items()))


def test_the_front_is_what_no_other_point_beats():
    cheap = [(10, 0.05, 0.5), (20, 0.1, 0.6), (100, 0.5, 0.7)]
    dear = [(5, 0.2, 0.55), (10, 0.4, 0.8), (20, 0.8, 0.9)]
    points = fronts({ONE: cheap, TWO: dear})
    assert [(p.candidate, p.rounds, p.spent, p.accuracy) for p in points] == [
        (ONE, 10, 0.05, 0.5),
        (ONE, 20, 0.1, 0.6),
        (TWO, 10, 0.4, 0.8),
        (TWO, 20, 0.8, 0.9),
    ]
    assert all(p.low < p.accuracy < p.high for p in points)


def test_equal_points_are_shown_once_and_the_cheaper_counts():
    points = fronts({ONE: [(10, 0.3, 0.8)], TWO: [(10, 0.2, 0.8)]})
    assert [(p.candidate, p.spent) for p in points] == [(TWO, 0.2)]
    assert fronts({}) == ()


def test_curves_are_cut_at_fractions_of_the_budget():
    assert FRACTIONS[0] == 1
    many = [(r, r / 1000, r / 2000) for r in range(1, 1001)]
    points = fronts({ONE: many})
    assert len(points) == len([f for f in FRACTIONS if f >= 1 / 1000])
    assert points[-1].rounds == 1000


def test_the_expected_accuracies_decide_and_not_the_evaluations():
    curve = [(10, 0.1, 0.9), (20, 0.5, 0.2)]
    expected = [(10, 0.1, 0.5), (20, 0.5, 0.6)]
    points = front({ONE: curve}, made_up((ONE, expected)))
    assert [(p.rounds, p.accuracy, p.low, p.high) for p in points] == [
        (10, 0.5, 0.25, 1.0),
        (20, 0.6, 0.3, 1.0),
    ]
    assert points[0].to_json(10.0, "s")["interval"]["mean"] == 0.5


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
