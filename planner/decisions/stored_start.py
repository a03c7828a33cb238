"""Stored start: the beginning of a search that the store holds, followed without training.

What a search asks for follows from the curves that it has seen. As long as the store holds them,
it can be followed, up to the first rounds that the store lacks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future

from planner.decisions.method_leaders import train_method_leaders
from planner.decisions.search_passes import SearchPasses
from planner.decisions.training import train_further_runs, train_further_seeds, train_search
from planner.execution.allowance import FixedRounds
from planner.execution.candidate_runs import CandidateRuns, Targets
from planner.execution.curve_store import CurveStore, Job
from planner.execution.dry_run import StoredStart
from planner.execution.trainer import LocalTrainer
from planner.question.cost import Costs
from planner.question.request import Request


class _LackingError(Exception):
    """The store lacks rounds of a run that a search asks for."""


class _StoredRuns(CandidateRuns):
    """Runs of the store, of which none is trained."""

    def _baselines_beside(self, targets: Targets) -> Targets:
        """Return no baselines: they are asked for at the end, however many workers trained them."""
        if self._request.objective.target is None:
            return {}
        return super()._baselines_beside(targets)

    def _begin_baselines(self) -> None:
        """Begin no baselines: they are asked for at the end."""

    def _begin_job(self, job: Job) -> Future[int | None]:
        """Return the result of a run that the store holds.

        Raises:
            _LackingError: The store lacks rounds of the run.
        """
        (held,) = self._train_jobs([job])
        made: Future[int | None] = Future()
        made.set_result(held)
        return made

    def _train_jobs(self, jobs: Sequence[Job]) -> list[int | None]:
        """Return 0 for each run that the store holds, and None for a diverged one.

        Raises:
            _LackingError: The store lacks rounds of another run.
        """
        held: list[int | None] = []
        for config, rounds in jobs:
            folder = self._store.folder(config)
            if folder.manifest().rounds < rounds and not folder.divergence():
                raise _LackingError
            held.append(0 if folder.manifest().rounds >= rounds else None)
        return held


def stored_start(request: Request, costs: Costs, store: CurveStore, rounds: int) -> StoredStart:
    """Return how far the store takes a search of a fixed number of rounds.

    Args:
        request: The question; its effort is no time.
        costs: Its candidates.
        store: Store of the learning curves; it is not changed.
        rounds: Rounds that the search may train.

    Raises:
        BudgetError: The rounds do not suffice for the strategy.
        ConfigError: The strategy lacks a library.
    """
    began_s, nobody = time.monotonic(), LocalTrainer(store, Executor())
    passes = SearchPasses(
        request, costs, nobody, lambda now: None, FixedRounds(rounds), _StoredRuns
    )
    kept = passes.reserved_rounds(rounds)
    strategy, runs = passes.start(request.search, costs, rounds - kept, kept=kept)
    is_whole = True
    try:
        train_search(passes, strategy, runs)
        train_method_leaders(passes, strategy, runs)
        train_further_runs(passes, strategy, runs)
        train_further_seeds(passes, runs)
    except _LackingError:
        is_whole = False
    asked = [(last, store.rounds(config)) for config, last in runs.asked_jobs()]
    lacking = sum(max(0, last - held) for last, held in asked)
    took_s = time.monotonic() - began_s
    return StoredStart(sum(last for last, _ in asked), lacking, is_whole, took_s)
