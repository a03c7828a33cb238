"""The opponents of ``experiments/search_benchmark`` that forecast by LatentKroneckerGP."""

from __future__ import annotations

import math
import sys
from functools import partial
from types import ModuleType

import numpy as np
import pytest
from places import load_with_siblings

from floss_sim.errors import BudgetError, ConfigError
from planner.candidates import grid
from planner.curves import Curve
from planner.search import SearchTerms
from planner.search.strategy import search

load = partial(load_with_siblings, "search_benchmark")
GRID = grid((1, 4, 16), (1.0, 0.25), (1.0, 0.25))
EVALUATED = (1, 2, 3, 5, 7, *range(10, 101, 5))
HORIZONS = {c: 100 - 5 * i for i, c in enumerate(GRID)}


@pytest.fixture
def forecasts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("kronecker_forecast", monkeypatch)


@pytest.fixture
def searches(forecasts: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("kronecker_search", monkeypatch)


@pytest.fixture
def botorch() -> None:
    reason = "opponents by LatentKroneckerGP need BoTorch, which is not installed"
    pytest.importorskip("botorch.models.latent_kronecker_gp", reason=reason)


def truth(candidate, rounds: int) -> float:
    best = 0.93 - 0.02 * abs(math.log2(candidate.rank) - 2) + 0.02 * candidate.down_density
    return best - 0.8 * (1 + rounds / 4) ** -1.2


def curve(candidate, rounds: int) -> Curve:
    evaluated = tuple(r for r in EVALUATED if r <= rounds)
    return Curve(evaluated, tuple(truth(candidate, r) for r in evaluated), rounds)


def terms(effort: int) -> SearchTerms:
    snap = partial(max, 1)
    return SearchTerms(HORIZONS, dict.fromkeys(GRID, 1.0), effort, 0, snap, 350)


def searched(made, asked: list | None = None):
    asked = [] if asked is None else asked
    return search(
        made,
        lambda steps: (
            asked.extend(steps) or {s.candidate: curve(s.candidate, s.rounds) for s in steps}
        ),
    )


def test_expected_improvements_are_those_of_many_draws(searches):
    mean, sd = np.array([0.5, 2.0, 3.0]), np.array([1.0, 0.3, 0.1])
    draws = mean + sd * np.random.default_rng(0).standard_normal((200_000, 3))
    excess = np.maximum(1 / (1 + np.exp(-draws)) - 0.88, 0)
    made = searches.expected_improvements(mean, sd, 0.88)
    assert made == pytest.approx(excess.mean(axis=0), rel=0.05, abs=1e-4)
    assert searches.expected_improvements(mean, 0 * sd, 0.88)[2] == pytest.approx(
        1 / (1 + math.exp(-3)) - 0.88
    )


@pytest.mark.usefixtures("botorch")
def test_forecasts_find_the_ends_of_regular_curves(forecasts):
    known = {c: curve(c, 100 if i % 3 == 0 else 20) for i, c in enumerate(GRID)}
    mean, sd = forecasts.kronecker_log_odds(known, [(c, 100) for c in GRID], 350, 100)
    ends = np.array([truth(c, 100) for c in GRID])
    assert np.abs(1 / (1 + np.exp(-mean)) - ends).max() < 0.03
    finished = np.arange(len(GRID)) % 3 == 0
    assert sd[finished].max() < sd[~finished].min()


@pytest.mark.usefixtures("botorch")
@pytest.mark.parametrize("effort", [70, 130, 400])
def test_a_search_keeps_its_effort_and_finishes_a_run(searches, effort: int):
    made = searches.KroneckerSearch(*vars_of(terms(effort)))
    asked = []
    history = searched(made, asked)
    assert sum(c.rounds for c in history.values()) <= effort
    assert made.finished_candidates(history)
    assert searched(searches.KroneckerSearch(*vars_of(terms(effort)))) == history


@pytest.mark.usefixtures("botorch")
def test_a_search_whose_rounds_cost_more_than_they_gain_stops_at_its_first_finish(searches):
    rounds = []
    for price in (0.0, 1.0):
        made = searches.KroneckerSearch(*vars_of(terms(500)), price=price)
        history = searched(made)
        rounds.append(sum(c.rounds for c in history.values()))
        assert len(made.finished_candidates(history)) >= 1
    assert rounds[1] < 0.7 * rounds[0]
    assert searches.StoppingKroneckerSearch(*vars_of(terms(500))).price == pytest.approx(5e-5)


@pytest.mark.usefixtures("botorch")
def test_an_effort_that_finishes_no_run_is_refused(searches):
    with pytest.raises(BudgetError, match="finishes no run"):
        searches.KroneckerSearch(*vars_of(terms(10)))


def test_opponents_without_botorch_say_what_would_do(searches, monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch", None)
    monkeypatch.setitem(sys.modules, "botorch.models", None)
    with pytest.raises(ConfigError, match="pip install botorch"):
        searches.KroneckerSearch(*vars_of(terms(100)))


def vars_of(made: SearchTerms) -> tuple:
    return made.horizons, made.nbytes, made.effort, made.seed, made.snap, made.examples


def test_scores_of_forecasts_are_those_of_a_normal_distribution(searches, monkeypatch):
    """A forecaster that knows the truth but for a shift of one deviation, on regular worlds."""
    for name in ("prior_curves", "worlds", "recorded", "benchmark"):
        load(name, monkeypatch)
    made = load("forecasts", monkeypatch)
    world = made.WORLDS["regular"](3)

    def shifted(history, points, examples, longest):
        mean = made.log_odds([world.truth(c) for c, _ in points], examples)
        return mean + 0.5, np.full(len(points), 0.5)

    monkeypatch.setattr(made, "FORECASTERS", {"shifted": shifted})
    known = made.first_rungs(world)
    assert len(known) == made.STARTERS
    (row,) = made.scored(world, known)
    assert row["points"] == made.STARTERS + made.FRESH
    assert row["held"] == 1
    assert row["log_score"] == pytest.approx(-0.5 - math.log(0.5 * math.sqrt(2 * math.pi)))
    ends = np.array([world.truth(c) for c, _ in made.requested_points(world, known)])
    moved = 1 / (1 + np.exp(-made.log_odds(ends, 350) - 0.5))
    assert row["error"] == pytest.approx(100 * np.abs(moved - ends).mean())
