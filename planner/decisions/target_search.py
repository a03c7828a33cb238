"""Target search: the cheapest plan that reaches a target accuracy.

A run reaches the target at the first evaluated round whose expected accuracy, given all known
curves, is the target or more. An evaluation that is above the target by luck, up to 1.5 standard
errors, does not reach it if near rounds and candidates say otherwise. What is learned later may
lower the expected accuracy of a run; the search then goes on until a run reaches the target again.

The search is repeated in passes. A pass ends as soon as a run has reached the target. The next pass
searches again within 98 % of the lowest cost so far, with the remaining effort, until nothing
cheaper is found or the effort is spent. A smaller budget shortens horizons, so more candidates can
be tried; once the effort suffices for all of them, all are trained. Stored curves are resumed. Only
evaluated rounds count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from floss_sim.errors import BudgetError
from planner.candidates import Candidate
from planner.curves import History
from planner.execution.candidate_runs import CandidateRuns
from planner.forecasts.intervals import KnownCurves
from planner.plans.outcome import Outcome
from planner.question.cost import Costs, costs_within
from planner.question.request import Request
from planner.search.strategy import Extension, Strategy, search

_PASSES = 20  # passes after the first one, at most
_CHEAPER_SHARE = 0.98  # fraction of the lowest cost so far that the next pass may spend

PassStarter = Callable[[str, Costs, int], tuple[Strategy, CandidateRuns]]


def target_outcomes(
    runs: CandidateRuns, among: Iterable[Candidate], known: KnownCurves, target: float
) -> dict[Candidate, Outcome]:
    """Return the runs that reached a target within their limit, cut at the round of reaching it.

    Args:
        runs: The runs.
        among: The candidates to look at.
        known: All known curves, those of ``among`` included.
        target: The accuracy to reach, 0 to 1.
    """
    found = {}
    for candidate, rounds in known.first_rounds_at(target, among).items():
        outcome = runs.records.cut(candidate, rounds)
        if outcome and outcome.rounds == rounds:
            found[candidate] = replace(outcome, binds="target")
    return found


@dataclass(frozen=True)
class UntilTarget:
    """A strategy that stops when a run has reached a target within the limit.

    Attributes:
        strategy: The strategy.
        runs: Its runs.
        target: The accuracy to reach, 0 to 1.
        before: Runs of earlier searches, whose curves are known, too.
    """

    strategy: Strategy
    runs: CandidateRuns
    target: float
    before: CandidateRuns | None = None

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the proposals of the wrapped strategy; empty once the target was reached."""
        known = self.runs.known_curves(self.before.history() if self.before else {})
        found = target_outcomes(self.runs, history, known, self.target)
        return [] if found else self.strategy.propose(history)


def seek_cheaper(
    request: Request,
    costs: Costs,
    runs: CandidateRuns,
    rounds_left: Callable[[], int],
    start: PassStarter,
) -> None:
    """Repeat the search with smaller and smaller budgets while runs reach the request's target.

    Args:
        request: The request, whose objective has a target.
        costs: Costs of the candidates at the full budget.
        runs: Runs of the first pass; the runs of later passes are added to them.
        rounds_left: Function that returns the rounds of training that may still be requested.
        start: Makes the strategy and the runs of a pass, given the name of the strategy, the costs
            and the effort of the pass.

    Raises:
        KeyboardInterrupt: The user interrupted the search; the rounds trained by then are counted.
    """
    target = request.objective.target or 0.0
    best: float | None = None
    for _ in range(_PASSES):
        found = target_outcomes(runs, runs.history(), runs.known_curves(), target)
        least = min((found[c].spent for c in costs.searched if c in found), default=None)
        if best is None if least is None else best is not None and least >= best:
            return
        best, left = least, rounds_left()
        share = 1.0 if least is None else _CHEAPER_SHARE * least
        try:
            cheaper = costs_within(request, costs, share * costs.limit.amount)
            name = "grid" if left >= cheaper.grid_rounds else request.search
            strategy, more = start(name, cheaper, left)
        except BudgetError:
            return  # the smaller budget or the remaining effort suffices for no candidate
        try:
            search(UntilTarget(strategy, more, target, runs), more.extend)
        except KeyboardInterrupt:
            more.stop()
            raise
        finally:
            runs.include(more)
