"""Begin of a search: its effort is checked, its estimate is told, and its time begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from floss_sim.records.host_notes import note_start
from planner.execution.allowance import Allowance, TimedRounds
from planner.execution.curve_store import CurveStore
from planner.execution.dry_run import DryRun, StoredStart, estimate
from planner.execution.effort import Effort, effort_of_fraction, effort_of_time
from planner.execution.pace import TELLING_ROUNDS, Pace, measured_pace, start_workers, stored_pace
from planner.execution.trainer import Trainer
from planner.progress import OnProgress, Progress
from planner.question.cost import Costs
from planner.question.request import Request

OnEstimate = Callable[[DryRun], None]
_STARTING = Progress("starting the training processes")


@dataclass(frozen=True)
class BegunSearch:
    """A search that may begin to train.

    Attributes:
        effort: Its effort, as planned.
        allowance: What it may train, which follows the time left if the effort is a time.
    """

    effort: Effort
    allowance: Allowance

    def limit_rounds(self, costs: Costs, asked: int) -> int:
        """Return the most rounds that the search may ask for, after it has asked for so many.

        A time allows more or fewer rounds than were planned.
        """
        if not isinstance(self.allowance, TimedRounds):
            return self.effort.rounds
        return min(costs.grid_rounds, max(asked, self.effort.rounds))

    def effort_json(self) -> dict[str, Any]:
        """Return what was planned for a time, and what it took until now; empty for a fraction."""
        allowance = self.allowance
        return self.effort.to_json(
            allowance.elapsed_s if isinstance(allowance, TimedRounds) else None
        )


def begin_search(
    request: Request,
    costs: Costs,
    trainer: Trainer,
    on_progress: OnProgress,
    on_estimate: OnEstimate | None,
    check: Callable[[int], object] = lambda rounds: None,
    start_in_store: Callable[[int], StoredStart] = lambda rounds: StoredStart(),
    clock: Callable[[], float] = time.monotonic,
) -> BegunSearch:
    """Return a search that may begin to train; nothing is stored for it yet.

    Where a time is the effort, the training processes are loaded, and the time begins.

    Args:
        request: The question.
        costs: Its candidates.
        trainer: Trainer of the runs, with the store of the learning curves.
        on_progress: Function that is called with the progress a few times a second.
        on_estimate: Function that is called with what the search will do; None: nothing is
            measured for it.
        check: Function that raises an error if the search cannot be made with so many rounds.
        start_in_store: Function that follows a search of so many rounds as far as the store takes
            it; only for ``on_estimate``, and not where a time is the effort.
        clock: Function that returns seconds, by which an effort in time is counted.

    Raises:
        BudgetError: The effort finishes no run; the message states a sufficient effort.
    """
    timed, store, workers = request.training_s is not None, trainer.store, trainer.workers
    if not timed:
        check(effort_of_fraction(request, costs).rounds)  # before anything is measured
    pace = stored_pace(request, costs, store, TELLING_ROUNDS if timed else 1)
    if pace is None and (timed or on_estimate):
        pace = _measure(request, trainer, on_progress)
    effort = _effort(request, costs, store, pace, workers)
    check(effort.rounds)
    if pace and pace.measured:  # which has started the processes
        note_start(store.root, pace.start_s)
    if pace and on_estimate:
        start = StoredStart() if timed else start_in_store(effort.rounds)
        on_estimate(estimate(request, costs, store, pace, effort, workers, start))
    if timed and pace and not pace.measured:
        tick = partial(on_progress, _STARTING)
        note_start(store.root, start_workers(request, trainer, tick))
    return BegunSearch(effort, effort.allowance(costs, clock))


def _effort(
    request: Request, costs: Costs, store: CurveStore, pace: Pace | None, workers: int
) -> Effort:
    if request.training_s is None or pace is None:
        return effort_of_fraction(request, costs)
    return effort_of_time(request, costs, store, pace, workers)


def measuring(request: Request) -> Progress:
    """Return the progress of a search while the step is measured that tells its seconds."""
    return Progress(f"measuring a step of rank {request.reference_rank} on this machine")


def _measure(request: Request, trainer: Trainer, on_progress: OnProgress) -> Pace:
    tick = partial(on_progress, measuring(request))
    return measured_pace(request, trainer, tick)
