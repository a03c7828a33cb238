"""One stage of the race: starters, newcomers and the order in which a space is begun."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.forecasts.features import features, space_filling_order
from planner.search.race_stage import RaceStage
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy

GRID = grid((1, 4, 16, 64), (1.0, 0.25, 1 / 16), (1.0, 0.25, 1 / 16))


@dataclass(frozen=True)
class OneStage(ScriptedStrategy):
    """A search of a single stage."""

    @property
    def stage(self) -> RaceStage:
        return RaceStage(self, self.effort)

    def script(self) -> Script:
        yield from self.stage.script(EffortLedger(self))


def one_stage(horizons, effort: int, seed: int = 0) -> OneStage:
    return OneStage(horizons, dict.fromkeys(horizons, 1.0), effort, seed)


def curve(candidate: Candidate, rounds: int) -> Curve:
    seen = tuple(range(1, rounds + 1))
    top = 0.9 - 0.03 * abs(math.log2(candidate.rank) - 3)
    return Curve(seen, tuple(top * (1 - math.exp(-r / 20)) for r in seen), rounds)


def test_newcomers_take_at_most_half_of_the_first_rung():
    equal = dict.fromkeys(GRID, 108)
    strategy = one_stage(equal, 400)
    first = {p.candidate: p.rounds for p in strategy.propose({})}
    assert tuple(first) == strategy.stage.starters
    history = {c: curve(c, rounds) for c, rounds in first.items()}
    new = {p.candidate: p.rounds for p in strategy.propose(history)}
    assert new
    assert not set(new) & set(first)
    assert sum(new.values()) <= 0.5 * (sum(new.values()) + sum(first.values()))


def test_every_beginning_of_the_order_is_spread():
    """The first third meets every rank and density; random draws of 12 of 36 often do not."""
    for seed in range(20):
        order = space_filling_order(GRID, seed)
        assert sorted(order) == GRID
        begun = np.array([features(c)[:3] for c in order[:12]])
        assert [len(np.unique(x)) for x in begun.T] == [4, 3, 3]
    assert space_filling_order(GRID, 1) != space_filling_order(GRID, 2)


def test_starters_are_spread_over_what_the_effort_finishes():
    """Part of this space takes more; what is left is begun at every download density."""
    densities = [4.0**-i for i in range(4)]
    horizons = {
        c: min(400, int(850 / (c.rank / 16) / (c.down_density + 16 * c.up_density)))
        for c in grid((1, 4, 16, 64), densities, densities)
    }
    begun = []
    for seed in range(20):
        spread = one_stage(horizons, 378, seed).stage.spread
        assert max(horizons[c] for c in spread) <= 378
        begun += [len({c.down_density for c in spread[:4]})]
    assert min(begun) >= 3


@pytest.mark.parametrize("starts", [0.1, 0.9])
def test_newcomers_are_spread_where_no_starter_has_risen(starts: float):
    """At chance throughout, or falling: what the model would like best is an accident."""
    horizons = dict.fromkeys(GRID, 200)
    strategy = one_stage(horizons, 700)
    first = strategy.propose({})
    flat = {e.candidate: Curve((1, 2, 5), (starts,) * 3, e.rounds, horizon=200) for e in first}
    newcomers = [e.candidate for e in strategy.propose(flat)]
    unseen = [c for c in strategy.stage.spread if c not in flat]
    assert newcomers == unseen[: len(newcomers)]
    risen = {
        c: replace(k, accuracies=tuple(r * (0.05 + 0.01 * math.log2(c.rank)) for r in (1, 2, 5)))
        for c, k in flat.items()
    }
    liked = [e.candidate for e in one_stage(horizons, 700).propose(risen)]
    assert liked != unseen[: len(liked)]


def test_an_effort_of_about_one_long_run_begins_several_shorter_ones():
    """Here 27 runs take 100 rounds and 9 take 30; an effort of 101 once began one long run."""
    horizons = {c: 30 if c.rank == 64 else 100 for c in GRID}
    for effort in (60, 90, 101, 120):
        stage = one_stage(horizons, effort).stage
        assert {c.rank for c in stage.spread} == {64}
        assert len(stage.starters) > 1
    assert set(one_stage(horizons, 600).stage.spread) == set(GRID)


def test_runs_of_one_length_all_take_part_however_small_the_effort():
    equal = dict.fromkeys(GRID, 100)
    assert set(one_stage(equal, 101).stage.spread) == set(GRID)
