"""Dry run: what a search would train, and how long that takes on this machine.

The seconds come from stored runs, or from a step that is really measured
(:mod:`planner.execution.pace`). They have a wide range: runs that share passes train faster than
one alone, workers idle while a search ends with few, long runs, and which stored runs a search asks
for is known only as far as the store takes it.

A run ends at the last evaluated round within its horizon, so that these rounds are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from floss_sim.units import format_bytes, format_duration
from planner.candidates import Candidate
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.effort import (
    BUSY_SHARE,
    Effort,
    baseline_rounds,
    effort_of_fraction,
    effort_of_time,
)
from planner.execution.pace import TELLING_ROUNDS, Pace, evaluations, stored_pace
from planner.execution.rate_test import lacking_rounds, length_of_test
from planner.question.cost import Costs, price
from planner.question.request import Request

_IDLE_SHARE = 0.5  # lowest share of the workers in use
END_S = 1.0  # seconds in which a plan is chosen, tested, drawn and written after the search
_TIME_ERROR = 0.1  # relative; a search for a time ends within it
_BYTES_AN_ENTRY = 4 * 3  # of a checkpoint: P and the optimiser's two moments in float32


@dataclass(frozen=True)
class StoredStart:
    """How far the store takes a search without training.

    Attributes:
        asked: Rounds that the search has asked for by then, further seeds included.
        lacking: Rounds of these that the store lacks.
        is_whole: Whether the search ends there, so that nothing is trained.
        took_s: Seconds in which the search was followed.
    """

    asked: int = 0
    lacking: int = 0
    is_whole: bool = False
    took_s: float = 0.0

    @property
    def held(self) -> int:
        """Rounds that the search asks for and the store holds."""
        return self.asked - self.lacking


StartInStore = Callable[[Request, Costs, CurveStore, int], StoredStart]


@dataclass(frozen=True)
class DryRun:
    """What a search would do.

    Attributes:
        candidates: Candidates that afford rounds.
        search_rounds: Rounds that the search asks for, at most.
        baseline_rounds: Rounds of the baselines that the store lacks.
        lr_test_rounds: Rounds of the test of learning rates that the store lacks.
        stored_rounds: Rounds of the candidates that the store holds.
        reused_rounds: Rounds that the store holds and the search surely asks for.
        trains_nothing: Whether the store holds all that the search asks for.
        workers: Training processes.
        step_s: Seconds of a local step of one client.
        measured: Whether a step was measured; otherwise stored runs tell.
        start_s: Seconds until the training processes are loaded.
        wall_s: Expected seconds of the search, with ``start_s``, the measuring of a step, and the
            end, in which the plan is chosen and written.
        wall_low_s: Lower end of the expected range.
        wall_high_s: Upper end of the expected range.
        memory_bytes: Memory of all training processes, from the peak of one; 0 if none trains.
        disk_bytes: Bytes that the store grows by, at most.
        smallest_run_bytes: Predicted bytes of the run that takes the fewest, over all clients.
        smallest_run_bytes_error: Relative error that such predictions had on recorded runs.
        largest_run_bytes: The same of the run that takes the most.
        largest_run_bytes_error: Its relative error.
    """

    candidates: int
    search_rounds: int
    baseline_rounds: int
    lr_test_rounds: int
    stored_rounds: int
    reused_rounds: int
    trains_nothing: bool
    workers: int
    step_s: float
    measured: bool
    start_s: float
    wall_s: float
    wall_low_s: float
    wall_high_s: float
    memory_bytes: int
    disk_bytes: int
    smallest_run_bytes: int
    smallest_run_bytes_error: float
    largest_run_bytes: int
    largest_run_bytes_error: float

    def to_json(self) -> dict[str, Any]:
        """Return the dry run as plain values."""
        return asdict(self)

    def line(self) -> str:
        """Return the dry run in one line, which a search prints before it begins."""
        wall, low, high = map(format_duration, (self.wall_s, self.wall_low_s, self.wall_high_s))
        if self.trains_nothing:
            return f"{self.work_text()}: about {wall} ({low} to {high})"
        return (
            f"{self.work_text()}: about {wall} ({low} to {high}), "
            f"{format_bytes(self.memory_bytes)} of memory, at most {format_bytes(self.disk_bytes)} "
            "of disk"
        )

    def work_text(self) -> str:
        """Return what would be trained, and what the store holds of it."""
        if self.trains_nothing:
            return (
                f"{self.candidates} candidates; the store holds all {self.search_rounds} rounds "
                "that the search asks for, so that nothing is trained"
            )
        held = f", {self.reused_rounds} or more of them in the store," * (self.reused_rounds > 0)
        tested = f", {self.lr_test_rounds} to test learning rates" * (self.lr_test_rounds > 0)
        return (
            f"{self.candidates} candidates, at most {self.search_rounds} rounds{held} and "
            f"{self.baseline_rounds} of baselines{tested}, in {self.workers} processes"
        )


def dry_run_of(
    request: Request,
    store: CurveStore,
    workers: int,
    measure: Callable[[], Pace],
    start_in_store: StartInStore = lambda request, costs, store, rounds: StoredStart(),
) -> DryRun:
    """Return what a search would do; a step is measured if the store does not tell its seconds.

    Args:
        request: The question; a search for a time is counted as the rounds of that time.
        store: Store of the learning curves.
        workers: Number of training processes.
        measure: Function that measures the pace of training.
        start_in_store: Function that follows a search of so many rounds as far as the store takes
            it.

    Raises:
        BudgetError: No candidate can afford two rounds, or the effort finishes no run.
    """
    costs = price(request.checked())
    timed = request.training_s is not None
    fixed = None if timed else effort_of_fraction(request, costs)  # refused before measuring
    if fixed:
        length_of_test(request, fixed.rounds)
    pace = stored_pace(request, costs, store, TELLING_ROUNDS if timed else 1) or measure()
    effort = fixed or effort_of_time(request, costs, store, pace, workers)
    start = StoredStart() if timed else start_in_store(request, costs, store, effort.rounds)
    return estimate(request, costs, store, pace, effort, workers, start)


def estimate(
    request: Request,
    costs: Costs,
    store: CurveStore,
    pace: Pace,
    effort: Effort,
    workers: int,
    start: StoredStart,
) -> DryRun:
    """Return what a search with known costs and a known pace would do.

    Args:
        request: The question.
        costs: Its candidates.
        store: Store of the learning curves.
        pace: Pace of training on this machine.
        effort: Effort of the search.
        workers: Number of training processes.
        start: How far the store takes the search.
    """
    baselines, stored = (
        baseline_rounds(request, costs, store),
        _stored_rounds(request, costs, store),
    )
    tests = lacking_rounds(request, store, length_of_test(request, effort.rounds))
    if tests or request.tune_lr:  # better rates would need other runs
        start = StoredStart() if request.tune_lr else replace(start, is_whole=False)
    search_rounds = start.asked
    if not start.is_whole:
        search_rounds = max(start.asked, min(effort.rounds, sum(_last_rounds(costs).values())))
    low_s, mid_s, high_s = _wall_s(
        request, costs, pace, search_rounds, baselines + tests, stored, workers, start
    )
    before_s, end_s = pace.start_s + pace.measuring_s, END_S + start.took_s
    if start.is_whole:  # a process starts only for what is not tested yet
        before_s = 0.0
        low_s, mid_s, high_s = 0.0, 0.0, pace.start_s
    if effort.training_s is not None:  # which measuring and tests are part of
        before_s, end_s = pace.start_s, 0.0
        low_s, mid_s, high_s = _within_time(effort, costs, low_s, mid_s, high_s)
    runs, entries = len(costs.of), request.reference().layout.entries
    evaluated = runs * evaluations(max(1, (search_rounds + baselines) // runs))
    models = evaluated * max(cost.down_bytes for cost in costs.of.values())
    totals = _run_bytes(costs)
    (smallest, least), (largest, most) = min(totals), max(totals)
    return DryRun(
        candidates=len(costs.searched),
        search_rounds=search_rounds,
        baseline_rounds=baselines,
        lr_test_rounds=tests,
        stored_rounds=stored,
        reused_rounds=start.held,
        trains_nothing=start.is_whole,
        workers=workers,
        step_s=pace.step_s,
        measured=pace.measured,
        start_s=pace.start_s,
        wall_s=before_s + mid_s + end_s,
        wall_low_s=(before_s if low_s else 0.0)
        + low_s
        + end_s,  # no process starts for stored runs
        wall_high_s=before_s + high_s + end_s,
        memory_bytes=0 if start.is_whole else workers * pace.memory_bytes,
        disk_bytes=0 if start.is_whole else runs * entries * _BYTES_AN_ENTRY + models,
        smallest_run_bytes=smallest,
        smallest_run_bytes_error=costs.of[least].run_bytes_error,
        largest_run_bytes=largest,
        largest_run_bytes_error=costs.of[most].run_bytes_error,
    )


def _last_rounds(costs: Costs) -> dict[Candidate, int]:
    """Return the last round of a whole run of each searched candidate."""
    return {c: last_evaluated_round(costs.of[c].horizon) for c in costs.searched}


def _run_bytes(costs: Costs) -> list[tuple[int, Candidate]]:
    """Return the predicted bytes of every affordable run."""
    return [
        (int(costs.predicted_traffic(c).nbytes()[rounds - 1]), c)
        for c, rounds in _last_rounds(costs).items()
    ]


def _wall_s(
    request: Request,
    costs: Costs,
    pace: Pace,
    rounds: int,
    baselines: int,
    stored: int,
    workers: int,
    start: StoredStart,
) -> tuple[float, float, float]:
    """Return the seconds of training: lower end, expected value and upper end.

    Beyond the start that the store holds, at best all other stored rounds are among those that the
    search asks for. At worst they are a random part of the grid.
    """
    lasts = _last_rounds(costs)
    most, rest, others = sum(lasts.values()), rounds - start.asked, max(0, stored - start.held)
    fewest = start.lacking + max(0, rest - others)
    typical = start.lacking + rest * (1 - min(1.0, others / most))
    each = [pace.run_s(request.config(c), last) for c, last in lasts.items()]
    low, mid, high = (sum(seconds[i] for seconds in each) / most for i in range(3))
    return (
        (fewest + baselines) * low / workers,
        ((fewest + typical) / 2 + baselines) * mid / (workers * BUSY_SHARE),
        (typical + baselines) * high / (workers * _IDLE_SHARE),
    )


def _within_time(
    effort: Effort, costs: Costs, low_s: float, mid_s: float, high_s: float
) -> tuple[float, float, float]:
    """Return the range of the seconds of an effort in time.

    A search ends within a tenth of its time, or earlier if the whole grid is trained.
    """
    time_s = effort.training_s or 0.0
    ends_early = effort.rounds >= sum(_last_rounds(costs).values())
    return (
        min(low_s, (1 - _TIME_ERROR) * time_s) if ends_early else (1 - _TIME_ERROR) * time_s,
        min(mid_s, time_s) if ends_early else time_s,
        min(high_s, (1 + _TIME_ERROR) * time_s) if ends_early else (1 + _TIME_ERROR) * time_s,
    )


def _stored_rounds(request: Request, costs: Costs, store: CurveStore) -> int:
    """Return the rounds of the searched candidates that the store holds, within their runs."""
    folders = {c: store.find(request.config(c)) for c in costs.searched}
    lasts = _last_rounds(costs)
    return sum(min(lasts[c], folder.manifest().rounds) for c, folder in folders.items() if folder)
