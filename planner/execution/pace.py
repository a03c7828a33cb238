"""Pace of training on this machine: host seconds of a local step, by stored runs or measured.

Stored runs have notes of their host seconds, so that nothing is measured. If they cover too few
rounds, every worker trains fresh minibatches of the reference configuration at the same time. The
workers keep the libraries and the backbone that they have loaded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles

from floss_sim.records.host_notes import last_start_s, peak_memory_bytes, total_host_s
from floss_sim.runs.config import RunConfig
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.step_measurement import StepMeasurement, measure_step
from planner.execution.trainer import Trainer
from planner.question.cost import Costs
from planner.question.request import Request

TELLING_ROUNDS = 20  # stored rounds whose host seconds predict those of others
_SHARED_GAIN = 1.4  # runs that share passes train up to so many times as fast as one alone
_START_S = 8.0  # seconds until processes have started, where no start was noted
_DOUBT = 1.2  # factor: least uncertainty of seconds that stored runs took


@dataclass(frozen=True)
class Pace:
    """Host seconds of training in one of the processes.

    Attributes:
        step_s: Expected seconds of a local step of one client.
        step_low_s: Lower end of the expected range.
        step_high_s: Upper end of the expected range.
        evaluation_s: Seconds of an evaluation on the validation split; 0 if steps contain it.
        start_s: Seconds in which processes start and load libraries, backbone and data.
        memory_bytes: Peak memory of one process.
        measuring_s: Seconds of training that measured the steps; 0 if stored runs tell.
    """

    step_s: float
    step_low_s: float
    step_high_s: float
    evaluation_s: float
    start_s: float
    memory_bytes: int
    measuring_s: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether steps were measured now; otherwise stored runs tell."""
        return self.measuring_s > 0

    def run_s(self, config: RunConfig, rounds: int) -> tuple[float, float, float]:
        """Return the seconds of a run in one process: lower end, expected value and upper end."""
        steps = rounds * steps_of_round(config)
        evaluating_s = self.evaluation_s * evaluations(rounds)
        low, mid, high = (
            steps * s + evaluating_s for s in (self.step_low_s, self.step_s, self.step_high_s)
        )
        return low, mid, high

    def round_s(self, request: Request, costs: Costs) -> float:
        """Return the expected seconds of a round, as a mean over the searched candidates' runs."""
        runs = [(request.config(c), costs.of[c].horizon) for c in costs.searched]
        return sum(self.run_s(*run)[1] for run in runs) / sum(rounds for _, rounds in runs)


def steps_of_round(config: RunConfig) -> float:
    """Return the local steps of a round, added up over its clients, for clients of mean size."""
    steps = fmean(config.work.steps(examples) for examples in config.client_examples())
    return max(1.0, steps * config.server.cohort)


def evaluations(rounds: int) -> int:
    """Return the number of evaluations in the first ``rounds`` rounds of a stored run."""
    return sum(1 for n in range(1, rounds + 1) if last_evaluated_round(n) == n)


def stored_pace(
    request: Request, costs: Costs, store: CurveStore, rounds: int = TELLING_ROUNDS
) -> Pace | None:
    """Return the pace of the stored runs of a request; None if they cover too few rounds.

    Args:
        request: The question.
        costs: Its candidates.
        store: Store of the learning curves.
        rounds: Rounds that the notes of host seconds must cover.
    """
    noted, seconds, steps = 0, 0.0, 0.0
    means: list[float] = []
    peak_bytes = 0
    for candidate in costs.of:
        config = request.config(candidate)
        folder = store.find(config)
        these, took_s = total_host_s(folder.path) if folder else (0, 0.0)
        if folder is None or not these:
            continue
        taken = these * steps_of_round(config)
        noted, seconds, steps = noted + these, seconds + took_s, steps + taken
        means.append(took_s / taken)
        peak_bytes = max(peak_bytes, peak_memory_bytes(folder.path))
    if noted < rounds or not seconds:
        return None
    mean_s = seconds / steps
    low_s, high_s = _range(means)
    return Pace(
        step_s=mean_s,
        step_low_s=min(low_s, mean_s / _DOUBT),
        step_high_s=max(high_s, mean_s * _DOUBT),
        evaluation_s=0.0,
        start_s=last_start_s(store.root) or _START_S,
        memory_bytes=peak_bytes,
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return about the 10 % and the 90 % quantile of some values."""
    if len(values) == 1:
        return values[0], values[0]
    tenths = quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[-1]


def measured_pace(
    request: Request,
    trainer: Trainer,
    on_tick: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> Pace:
    """Measure the pace in all workers at the same time, as they will train.

    Args:
        request: The question; its reference configuration is measured.
        trainer: Trainer of the runs; its store stays as it is.
        on_tick: Function without arguments, called a few times a second.
        clock: Function that returns seconds.
    """
    began_s = clock()
    found = trainer.measure(request.reference(), on_tick)
    elapsed_s = clock() - began_s
    return pace_of_steps(found, elapsed_s)


def pace_here(request: Request, device: str) -> Pace:
    """Measure the pace in this process alone, without the time in which others would start.

    Args:
        request: The question; its reference configuration is measured.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    return pace_of_steps([measure_step(request.reference(), device)], 0.0)


def pace_of_steps(found: Sequence[StepMeasurement], elapsed_s: float) -> Pace:
    """Return the pace by the measurements of all workers.

    Args:
        found: Of each worker the seconds of a step, the seconds that it measured once all was
            loaded, and its peak memory in bytes.
        elapsed_s: Seconds from the start of the processes to the last result.
    """
    steps = [step for step, _, _ in found]
    measuring_s = max(seconds for _, seconds, _ in found)
    return Pace(
        step_s=fmean(step.step_s for step in steps) / math.sqrt(_SHARED_GAIN),
        step_low_s=min(step.step_low_s for step in steps) / _SHARED_GAIN,
        step_high_s=max(step.step_high_s for step in steps),
        evaluation_s=fmean(step.evaluation_s for step in steps),
        start_s=max(0.0, elapsed_s - measuring_s),
        memory_bytes=max(peak_bytes for _, _, peak_bytes in found),
        measuring_s=measuring_s,
    )


def start_workers(
    request: Request,
    trainer: Trainer,
    on_tick: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Start all workers, which load libraries, backbone and data; return the seconds it took.

    Arguments are those of :func:`measured_pace`.
    """
    began_s = clock()
    trainer.load(request.reference(), on_tick)
    return clock() - began_s
