"""The cheapest plan that reaches a target: a search that shrinks its budget to what it has found.

A pass ends as soon as a run has reached the target. The next one searches anew within a little
less than the least cost so far, with what is left of the effort: horizons are shorter there, more
candidates can be tried (all of them, once that suffices), and curves in the store are resumed. Only
measured rounds count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from floss_sim.errors import BudgetError
from planner.candidates import Candidate
from planner.curves import History
from planner.execution.candidate_runs import CandidateRuns
from planner.plans.outcome import Outcome
from planner.question.cost import Costs, costs_within
from planner.question.objective import first_round_at
from planner.question.request import Request
from planner.search.strategy import Extension, Strategy, search

_PASSES = 20  # each is at least a fiftieth cheaper than the one before
_CHEAPER_SHARE = 0.98

PassStarter = Callable[[str, Costs, int], tuple[Strategy, CandidateRuns]]


def target_outcomes(
    runs: CandidateRuns, history: History, target: float
) -> dict[Candidate, Outcome]:
    """Return runs that reached a target within their limit, each cut where it first did."""
    found = {}
    for candidate, curve in history.items():
        rounds = first_round_at(curve.evaluated, curve.accuracies, target)
        outcome = runs.cut(candidate, rounds) if rounds and not curve.failed else None
        if outcome and outcome.rounds == rounds:
            found[candidate] = replace(outcome, binds="target")
    return found


@dataclass(frozen=True)
class UntilTarget:
    """A strategy that stops once a run has reached a target within the limit."""

    strategy: Strategy
    runs: CandidateRuns
    target: float

    def propose(self, history: History) -> Sequence[Extension]:
        """Return what the strategy proposes, or nothing once the target was reached."""
        return (
            []
            if target_outcomes(self.runs, history, self.target)
            else self.strategy.propose(history)
        )


def seek_cheaper(
    request: Request, costs: Costs, runs: CandidateRuns, effort: int, start: PassStarter
) -> None:
    """Go on at ever smaller budgets while runs reach the request's target there.

    Args:
        request: Has a target.
        costs: Of the whole budget.
        runs: Of the first pass; what later ones train is counted here, too.
        effort: Rounds that may be asked for in all.
        start: Makes the strategy and the runs of a pass from its name, its costs and its effort.

    Raises:
        KeyboardInterrupt: What had been trained by then is counted.
    """
    target = request.objective.target or 0.0
    best: float | None = None
    for _ in range(_PASSES):
        found = target_outcomes(runs, runs.history(), target)
        least = min((found[c].spent for c in costs.searched if c in found), default=None)
        if least is None or (best is not None and least >= best):
            return
        best, left = least, effort - sum(runs.asked.values())
        try:
            cheaper = costs_within(request, costs, _CHEAPER_SHARE * least * costs.limit.amount)
            name = "grid" if left >= cheaper.grid_rounds else request.search
            strategy, more = start(name, cheaper, left)
        except BudgetError:
            return  # nothing else can be afforded, or finished
        try:
            search(UntilTarget(strategy, more, target), more.extend)
        except KeyboardInterrupt:
            more.stop()
            raise
        finally:
            runs.include(more)
