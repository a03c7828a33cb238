"""Passes of a search: a strategy and its runs, made anew as often as the effort allows.

Where the effort is a time, each pass follows the time left (:mod:`planner.search.following`). If a
search ends early, because training was faster than expected or nothing was left to gain,
further passes begin more candidates. At last the best unfinished runs are trained on: their curves
improve the forecasts, and a later search continues them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from floss_sim.errors import BudgetError
from planner.candidates import Candidate
from planner.decisions.async_search import ASYNC_SEARCH, search_async
from planner.decisions.further_seeds import rounds_for_seeds
from planner.decisions.target_search import UntilTarget, seek_cheaper, target_outcomes
from planner.execution.allowance import Allowance
from planner.execution.candidate_runs import CandidateRuns
from planner.execution.curve_store import last_evaluated_round
from planner.execution.trainer import Trainer
from planner.forecasts.smoothing import smoothed_accuracy
from planner.plans.decision_section import DecisionsSection
from planner.progress import OnProgress
from planner.question.cost import Costs
from planner.question.request import Request
from planner.search import DEFAULT_SEARCH, BoundedStrategy, strategy_maker
from planner.search.async_race import AsyncRace
from planner.search.following import AsyncFollowing, Following
from planner.search.strategy import Extension, Strategy, search

_PASSES = 20  # passes in the rest of a time, at most


def make_strategy(request: Request, name: str, costs: Costs, rounds: int) -> BoundedStrategy:
    """Return a new strategy.

    Args:
        request: The question.
        name: Name of the strategy.
        costs: Costs of the candidates that it searches.
        rounds: Rounds that it may ask for.

    Raises:
        BudgetError: The rounds do not suffice for the strategy.
        ConfigError: The strategy lacks a library.
    """
    return strategy_maker(name)(
        {c: costs.of[c].horizon for c in costs.searched},
        {c: costs.of[c].run_bytes for c in costs.searched},
        rounds,
        request.seed,
        last_evaluated_round,
        request.prediction_counts()["validation"],
        request.task_prior,
    )


def reserved_rounds(request: Request, costs: Costs, effort: int) -> int:
    """Return the rounds of an effort that are reserved for further seeds and methods' leaders."""
    if request.search not in (DEFAULT_SEARCH, ASYNC_SEARCH) or request.objective.target is not None:
        return 0
    baselines = [costs.of[c].horizon for c in set(request.baselines().values()) & costs.of.keys()]
    others = len({c.method for c in costs.searched}) - 1
    horizons = [costs.of[c].horizon for c in costs.searched]
    return rounds_for_seeds(effort, horizons, baselines, others)


@dataclass(frozen=True)
class SearchPasses:
    """What all passes of a search share.

    Attributes:
        request: The question.
        costs: Its candidates, at the whole budget.
        trainer: Trainer of the runs, with the store of the learning curves.
        on_progress: Function that is called with the progress a few times a second.
        allowance: What all passes together may train.
        runs_of: Class of the runs of a pass.
        recorded: Decisions of an earlier search, which are made again; None for a new search.
    """

    request: Request
    costs: Costs
    trainer: Trainer
    on_progress: OnProgress
    allowance: Allowance
    runs_of: type[CandidateRuns] = CandidateRuns
    recorded: DecisionsSection | None = None

    def start(
        self,
        name: str,
        costs: Costs,
        rounds: int,
        *,
        kept: int = 0,
        earlier: CandidateRuns | None = None,
    ) -> tuple[Strategy, CandidateRuns]:
        """Return the strategy and the runs of a pass.

        Args:
            name: Name of the strategy.
            costs: Costs of the candidates that it searches.
            rounds: Rounds that it may ask for, as planned.
            kept: Rounds that are kept for further seeds, which progress counts, too.
            earlier: Runs of earlier passes, which progress counts, too.
        """
        made = self._make(name, costs, rounds)
        runs = self.runs_of(
            self.request,
            costs,
            self.trainer,
            self.on_progress,
            made.expected_rounds + kept,
            self.allowance,
            earlier,
        )
        return self._following(made, runs, self.reserved_rounds), runs

    def _make(self, name: str, costs: Costs, rounds: int) -> BoundedStrategy:
        """Return a new strategy, for as many workers as there are or as were recorded."""
        made = make_strategy(self.request, name, costs, rounds)
        workers = self.recorded.workers if self.recorded else self.trainer.workers
        return replace(made, workers=workers) if isinstance(made, AsyncRace) else made

    def _following(
        self,
        made: BoundedStrategy,
        runs: CandidateRuns,
        reserved: Callable[[int], int] = lambda effort: 0,
    ) -> Strategy:
        """Return the strategy with an effort that follows the time left, if there is one."""
        if self.allowance.left_s is None:
            return made
        if isinstance(made, AsyncRace):
            return AsyncFollowing(made, lambda: self.rounds_left(runs), reserved)
        return Following(
            made, lambda: self.rounds_left(runs), reserved, max(2, self.trainer.workers)
        )

    def search(self, strategy: Strategy, runs: CandidateRuns) -> None:
        """Search until the strategy stops, or the search reaches its target.

        Raises:
            PlanError: The search departs from the recorded one.
        """
        if isinstance(strategy, AsyncRace | AsyncFollowing):
            search_async(strategy, runs, self.trainer.workers, self.recorded)
        else:
            search(self._until_target(strategy, runs), runs.extend)

    def rounds_left(self, runs: CandidateRuns) -> int:
        """Return the rounds that may still be asked for."""
        return self.allowance.rounds_left(runs.asked_rounds)

    def reserved_rounds(self, effort: int) -> int:
        """Return the rounds of an effort that are reserved for further seeds."""
        return reserved_rounds(self.request, self.costs, effort)

    def spend_rest(self, runs: CandidateRuns) -> None:
        """Use the time that a search has left over, for more candidates and longer runs.

        A search that has reached its target has nothing to use it for.
        """
        for _ in range(_PASSES):
            trained, left = runs.trained, self.rounds_left(runs)
            if left <= 0 or self._has_reached(runs):
                return
            try:
                made = self._make(self.request.search, self.costs, runs.asked_rounds + left)
            except BudgetError:  # the rest suffices for no candidate of this strategy
                break
            self.search(self._following(made, runs), runs)
            if self._has_reached(runs):
                left_of, start = partial(self.rounds_left, runs), partial(self.start, earlier=runs)
                seek_cheaper(self.request, self.costs, runs, left_of, start)
                return
            runs.finish(runs.finished_candidates())
            if runs.trained == trained:
                break
        while (further := self._leading_extensions(runs)) and not self._has_reached(runs):
            runs.extend(further)

    def _until_target(self, made: Strategy, runs: CandidateRuns) -> Strategy:
        target = self.request.objective.target
        return made if target is None else UntilTarget(made, runs, target)

    def _has_reached(self, runs: CandidateRuns) -> bool:
        target = self.request.objective.target
        return target is not None and bool(
            target_outcomes(runs, runs.history(), runs.known_curves(), target)
        )

    def _leading_extensions(self, runs: CandidateRuns) -> list[Extension]:
        """Return the best unfinished runs, one for each worker; none once the time is over.

        Runs that the time left can finish come first.
        """
        room = 0 if self.allowance.is_over() else self.costs.grid_rounds - runs.asked_rounds
        found: list[Extension] = []
        ends = {c: self.finish_round(c, runs) for c in self._unfinished_candidates(runs)}
        missing = {c: rounds - runs.asked.get(c, 0) for c, rounds in ends.items()}
        each = self.rounds_left(runs) / self.trainer.workers  # a run trains in one process
        for candidate in sorted(ends, key=lambda c: missing[c] > each):
            if len(found) < self.trainer.workers and missing[candidate] <= room:
                room -= missing[candidate]
                found.append(Extension(candidate, ends[candidate]))
        return found

    def finish_round(self, candidate: Candidate, runs: CandidateRuns) -> int:
        """Return the round at which a candidate's run is finished."""
        horizon = min(runs.horizons.rounds(candidate), self.costs.of[candidate].horizon)
        return last_evaluated_round(max(1, horizon))

    def _unfinished_candidates(self, runs: CandidateRuns) -> list[Candidate]:
        """Return the runs that are not finished, best accuracy first, then those not begun."""
        curves, finished = runs.history(), set(runs.finished_candidates())
        scores = {
            c: smoothed_accuracy(curve.evaluated, curve.accuracies, curve.rounds)
            for c, curve in curves.items()
            if curve.evaluated
        }
        failed = {c for c, curve in curves.items() if curve.failed}
        opened = [c for c in self.costs.searched if c not in finished | failed]
        return sorted(opened, key=lambda c: (-scores.get(c, 0.0), c))
