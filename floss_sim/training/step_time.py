"""Host seconds of a local training step, measured on fresh minibatches, for each learner."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from floss_sim.protocol import NO_STATE
from floss_sim.runs.config import RunConfig
from floss_sim.training.learner_choice import LEARNERS, SEQUENTIAL, choose_learner

if TYPE_CHECKING:
    from floss_sim.training.learners.torch_learner import TorchLearner
    from floss_sim.training.side_by_side.stepping import SideBySide

_REPETITIONS = 5  # cohorts that are timed, after one that is not
_ENOUGH_S = 5.0  # seconds of training after which no further cohort is timed


@dataclass(frozen=True)
class StepTime:
    """Host seconds of training with one learner.

    Attributes:
        learner: ``"bank"`` or ``"sequential"``.
        clients: Clients that train together, or in turn.
        step_s: Seconds of one step of one client: forward pass, backward pass and update, with the
            coding of messages. Median of the timed cohorts.
        step_low_s: The fastest of these cohorts.
        step_high_s: The slowest of these cohorts.
        loading_s: Seconds until libraries, backbone and data are loaded.
        evaluation_s: Seconds of one evaluation on the validation split.
    """

    learner: str
    clients: int
    step_s: float
    step_low_s: float
    step_high_s: float
    loading_s: float
    evaluation_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the times as plain values."""
        return asdict(self)


def step_times(config: RunConfig, device: str, threads: int) -> list[StepTime]:
    """Measure a local step with each learner that trains this run.

    Cohorts of the run's largest clients train. Each cohort is a new dispatch with its own order of
    examples, so that no remembered result is timed.

    Args:
        config: The run.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Number of torch threads.
    """
    batched = choose_learner(config, "bank", device).kind != SEQUENTIAL
    names = [name for name in LEARNERS if batched or name != "bank"]
    return [_measure(config, device, threads, name, time.perf_counter()) for name in names]


def bank_step_time(config: RunConfig, device: str) -> StepTime:
    """Measure a local step with the learner and the backbone with which this process trains runs.

    The backbone stays loaded, for the runs that the process trains later.

    Args:
        config: The run.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    began_s = time.perf_counter()
    from floss_sim.training.learners.build import open_side_by_side

    return _measure(config, device, 1, LEARNERS[0], began_s, open_side_by_side(device))


def _measure(
    config: RunConfig,
    device: str,
    threads: int,
    name: str,
    began_s: float,
    beside: SideBySide | None = None,
) -> StepTime:
    """Measure a local step with one learner, whose loading began at an instant."""
    from floss_sim.training.learners.build import build_learner

    learner = build_learner(config, choose_learner(config, name, device), device, threads, beside)
    learner.diagnose = False
    loading_s = time.perf_counter() - began_s
    sizes = [len(part) for part in config.clients]
    cohort = sorted(range(len(sizes)), key=lambda n: -sizes[n])[: config.server.cohort]
    batches = sum(math.ceil(sizes[client] / config.client.batch_size) for client in cohort)
    timed_s = _cohort_seconds(learner, cohort)
    each_s = [seconds / (config.client.epochs * batches) for seconds in timed_s]
    began_s = time.perf_counter()
    learner.evaluate(0)
    evaluation_s = time.perf_counter() - began_s
    return StepTime(
        name, len(cohort), median(each_s), min(each_s), max(each_s), loading_s, evaluation_s
    )


def _cohort_seconds(learner: TorchLearner, cohort: Sequence[int]) -> list[float]:
    """Return the seconds in which a cohort trains, several times after a warm-up.

    A warm-up of more than ``_ENOUGH_S`` is the only one.
    """
    found: list[float] = []
    for repetition in range(_REPETITIONS + 1):
        began_s = time.perf_counter()
        first = repetition * len(cohort)
        sent = [learner.dispatch(client, first + n) for n, client in enumerate(cohort)]
        for dispatch in sent:
            learner.train(dispatch, NO_STATE)
            learner.forget(dispatch, NO_STATE)
        found.append(time.perf_counter() - began_s)
        if sum(found) > _ENOUGH_S:
            break
    return found[1:] or found
