"""Dry run: what a search would train, and how long that takes on this machine.

The seconds come from a step that is really measured (:mod:`floss_sim.training.step_time`). They
have a wide range, because runs that share passes train faster than one alone, and because workers
idle while a search ends with few, long runs.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from floss_sim.runs.config import RunConfig
from floss_sim.training.step_time import StepTime, step_times
from planner.candidates import Candidate
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.effort import BUSY_SHARE, baseline_rounds, effort_of_fraction
from planner.question.cost import Costs, price
from planner.question.request import Request

_SHARED_GAIN = 1.4  # runs that share passes train up to so many times as fast as one alone
_IDLE_SHARE = 0.5  # lowest share of the workers in use
_BYTES_AN_ENTRY = 4 * 3  # of a checkpoint: P and the optimiser's two moments in float32


@dataclass(frozen=True)
class DryRun:
    """What a search would do.

    Attributes:
        candidates: Candidates that afford rounds.
        search_rounds: Rounds that the search trains, at most.
        baseline_rounds: Rounds of the baselines that the store lacks.
        workers: Training processes.
        step_s: Measured seconds of a local step of one client.
        wall_s: Expected seconds of the search.
        wall_low_s: Lower end of the expected range.
        wall_high_s: Upper end of the expected range.
        memory_bytes: Memory of all training processes, from the peak of one that was measured.
        disk_bytes: Bytes that the store grows by, at most.
        smallest_run_bytes: Predicted bytes of the run that takes the fewest, over all clients.
        smallest_run_bytes_error: Relative error that such predictions had on recorded runs.
        largest_run_bytes: The same of the run that takes the most.
        largest_run_bytes_error: Its relative error.
    """

    candidates: int
    search_rounds: int
    baseline_rounds: int
    workers: int
    step_s: float
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


def dry_run_of(
    request: Request,
    store: CurveStore,
    workers: int,
    measure: Callable[[RunConfig, str, int], Sequence[StepTime]] = step_times,
) -> DryRun:
    """Measure a step of the reference configuration, and return what a search would do.

    Args:
        request: The question; a search for a time is counted as the rounds of that time.
        store: Store of the learning curves.
        workers: Number of training processes.
        measure: Measures steps of a run on a device with a number of threads.

    Raises:
        BudgetError: No candidate can afford two rounds, or the effort finishes no run.
    """
    costs = price(request.checked())
    reference = request.reference()
    step = measure(reference, store.device, 1)[0]
    baselines = baseline_rounds(request, costs, store)
    round_s = step.step_s * _steps_of_round(reference)
    rounds = (
        effort_of_fraction(request, costs).rounds
        if request.training_s is None
        else min(costs.grid_rounds, int(request.training_s * workers * BUSY_SHARE / round_s))
    )
    total = rounds + baselines
    evaluations = _evaluations(costs, total)
    low_s, mid_s, high_s = (
        (total * step_s * _steps_of_round(reference) + evaluations * step.evaluation_s)
        / (workers * busy)
        + step.loading_s
        for step_s, busy in (
            (step.step_low_s / _SHARED_GAIN, 1.0),
            (step.step_s / math.sqrt(_SHARED_GAIN), BUSY_SHARE),
            (step.step_high_s, _IDLE_SHARE),
        )
    )
    runs, entries = len(costs.of), reference.layout.entries
    models = evaluations * max(cost.down_bytes for cost in costs.of.values())
    totals = _run_bytes(costs)
    (smallest, least), (largest, most) = min(totals), max(totals)
    return DryRun(
        candidates=len(costs.searched),
        search_rounds=rounds,
        baseline_rounds=baselines,
        workers=workers,
        step_s=step.step_s,
        wall_s=mid_s,
        wall_low_s=low_s,
        wall_high_s=high_s,
        memory_bytes=workers * 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        disk_bytes=runs * entries * _BYTES_AN_ENTRY + models,
        smallest_run_bytes=smallest,
        smallest_run_bytes_error=costs.of[least].run_bytes_error,
        largest_run_bytes=largest,
        largest_run_bytes_error=costs.of[most].run_bytes_error,
    )


def _run_bytes(costs: Costs) -> list[tuple[int, Candidate]]:
    """Return the predicted bytes of every affordable run."""
    return [
        (int(costs.predicted_traffic(c).nbytes()[costs.of[c].horizon - 1]), c)
        for c in costs.searched
    ]


def _steps_of_round(config: RunConfig) -> int:
    """Return the local steps of a round, added up over its clients, for clients of mean size."""
    sizes = [math.ceil(len(part) / config.client.batch_size) for part in config.clients]
    mean = sum(sizes) / len(sizes)
    return max(1, round(mean * config.server.cohort * config.client.epochs))


def _evaluations(costs: Costs, rounds: int) -> int:
    """Return how many evaluations so many rounds have, if every candidate is begun."""
    each = max(1, rounds // max(1, len(costs.of)))
    dense = sum(1 for n in range(1, each + 1) if last_evaluated_round(n) == n)
    return dense * len(costs.of)
