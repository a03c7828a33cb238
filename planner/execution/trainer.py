"""Trainer: trains the runs of a search, keeps them in a store, and measures.

:class:`LocalTrainer` has processes that share the store's folder. A worker elsewhere has a folder
of its own: see :mod:`planner.cluster`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from floss_sim.analysis.on_test import HitsOnTest
from floss_sim.errors import FlossError, NonFiniteUpdateError
from floss_sim.runs.config import RunConfig
from floss_sim.training import MAX_RUNS
from planner.execution.busy_share import BusyShare
from planner.execution.curve_store import CurveStore, Job
from planner.execution.job_groups import job_groups
from planner.execution.step_measurement import StepMeasurement, load_learner, measure_step
from planner.execution.workers import call_in_each, finish_calls, submit
from planner.progress import ClusterState

OnTick = Callable[[], None]  # called a few times a second during training


class UntestedError(FlossError):
    """No worker could test a model, and this machine lacks their device."""


class Trainer(Protocol):
    """What trains the runs of a search.

    Attributes:
        store: Store of the runs.
        workers: Number of functions that run at once.
        state: State of the cluster that trains; None on this machine alone.
    """

    @property
    def store(self) -> CurveStore:
        """Store of the runs."""

    @property
    def workers(self) -> int:
        """Number of functions that run at once."""

    @property
    def state(self) -> ClusterState | None:
        """State of the cluster that trains; None on this machine alone."""

    @property
    def busy_share(self) -> float | None:
        """Fraction of the workers' time in which they trained; None before they did."""

    def failure(self, config: RunConfig) -> str | None:
        """Return why a run failed although it did not diverge; None if it did not fail."""

    def train(
        self, jobs: Sequence[Job], on_tick: OnTick, until_s: float = math.inf
    ) -> list[int | None]:
        """Train each run up to its round; return how many rounds each trained now.

        A run that diverges gives None.

        Args:
            jobs: Runs, each with the round to reach.
            on_tick: Function that is called a few times a second.
            until_s: Instant of ``time.monotonic`` after which no further round is begun.

        Raises:
            FlossError: A worker failed for a reason other than divergence.
        """

    def begin(self, job: Job, until_s: float = math.inf) -> Future[int | None]:
        """Begin to train one run; the result is that of :meth:`train`.

        Args:
            job: The run, with the round to reach.
            until_s: Instant of ``time.monotonic`` after which no further round is begun.
        """

    def on_test(self, jobs: Sequence[Job]) -> list[HitsOnTest]:
        """Return what each run's last models get right on the test split, given its rounds.

        Raises:
            UntestedError: Neither a worker nor this machine could test a model.
        """

    def measure(self, config: RunConfig, on_tick: OnTick) -> list[StepMeasurement]:
        """Return the measurement of a step in each worker, made at the same time."""

    def load(self, config: RunConfig, on_tick: OnTick) -> None:
        """Start all workers, which load libraries, backbone and data of a run."""


class LocalTrainer:
    """Trainer whose executor runs functions on this machine, in processes that share the store.

    Args:
        store: Store of the runs.
        executor: Executor of functions with picklable arguments.
        workers: Number of functions that the executor runs at once.
        runs_per_worker: Runs that a worker trains side by side, at most; None: by the device.
    """

    state: ClusterState | None = None

    def __init__(
        self,
        store: CurveStore,
        executor: Executor,
        workers: int = 1,
        runs_per_worker: int | None = None,
    ) -> None:
        self.store = store
        self.workers = workers
        self._executor = executor
        self._most = runs_per_worker or MAX_RUNS[store.device]
        self._calls: set[Future[Any]] = set()  # those under way
        self._busy = BusyShare(workers)

    @property
    def busy_share(self) -> float | None:
        """Fraction of the workers' time in which they trained, as of the calls under way."""
        self._calls = {call for call in self._calls if not call.done()}
        return self._busy.note(len(self._calls))

    def train(
        self, jobs: Sequence[Job], on_tick: OnTick, until_s: float = math.inf
    ) -> list[int | None]:
        """Train each run up to its round, as :meth:`Trainer.train`.

        Runs whose rounds are in the store start no worker. The others are split into groups with
        about equally many missing rounds; a worker trains the runs of a group side by side.
        """
        missing = [rounds - self.store.rounds(config) for config, rounds in jobs]
        lacking = {i: rounds for i, rounds in enumerate(missing) if rounds > 0}
        futures = {
            submit(self._executor, extend_all, self.store, [jobs[i] for i in indices], until_s): (
                indices
            )
            for indices in job_groups(lacking, self.workers, self._most)
        }
        self._calls |= futures.keys()
        finish_calls(futures, on_tick)
        trained: dict[int, int | None] = {}
        for future, indices in futures.items():
            trained.update(zip(indices, future.result(), strict=True))
        return [trained.get(index, 0) for index in range(len(jobs))]

    def begin(self, job: Job, until_s: float = math.inf) -> Future[int | None]:
        """Begin to train one run, as :meth:`Trainer.begin`; a stored run starts no worker."""
        config, rounds = job
        if self.store.rounds(config) < rounds:
            call = submit(self._executor, extend_one, self.store, job, until_s)
            self._calls.add(call)
            return call
        held: Future[int | None] = Future()
        held.set_result(0)
        return held

    def on_test(self, jobs: Sequence[Job]) -> list[HitsOnTest]:
        """Return what runs get right, as :meth:`Trainer.on_test`; cached results start no worker.

        They are measured once, and kept in the store.
        """
        known = [self.store.cached_on_test(config, rounds) for config, rounds in jobs]
        futures = {
            index: submit(self._executor, self.store.on_test, *jobs[index])
            for index, hits in enumerate(known)
            if hits is None
        }
        measured: dict[int, HitsOnTest] = {i: future.result() for i, future in futures.items()}
        return [hits or measured[index] for index, hits in enumerate(known)]

    def measure(self, config: RunConfig, on_tick: OnTick) -> list[StepMeasurement]:
        """Return the measurement of a step in each worker, made at the same time."""
        return call_in_each(
            self._executor, self.workers, on_tick, measure_step, config, self.store.device
        )

    def failure(self, config: RunConfig) -> str | None:
        """Return None: what fails on this machine is an error."""
        return None

    def load(self, config: RunConfig, on_tick: OnTick) -> None:
        """Start all workers, which load libraries, backbone and data of a run."""
        call_in_each(self._executor, self.workers, on_tick, load_learner, config, self.store.device)


def extend_all(
    store: CurveStore, jobs: Sequence[Job], until_s: float = math.inf
) -> list[int | None]:
    """Return how many rounds each run trained now, None if it diverged.

    Args:
        store: Store of the runs.
        jobs: Runs to train side by side, each with the round to reach.
        until_s: Instant of ``time.monotonic`` after which no further round is begun.

    Raises:
        FlossError: Training failed for a reason other than divergence.
    """
    trained: list[int | None] = []
    for result in store.extend_all(jobs, until_s):
        if isinstance(result, Exception) and not isinstance(result, NonFiniteUpdateError):
            raise result
        trained.append(None if isinstance(result, Exception) else result)
    return trained


def extend_one(store: CurveStore, job: Job, until_s: float = math.inf) -> int | None:
    """Return how many rounds a run trained now, None if it diverged; errors as :func:`extend_all`.

    Args:
        store: Store of the run.
        job: The run, with the round to reach.
        until_s: Instant of ``time.monotonic`` after which no further round is begun.
    """
    (trained,) = extend_all(store, [job], until_s)
    return trained
