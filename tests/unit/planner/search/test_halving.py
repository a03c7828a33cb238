"""Halving on synthetic curves, through the same door as real training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floss_sim.errors import BudgetError
from planner.candidates import Candidate
from planner.curves import Curve
from planner.execution.curve_store import last_evaluated_round
from planner.search.halving import FINALISTS, Halving
from planner.search.rungs import survivor_count
from planner.search.strategy import search


class World:
    """Known curves; counts what is really trained."""

    def __init__(self, best: dict[Candidate, float], failing: frozenset[Candidate] = frozenset()):
        self.best = best
        self.failing = failing
        self.rounds: dict[Candidate, int] = {}

    def extend(self, proposals):
        known = {}
        for candidate, rounds in proposals:
            assert rounds > self.rounds.get(candidate, 0), "trained twice"
            self.rounds[candidate] = rounds
            grid = tuple(range(1, rounds + 1))
            curve = tuple(self.best[candidate] * (1 - math.exp(-r / 20)) for r in grid)
            known[candidate] = Curve(grid, curve, rounds, candidate in self.failing)
        return known

    def __call__(self, proposals):
        return self.extend([(p.candidate, p.rounds) for p in proposals])


def candidates(count: int) -> list[Candidate]:
    return [Candidate(rank, 1.0, 1.0) for rank in range(1, count + 1)]


def halving(horizons: dict[Candidate, int], effort: int | None = None, seed: int = 0) -> Halving:
    enough = sum(horizons.values()) if effort is None else effort
    return Halving(horizons, dict.fromkeys(horizons, 1.0), enough, seed)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=60),
    st.floats(0.02, 1.0),
    st.integers(0, 5),
)
def test_the_effort_is_never_overspent_and_something_finishes(horizons, fraction, seed):
    by_candidate = dict(zip(candidates(len(horizons)), horizons, strict=True))
    effort = int(fraction * sum(horizons))
    best = {c: float(np.random.default_rng(c.rank).random()) for c in by_candidate}
    world = World(best)
    try:
        strategy = halving(by_candidate, effort, seed)
    except BudgetError:
        assert effort < max(horizons)
        return
    search(strategy, world)
    assert sum(world.rounds.values()) <= strategy.max_search_rounds(strategy.starters) <= effort
    finished = [c for c, r in world.rounds.items() if r == by_candidate[c]]
    assert len(finished) >= min(FINALISTS, len(strategy.starters))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.floats(0.5, 1.8)), min_size=1, max_size=40),
    st.floats(0.05, 1.0),
    st.sampled_from([int, last_evaluated_round]),
)
def test_horizons_by_real_bytes_never_overspend_the_effort(drawn, fraction, snap):
    """First rounds tell longer or shorter horizons than were predicted."""
    by_candidate = {c: h for c, (h, _) in zip(candidates(len(drawn)), drawn, strict=True)}
    real = {c: int(h * factor) for c, (h, factor) in zip(by_candidate, drawn, strict=True)}
    effort = max(*by_candidate.values(), int(fraction * sum(by_candidate.values())), 1)
    world = World({c: 1 / c.rank for c in by_candidate})

    def extend(proposals):
        return {c: replace(curve, horizon=real[c]) for c, curve in world(proposals).items()}

    strategy = Halving(by_candidate, dict.fromkeys(by_candidate, 1.0), effort, snap=snap)
    search(strategy, extend)
    assert sum(world.rounds.values()) <= effort
    assert any(
        rounds >= snap(max(1, min(by_candidate[c], real[c]))) for c, rounds in world.rounds.items()
    )


def test_the_last_rung_follows_the_horizon_that_earlier_rounds_tell():
    (one,) = candidates(1)
    world = World({one: 0.9})
    asked = []

    def extend(proposals):
        asked.extend(p.rounds for p in proposals)
        return {c: replace(curve, horizon=540) for c, curve in world(proposals).items()}

    search(halving({one: 270}, effort=1000), extend)
    assert asked == [10, 30, 90, 540]


def test_the_best_of_separated_curves_finishes():
    all_ = candidates(48)
    world = World({c: 0.5 + c.rank / 100 for c in all_})
    search(halving(dict.fromkeys(all_, 270)), world)
    assert world.rounds[all_[-1]] == 270
    assert world.rounds[all_[0]] == 10


def test_rungs_are_fractions_of_each_candidates_own_horizon():
    short, long_ = candidates(2)
    history = search(halving({short: 27, long_: 270}), World({short: 0.9, long_: 0.9}))
    assert (history[short].rounds, history[long_].rounds) == (27, 270)
    first = halving({short: 27, long_: 270}).propose({})
    assert [(p.candidate, p.rounds) for p in first] == [(short, 1), (long_, 10)]


def test_a_diverged_run_is_never_extended_and_never_blocks():
    all_ = candidates(9)
    world = World(dict.fromkeys(all_, 0.9), failing=frozenset(all_[:2]))
    search(halving(dict.fromkeys(all_, 100)), world)
    assert world.rounds[all_[0]] == world.rounds[all_[1]] == 4


def test_ties_go_to_fewer_bytes():
    all_ = candidates(9)
    nbytes = {c: 100.0 - c.rank for c in all_}
    world = World(dict.fromkeys(all_, 0.9))
    search(Halving(dict.fromkeys(all_, 100), nbytes, 900), world)
    assert [c.rank for c, r in world.rounds.items() if r == 100] == [7, 8, 9]


def test_the_same_question_gets_the_same_proposals():
    horizons = {c: 40 + c.rank for c in candidates(30)}
    worlds = [World({c: (c.rank * 7 % 30) / 30 for c in horizons}) for _ in range(2)]
    for world in worlds:
        search(halving(horizons, effort=300, seed=3), world)
    assert worlds[0].rounds == worlds[1].rounds


def test_an_effort_that_finishes_no_run_says_what_would():
    with pytest.raises(BudgetError, match="the shortest takes 30"):
        halving({Candidate(1, 1.0, 1.0): 30, Candidate(2, 1.0, 1.0): 90}, effort=10)


def test_survivors_are_a_third_but_at_least_the_finalists():
    assert [survivor_count(n, FINALISTS) for n in (1, 2, 3, 8, 9, 10, 48)] == [1, 2, 3, 3, 3, 4, 16]


def test_a_curve_answers_with_the_last_measurement_up_to_a_round():
    curve = Curve((10, 20), (0.5, 0.7), 25)
    assert [curve.at(r) for r in (9, 10, 19, 20, 99)] == [-math.inf, 0.5, 0.5, 0.7, 0.7]


def test_candidates_that_fit_are_searched_though_others_do_not():
    horizons = {candidate: 100 * candidate.rank for candidate in candidates(8)}
    for seed in range(20):
        strategy = halving(horizons, effort=350, seed=seed)
        assert strategy.starters
        assert all(
            strategy.max_search_rounds([candidate]) <= 350 for candidate in strategy.starters
        )
    with pytest.raises(BudgetError, match="the shortest takes 100 rounds; raise --effort"):
        halving(horizons, effort=99)


def test_a_diverged_curve_was_alive_before_it_diverged():
    curve = Curve((10, 20), (0.5, 0.7), 30, failed=True, horizon=90)
    assert [curve.at(r) for r in (10, 29, 30)] == [0.5, 0.7, -math.inf]
    assert curve.until(20) == Curve((10, 20), (0.5, 0.7), 20, horizon=90)
    assert curve.until(15) == Curve((10,), (0.5,), 15, horizon=90)
    assert curve.until(40) == curve


def test_a_run_that_diverges_late_is_paid_for():
    """Its place on the rung where it was promoted is not given to another one."""
    all_ = candidates(27)
    horizons = dict.fromkeys(all_, 270)
    world = World({c: 0.5 + c.rank / 100 for c in all_})
    late = set(all_[-5:])

    def extend(proposals):
        return {
            c: replace(curve, failed=c in late and curve.rounds > 10)
            for c, curve in world(proposals).items()
        }

    strategy = halving(horizons, effort=1440)
    search(strategy, extend)
    assert sum(world.rounds.values()) <= strategy.max_search_rounds(strategy.starters)
    assert sorted(world.rounds.values()) == [10] * 18 + [30] * 6 + [270] * 3
