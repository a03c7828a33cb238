"""The search for a target at least cost, on made curves: nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from floss_sim import load_task
from floss_sim.network import NetworkProfile
from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.decisions.target_search import UntilTarget, seek_cheaper, target_outcomes
from planner.execution.curve_store import last_evaluated_round
from planner.plans.outcome import Outcome
from planner.question.budget import parse_budget
from planner.question.cost import Costs, price
from planner.question.objective import Objective
from planner.question.request import Request
from planner.search import strategy_maker
from planner.search.strategy import search


@dataclass
class MadeRuns:
    """Runs whose accuracy rises by ``speed`` a round up to ``best``; costs are the predicted."""

    request: Request
    costs: Costs
    shape: dict[Candidate, tuple[float, float]]
    asked: dict[Candidate, int] = field(default_factory=dict)

    @property
    def records(self):
        return self

    def extend(self, proposals):
        for proposal in proposals:
            self.asked[proposal.candidate] = proposal.rounds
        return {p.candidate: self._curve(p.candidate, p.rounds) for p in proposals}

    def history(self):
        return {c: self._curve(c, rounds) for c, rounds in self.asked.items()}

    def known_curves(self, more=None):
        return self.request.known_curves({**(more or {}), **self.history()})

    def include(self, other):
        for c, rounds in other.asked.items():
            self.asked[c] = max(rounds, self.asked.get(c, 0))

    def _curve(self, candidate: Candidate, rounds: int) -> Curve:
        speed, best = self.shape[candidate]
        seen = [r for r in range(1, rounds + 1) if r == last_evaluated_round(r)]
        return Curve(tuple(seen), tuple(min(best, speed * r) for r in seen), rounds)

    def cut(self, candidate: Candidate, rounds: int) -> Outcome | None:
        traffic, _ = self.costs.courses[candidate]
        spent = float(self.costs.limit.spending(traffic)[rounds - 1] / self.costs.limit.amount)
        curve = self._curve(candidate, rounds)
        made = Outcome(
            candidate, rounds, curve.accuracies[-1], 0.1, 1, 1, 1.0, spent, 0.1, "budget", 5, ()
        )
        return made if spent <= 1 else None


def found_by(runs: MadeRuns, target: float) -> dict[Candidate, Outcome]:
    return target_outcomes(runs, runs.asked, runs.known_curves(), target)


def world(paper: NetworkProfile, target: float):
    candidates = grid([1, 4, 16], [1.0, 1 / 4, 1 / 16], [1.0, 1 / 4, 1 / 16])
    request = Request(
        load_task("digits"), parse_budget("30-dense-rounds"), paper, candidates, 16, 400, 1.0, 0,
        objective=Objective(target=target),
    )  # fmt: skip
    shape = {c: (0.002 * (1 + i % 5), 0.6 + 0.01 * i) for i, c in enumerate(candidates)}
    return request, price(request), shape


def sought(request: Request, costs: Costs, shape: dict, effort: int, name: str) -> MadeRuns:
    def start(name: str, costs: Costs, rounds: int):
        horizons = {c: costs.of[c].horizon for c in costs.searched}
        nbytes = {c: costs.of[c].run_bytes for c in costs.searched}
        return strategy_maker(name)(
            horizons, nbytes, rounds, 0, last_evaluated_round, 350
        ), MadeRuns(request, costs, shape)

    strategy, runs = start(name, costs, effort)
    search(UntilTarget(strategy, runs, request.objective.target), runs.extend)
    sought = replace(request, search=name)
    seek_cheaper(sought, costs, runs, lambda: effort - sum(runs.asked.values()), start)
    return runs


@pytest.mark.parametrize(("name", "worst"), [("halving", 1.35), ("race", 1.7), ("random", 3.0)])
def test_the_least_cost_is_found_and_the_effort_is_not_overspent(
    paper: NetworkProfile, name: str, worst: float
):
    request, costs, shape = world(paper, 0.6)
    whole = MadeRuns(request, costs, shape, {c: costs.of[c].horizon for c in costs.searched})
    least = min(o.spent for o in found_by(whole, 0.6).values())
    effort = costs.grid_rounds // 5
    runs = sought(request, costs, shape, effort, name)
    found = found_by(runs, 0.6)
    assert sum(runs.asked.values()) <= effort
    assert least <= min(o.spent for o in found.values()) <= worst * least
    assert all(o.binds == "target" for o in found.values())


def test_a_target_that_nothing_reaches_ends_the_search(paper: NetworkProfile):
    request, costs, shape = world(paper, 0.99)
    runs = sought(request, costs, shape, costs.grid_rounds // 5, "halving")
    assert found_by(runs, 0.99) == {}


def test_runs_that_the_budget_does_not_carry_to_the_target_do_not_count(paper: NetworkProfile):
    request, costs, shape = world(paper, 0.6)
    some = costs.searched[0]
    tight = replace(costs, limit=replace(costs.limit, amount=costs.limit.amount / 1e6))
    runs = MadeRuns(request, tight, shape, {some: 400})
    assert found_by(runs, 0.1) == {}
    curve = replace(MadeRuns(request, costs, shape, {some: 400}).history()[some], failed=True)
    known = request.known_curves({some: curve})
    assert target_outcomes(MadeRuns(request, costs, shape), [some], known, 0.1) == {}


def test_what_is_learned_later_may_take_a_target_back(paper: NetworkProfile):
    """The search then goes on with the effort that is left."""
    request, costs, shape = world(paper, 0.6)
    some = next(c for c in costs.searched if shape[c][0] >= 0.008 and shape[c][1] > 0.7)
    rest = costs.grid_rounds

    def start(name: str, costs: Costs, rounds: int):
        horizons = {c: costs.of[c].horizon for c in costs.searched}
        nbytes = {c: costs.of[c].run_bytes for c in costs.searched}
        made = strategy_maker(name)(horizons, nbytes, rounds, 0, last_evaluated_round, 350)
        return made, MadeRuns(request, costs, shape)

    class Doubting(MadeRuns):
        """At its second look, nothing has reached the target."""

        looks = 0

        def known_curves(self, more=None):
            self.looks += 1
            known = super().known_curves(more)
            if self.looks != 2:
                return known
            low = {c: replace(k, accuracies=(0.1,) * len(k.evaluated)) for c, k in
                   known.history.items()}  # fmt: skip
            return replace(known, history=low)

    runs = Doubting(request, costs, shape, {some: costs.of[some].horizon})
    seek_cheaper(
        replace(request, search="halving"),
        costs,
        runs,
        lambda: rest - sum(runs.asked.values()),
        start,
    )
    assert runs.looks > 2
    assert len(runs.asked) > 1
    assert found_by(runs, 0.6)
