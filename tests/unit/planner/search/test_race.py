"""The race on synthetic curves, through the same door as real training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floss_sim.errors import BudgetError
from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.decisions.recommend import rank
from planner.forecasts.intervals import KnownCurves
from planner.search.race import Race
from planner.search.strategy import Extension, search

GRID = grid((1, 4, 16, 64), (1.0, 0.25, 1 / 16), (1.0, 0.25, 1 / 16))
ACCURACY = {c: 0.9 - 0.03 * abs(math.log2(c.rank) - 3) for c in GRID}


class World:
    """Curves towards known accuracies; counts what is really trained, and refuses more."""

    def __init__(self, horizons, effort, failing=frozenset(), factor=1.0):
        self.real = {c: max(1, int(factor * h)) for c, h in horizons.items()}
        self.effort = effort
        self.failing = failing
        self.rounds = {}

    def __call__(self, proposals):
        for p in proposals:
            assert p.rounds > self.rounds.get(p.candidate, 0), "trained twice"
            self.rounds[p.candidate] = p.rounds
        assert sum(self.rounds.values()) <= self.effort, "overspent"
        return {p.candidate: self.curve(p) for p in proposals}

    def curve(self, p: Extension) -> Curve:
        grid_ = tuple(range(1, p.rounds + 1))
        noise = np.random.default_rng(GRID.index(p.candidate)).standard_normal(p.rounds)
        values = (
            ACCURACY[p.candidate] * (1 - math.exp(-r / 20)) + 0.01 * float(noise[r - 1])
            for r in grid_
        )
        accuracies = tuple(min(1.0, max(0.0, v)) for v in values)
        failed = p.candidate in self.failing
        return Curve(grid_, accuracies, p.rounds, failed, self.real[p.candidate])


def race(horizons, effort: int, **changes) -> Race:
    return Race(horizons, dict.fromkeys(horizons, 1.0), effort, **changes)


def horizon(candidate: Candidate) -> int:
    cost = candidate.rank * (candidate.down_density + 16 * candidate.up_density) / 272
    return min(200, math.ceil(25 / cost))


HORIZONS = {c: horizon(c) for c in GRID}


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=len(GRID)),
    st.floats(0.02, 1.0),
    st.floats(0.6, 1.6),
    st.integers(0, 3),
)
def test_the_effort_is_never_overspent(horizons, fraction, factor, seed):
    """Though first rounds tell longer or shorter horizons than were predicted."""
    by_candidate = dict(zip(GRID, horizons, strict=False))
    effort = max(min(horizons), int(fraction * sum(horizons)))
    world = World(by_candidate, effort, factor=factor)
    search(race(by_candidate, effort, seed=seed), world)
    assert world.rounds


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=len(GRID)), st.floats(0.02, 1.0))
def test_something_finishes_whenever_the_effort_finishes_one(horizons, fraction):
    by_candidate = dict(zip(GRID, horizons, strict=False))
    effort = max(min(horizons), int(fraction * sum(horizons)))
    strategy, world = race(by_candidate, effort), World(by_candidate, effort)
    history = search(strategy, world)
    assert strategy.finished_candidates(history)


def test_an_interrupted_race_goes_on_as_if_it_had_not_been():
    effort = sum(HORIZONS.values()) // 5
    strategy, whole = race(HORIZONS, effort), World(HORIZONS, effort)
    history = search(strategy, whole)
    known: dict[Candidate, Curve] = {}
    resumed = World(HORIZONS, effort)
    while proposals := race(HORIZONS, effort).propose(known):
        known |= resumed(proposals[:1])  # each call a new process, each proposal cut short
    assert resumed.rounds == whole.rounds
    assert known == history


def test_curves_that_others_took_further_change_nothing():
    effort = sum(HORIZONS.values()) // 5
    strategy, world = race(HORIZONS, effort), World(HORIZONS, effort)

    def further(proposals):
        cut = world(proposals)
        return {c: longer(world, curve) for c, curve in cut.items()}

    def longer(world, curve):
        candidate = next(
            c for c, r in world.rounds.items() if world.curve(Extension(c, r)) == curve
        )
        full = world.curve(Extension(candidate, HORIZONS[candidate]))
        return replace(full, rounds=curve.rounds)

    search(strategy, further)
    alone = World(HORIZONS, effort)
    search(race(HORIZONS, effort), alone)
    assert world.rounds == alone.rounds


def test_the_race_finds_a_good_candidate_of_many():
    effort = sum(HORIZONS.values()) // 8
    strategy = race(HORIZONS, effort)
    history = search(strategy, World(HORIZONS, effort))
    finished = {c: HORIZONS[c] for c in strategy.finished_candidates(history)}
    best = rank(KnownCurves(history, 350, 200).intervals(finished), strategy.nbytes).order
    ends = {c: ACCURACY[c] * (1 - math.exp(-h / 20)) for c, h in HORIZONS.items()}
    assert ends[best[0]] > max(ends.values()) - 0.02


def test_a_diverged_run_is_never_extended_and_never_recommended():
    effort = sum(HORIZONS.values()) // 4
    strategy = race(HORIZONS, effort)
    failing = frozenset(e.candidate for e in strategy.propose({})[:3])
    world = World(HORIZONS, effort, failing)
    history = search(strategy, world)
    assert all(world.rounds[c] == math.ceil(HORIZONS[c] / 27) for c in failing)
    assert not failing & set(strategy.finished_candidates(history))


def test_if_all_diverge_the_race_ends_without_a_winner():
    world = World(HORIZONS, 700, frozenset(GRID))
    strategy = race(HORIZONS, 700)
    assert strategy.finished_candidates(search(strategy, world)) == []


class Falling(World):
    """All long runs collapse before they end."""

    def curve(self, p: Extension) -> Curve:
        rises, horizon = super().curve(p), self.real[p.candidate]
        start = 0.7 * horizon if horizon > 60 else math.inf
        pairs = zip(rises.evaluated, rises.accuracies, strict=True)
        return replace(rises, accuracies=tuple(0.1 if r > start else a for r, a in pairs))


@pytest.mark.parametrize("effort", [150, 300])
def test_where_long_runs_fall_a_sound_one_is_finished_all_the_same(effort: int):
    horizons = {c: 20 if c.rank == 64 and c.up_density == 1 else 120 for c in GRID}
    strategy = race(horizons, effort)
    history = search(strategy, Falling(horizons, effort))
    ends = [history[c].accuracies[-1] for c in strategy.finished_candidates(history)]
    assert max(ends) > 0.4  # a short one


def test_later_rungs_follow_the_horizon_that_first_rounds_tell():
    one = GRID[0]
    asked = []
    world = World({one: 270}, 1000, factor=2.0)

    def extend(proposals):
        asked.extend(p.rounds for p in proposals)
        return world(proposals)

    search(race({one: 270}, 1000), extend)
    assert asked == [10, 60, 180, 540]  # the first rounds tell 540, in this world


def test_an_effort_that_finishes_no_run_says_what_would():
    with pytest.raises(BudgetError, match="the shortest takes 30 rounds; raise --effort"):
        race({GRID[0]: 30, GRID[1]: 90}, 10)


def test_a_short_dense_run_is_finished_beside_the_starters():
    dense, longer = Candidate(64, 1.0, 1.0), Candidate(16, 1.0, 1.0)
    assert HORIZONS[dense] <= np.mean(list(HORIZONS.values())) / 6 < HORIZONS[longer]
    first = {e.candidate: e.rounds for e in race(HORIZONS, 2000).propose({})}
    assert first.pop(dense) == HORIZONS[dense]
    assert len(first) > 1
    assert all(rounds == math.ceil(HORIZONS[c] / 27) for c, rounds in first.items())


def test_a_search_of_two_average_runs_begins_with_short_candidates():
    """Here 27 runs take 100 rounds and 9 take 30, which a third of the effort finishes."""
    horizons = {c: 30 if c.rank == 64 else 100 for c in GRID}
    world, finished = World(horizons, 165), []

    def extend(proposals):
        made = world(proposals)
        finished.extend(c for c, curve in made.items() if curve.rounds >= horizons[c])
        return made

    strategy = race(horizons, 165)
    assert all(e.candidate.rank == 64 for e in strategy.propose({}))
    search(strategy, extend)
    assert finished[0].rank == 64


@pytest.mark.parametrize(("top", "little"), [(0.95, False), (0.5, True)])
def test_a_search_goes_on_while_the_effort_finishes_a_better_run(top: float, little: bool):
    """Its first rounds tell a longer horizon than was predicted, which the effort cannot reach."""
    dense, other, longer = (Candidate(*c, 1.0) for c in ((64, 1.0), (64, 0.25), (16, 1.0)))
    strategy = race({dense: 15, other: 16, longer: 200}, 230)

    def rises(rounds: int, top: float, real: int | None = None) -> Curve:
        seen = tuple(range(1, rounds + 1))
        values = tuple(top * (1 - math.exp(-r / 2)) for r in seen)
        return Curve(seen, values, rounds, horizon=real)

    history = {dense: rises(15, 0.6), other: rises(14, 0.5), longer: rises(180, top, 306)}
    assert strategy.has_little_to_gain(history) is little


@pytest.mark.parametrize("effort", [700, 1400, 2800])
def test_a_run_is_finished_within_a_third_of_the_effort(effort: int):
    """Of horizons that differ by less than a factor of six, so that no run is short."""
    horizons = {c: 60 + 3 * i for i, c in enumerate(GRID)}
    world, finished_at = World(horizons, effort), []

    def extend(proposals):
        made = world(proposals)
        if any(curve.rounds >= horizons[c] for c, curve in made.items()):
            finished_at.append(sum(world.rounds.values()))
        return made

    search(race(horizons, effort), extend)
    assert finished_at[0] <= effort / 3


def test_a_search_ends_once_nothing_is_left_to_gain():
    """One candidate is far better than all others, which are alike, as every start shows."""
    effort = sum(HORIZONS.values()) // 2
    best = Candidate(16, 1.0, 1.0)

    class Plain(World):
        def curve(self, p: Extension) -> Curve:
            top = 0.95 if p.candidate == best else 0.6
            seen = tuple(range(1, p.rounds + 1))
            return Curve(seen, tuple(top * (1 - math.exp(-r / 2)) for r in seen), p.rounds)

    world = Plain(HORIZONS, effort)
    strategy = race(HORIZONS, effort)
    assert best in strategy.finished_candidates(search(strategy, world))
    assert sum(world.rounds.values()) < 0.8 * effort


@pytest.mark.parametrize("more", [300, 900])
def test_a_search_whose_effort_grows_goes_on_within_it(more: int):
    strategy = race(HORIZONS, 900)
    world = World(HORIZONS, 900)
    history = dict(search(strategy, world))
    before = strategy.finished_candidates(history)
    world.effort = 900 + more
    while told := strategy.further_extensions(history, world.effort):
        history |= world(told)  # which refuses what goes beyond the effort
    assert len(strategy.finished_candidates(history)) > len(before)
    missing = [HORIZONS[c] - world.rounds.get(c, 0) for c in HORIZONS]
    left = world.effort - sum(world.rounds.values())
    assert left < min(rounds for rounds in missing if rounds) or strategy.has_little_to_gain(
        history, world.effort
    )


@pytest.mark.parametrize("repeats", [1, 2])
def test_further_runs_leave_the_rounds_of_their_seeds(repeats: int):
    strategy, effort = race(HORIZONS, 900), 1500
    world = World(HORIZONS, 900)
    history = dict(search(strategy, world))
    world.effort = effort
    kept, before = 0, set(strategy.finished_candidates(history))
    while told := strategy.further_extensions(history, effort - kept, repeats):
        history |= world(told)
        new = set(strategy.finished_candidates(history)) - before
        kept = repeats * sum(HORIZONS[c] for c in new)
        assert sum(world.rounds.values()) + kept <= effort
    assert kept


def test_an_effort_that_finishes_no_further_run_gives_none():
    strategy = race(HORIZONS, 900)
    history = search(strategy, World(HORIZONS, 900))
    spent = sum(curve.rounds for curve in history.values())
    assert strategy.further_extensions(history, spent) == []


def test_a_search_goes_on_while_no_run_has_learned():
    horizons = dict.fromkeys(GRID, 60)

    class Chance(World):
        def curve(self, p: Extension) -> Curve:
            seen = tuple(range(1, p.rounds + 1))
            return Curve(seen, (0.1,) * p.rounds, p.rounds)

    world = Chance(horizons, 900)
    search(race(horizons, 900), world)
    assert sum(world.rounds.values()) > 800
