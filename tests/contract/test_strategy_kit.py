"""The conformance kit of strategies: what any strategy promises, tested through one fixture.

A strategy inherits every test below by its entry in ``planner.search.STRATEGIES``. Each is
played on small worlds of made curves that train nothing: what a run is asked for is counted, first
rounds tell horizons other than the predicted ones, and some runs diverge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np
import pytest

from floss_sim.errors import BudgetError, ConfigError
from planner.candidates import Candidate, grid
from planner.curves import Curve, History
from planner.execution.curve_store import last_evaluated_round
from planner.search import STRATEGIES, SearchTerms, strategy_maker
from planner.search.strategy import Extension, Strategy, search

SEEDS = range(3)
SLOW = {"race", "async-race"}  # strategies that forecast curves
WHOLE = {"grid"}  # strategies that need the whole grid's effort
STEPWISE = {"halving", "flasc-search"}  # strategies of a fixed number of steps


@dataclass
class World:
    """Candidates of different horizons; ``bytes_factor`` above 1 makes real horizons longer.

    There are three to the power of 3 of them, or ``values`` to the power of 3.
    """

    seed: int
    bytes_factor: float = 1.0
    diverging: float = 0.0
    asked: dict[Candidate, int] = field(default_factory=dict)
    values: int = 3

    def __post_init__(self) -> None:
        draws = np.random.default_rng(self.seed)
        steps = [4**i for i in range(self.values)]
        self.candidates = grid(steps, *2 * [[1 / step for step in steps]])
        count = len(self.candidates)
        self.horizons = self._of(draws.integers(1, 300, count).tolist())
        spread = self.bytes_factor ** draws.uniform(0.3, 1, count)
        real = np.maximum(1, spread * list(self.horizons.values())).astype(int)
        self.real = self._of(real.tolist())
        self.nbytes = self._of(draws.uniform(1, 9, count).round().tolist())
        self.best = self._of(draws.uniform(0.3, 0.9, count).round(1).tolist())  # with ties
        self.ends = self._of(
            [int(h * draws.random()) if draws.random() < self.diverging else None for h in real]
        )

    def _of(self, values: Sequence) -> dict[Candidate, object]:
        return dict(zip(self.candidates, values, strict=True))

    @property
    def grid_rounds(self) -> int:
        return sum(self.horizons.values())

    def terms(self, effort: int, seed: int = 0) -> SearchTerms:
        return SearchTerms(self.horizons, self.nbytes, effort, seed, last_evaluated_round)

    def strategy(self, name: str, effort: int, seed: int = 0) -> Strategy:
        return strategy_maker(name)(self.horizons, self.nbytes, effort, seed, last_evaluated_round)

    def extend(self, proposals: Sequence[Extension]) -> History:
        assert len({p.candidate for p in proposals}) == len(proposals), "asked twice at once"
        return {p.candidate: self.train(p) for p in proposals}

    def train(self, extension: Extension) -> Curve:
        candidate, rounds = extension.candidate, extension.rounds
        before = self.asked.get(candidate, 0)
        assert rounds > before, "trained twice"
        assert rounds == last_evaluated_round(rounds), "stopped between evaluations"
        ends = self.ends[candidate]
        assert ends is None or before <= ends, "a diverged run was extended"
        self.asked[candidate] = rounds
        failed = ends is not None and rounds > ends
        seen = tuple(
            r
            for r in range(1, rounds + 1)
            if r == last_evaluated_round(r) and not (failed and r > ends)
        )
        accuracies = tuple(round(self.best[candidate] * (1 - math.exp(-r / 30)), 3) for r in seen)
        return Curve(seen, accuracies, rounds, failed, self.real[candidate])

    def whole(self, candidate: Candidate, history: History) -> bool:
        reached = history[candidate].rounds
        shorter = min(self.horizons[candidate], self.real[candidate])
        return reached >= last_evaluated_round(shorter) and not history[candidate].failed


@pytest.fixture(params=STRATEGIES)
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "optuna":
        pytest.importorskip("optuna")
    return request.param


def seeds(name: str, case: int) -> range:
    """Return all seeds, or for a slow strategy one, another in each case."""
    first = case % len(SEEDS)
    return SEEDS[first : first + 1] if name in SLOW else SEEDS


def cases(name: str, case: int = 0) -> Iterator[tuple[int, int]]:
    """Yield seeds and efforts: all pairs, or for a slow strategy another seed at each effort."""
    for seed in SEEDS:
        for place, effort in enumerate(efforts(name, World(seed)), start=case):
            if seed in seeds(name, place):
                yield seed, effort


def efforts(name: str, world: World) -> Iterator[int]:
    shares = (1.0,) if name in WHOLE else (0.02, 0.05, 0.2, 1.0)
    yield from (max(min(world.horizons.values()), int(s * world.grid_rounds)) for s in shares)


@pytest.mark.parametrize(("case", "bytes_factor"), enumerate([0.4, 1.0, 1.3, 4.0]))
def test_the_effort_is_never_overspent_and_a_run_is_finished(
    name: str, case: int, bytes_factor: float
):
    for seed, effort in cases(name, case):
        world = World(seed, bytes_factor)
        history = search(world.strategy(name, effort, seed), world.extend)
        assert sum(world.asked.values()) <= effort
        whole = [c for c in sorted(history) if world.whole(c, history)]
        assert whole
        assert world.terms(effort).finished_candidates(history) == whole


@pytest.mark.parametrize(("case", "bytes_factor"), enumerate([0.9, 2.0]))
def test_no_run_is_forgotten_where_real_bytes_change_horizons(
    name: str, case: int, bytes_factor: float
):
    """Many candidates need many brackets, the last of which train to the horizon at once."""
    for seed in seeds(name, case):
        world = World(seed, bytes_factor, values=5)
        effort = int((1.0 if name in WHOLE else 0.2) * world.grid_rounds)
        history = search(world.strategy(name, effort, seed), world.extend)
        assert sum(world.asked.values()) <= effort
        whole = [c for c in sorted(history) if world.whole(c, history)]
        assert world.terms(effort).finished_candidates(history) == whole != []


def test_a_search_ends_without_a_finished_run_only_where_none_can_be_finished(name: str):
    if name in STEPWISE:
        pytest.skip(f"{name} ends after its last step, whatever is left")
    for seed, effort in cases(name):
        world = World(seed, 1.2, diverging=0.7)
        history = search(world.strategy(name, effort, seed), world.extend)
        terms, left = world.terms(effort), effort - sum(world.asked.values())
        if not terms.finished_candidates(history):
            sound = {c: h for c, h in history.items() if not h.failed}
            needs = [terms.finish_round(c, h) - h.rounds for c, h in sound.items()]
            needs += [h for c, h in world.horizons.items() if c not in history]
            assert min(needs, default=math.inf) > left


@pytest.mark.parametrize(("case", "diverging"), enumerate([0.2, 0.9]))
def test_diverged_runs_cost_their_effort_and_are_left_alone(name: str, case: int, diverging: float):
    for seed, effort in cases(name, case):
        world = World(seed, 1.2, diverging)
        history = search(world.strategy(name, effort, seed), world.extend)
        assert sum(world.asked.values()) <= effort
        finished = world.terms(effort).finished_candidates(history)
        assert all(world.ends[c] is None or world.asked[c] <= world.ends[c] for c in finished)


def test_where_all_diverge_the_search_ends(name: str):
    world = World(0)
    world.ends = dict.fromkeys(world.candidates, 0)
    history = search(world.strategy(name, world.grid_rounds), world.extend)
    assert world.terms(world.grid_rounds).finished_candidates(history) == []


def test_a_seed_gives_one_search(name: str):
    for effort in list(efforts(name, World(1)))[:3]:  # with the whole grid's, all is trained
        worlds = [World(1), World(1)]
        for world in worlds:
            search(world.strategy(name, effort, seed=7), world.extend)
        assert worlds[0].asked == worlds[1].asked


def steps(strategy: Strategy, world: World, known: Mapping[Candidate, Curve]) -> Iterator[History]:
    """What is known after each proposal, from what is known already."""
    history = dict(known)
    while proposals := strategy.propose(history):
        history |= world.extend(proposals)
        yield dict(history)


@pytest.mark.parametrize("diverging", [0.0, 0.4])
def test_a_search_that_was_cut_goes_on_the_same(name: str, diverging: float):
    effort = list(efforts(name, World(2)))[-1 if name in WHOLE else 2]
    known = list(steps(World(2).strategy(name, effort), World(2, 1.2, diverging), {}))
    for cut in sorted(
        {0, 1, len(known) // 3, len(known) // 2, len(known) - 2} & {*range(len(known))}
    ):
        before = known[cut]
        world = World(2, 1.2, diverging, asked={c: curve.rounds for c, curve in before.items()})
        mixed = dict(sorted(before.items(), reverse=True))  # no order is remembered
        rest = list(steps(world.strategy(name, effort), world, mixed))
        assert rest == known[cut + 1 :]


def test_a_proposal_that_was_cut_in_the_middle_is_completed(name: str):
    effort = list(efforts(name, World(3)))[-1]
    known = list(steps(World(3).strategy(name, effort), World(3), {}))
    for before, after in islice(pairwise(known), 0, None, 7):
        new = [c for c in after if before.get(c) != after[c]]
        half = {**before, **{c: after[c] for c in new[: len(new) // 2]}}
        lacking = World(3).strategy(name, effort).propose(half)
        assert {(p.candidate, p.rounds) for p in lacking} == {
            (c, after[c].rounds) for c in new[len(new) // 2 :]
        }


def test_a_strategy_used_for_one_history_answers_another_afresh(name: str):
    effort = list(efforts(name, World(1)))[-1]
    used = World(1).strategy(name, effort)
    search(used, World(1).extend)
    world = World(1, 0.5)
    other = list(steps(used, world, {}))
    assert other == list(steps(World(1).strategy(name, effort), World(1, 0.5), {}))


def test_an_effort_that_finishes_nothing_is_refused(name: str):
    world = World(0)
    shortest = min(world.horizons.values())
    with pytest.raises(BudgetError, match="--effort"):
        world.strategy(name, shortest - 1)


def test_seeds_start_elsewhere_where_the_effort_is_small():
    for name in ("halving", "hyperband", "asha", "random"):
        first = [
            sorted(e.candidate for e in World(0).strategy(name, 600, seed).propose({}))
            for seed in range(5)
        ]
        assert any(one != first[0] for one in first)


def test_an_unknown_name_says_the_valid_ones():
    with pytest.raises(ConfigError, match="unknown search 'best'; valid: race, halving, hyperband"):
        strategy_maker("best")
