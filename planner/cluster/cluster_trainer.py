"""Trainer on a cluster: runs are trained by workers that have no folder of the store.

Jobs and their answers are parcels (:mod:`planner.cluster.parcel`); the store's owner commits what
comes back. Which worker trains what, how often a job is sent, and in which order answers come,
changes no bit of a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import replace
from itertools import groupby
from typing import Any

from floss_sim.analysis.on_test import HitsOnTest
from floss_sim.errors import ConfigError, FlossError
from floss_sim.runs.config import RunConfig
from floss_sim.training import MAX_RUNS, resolve_device
from floss_sim.training.step_time import StepTime
from planner.cluster.call import Call
from planner.cluster.cluster_run import ClusterRun
from planner.cluster.dispatcher import Dispatcher
from planner.cluster.engine import Engine
from planner.cluster.job import Answer, Kind
from planner.cluster.single_calls import ProbeCall, TestCall
from planner.cluster.training_call import TrainingCall, TrainingTerms
from planner.cluster.transport import InTheStore, Transport, WithTheCall
from planner.cluster.worker import answer
from planner.execution.curve_store import CurveStore, Job
from planner.execution.job_groups import job_groups
from planner.execution.step_measurement import StepMeasurement
from planner.execution.trainer import OnTick, UntestedError
from planner.execution.workers import TICK_S
from planner.progress import ClusterState

SLICE_S = 60.0  # seconds of training after which a worker returns


class ClusterTrainer:
    """Trainer whose runs are trained by an engine; used as a context manager.

    Args:
        store: Store of the runs.
        engine: The engine.
        runs_per_worker: Runs that a worker trains side by side, at most; None: by the device.
        mix_machines: Whether a begun run may continue on a machine of another type.
        shared_store: Whether workers reach the store's folder, so that names of parcels travel.
        slice_s: Seconds of training after which a worker returns.
    """

    def __init__(
        self,
        store: CurveStore,
        engine: Engine,
        *,
        runs_per_worker: int | None = None,
        mix_machines: bool = False,
        shared_store: bool = False,
        slice_s: float = SLICE_S,
    ) -> None:
        self.store = store
        self.workers = engine.workers
        self._most = runs_per_worker or MAX_RUNS[store.device]
        self._terms = TrainingTerms(mix_machines)
        self._transport: Transport = InTheStore(store.base) if shared_store else WithTheCall()
        self._dispatcher = Dispatcher(engine, answer, self._transport, slice_s)

    def __enter__(self) -> ClusterTrainer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def state(self) -> ClusterState:
        """State of the cluster now."""
        return replace(self._dispatcher.state, restarts=self._terms.restarts)

    @property
    def busy_share(self) -> float | None:
        """Fraction of the workers' time in which calls were under way."""
        return self._dispatcher.state.busy_share

    def close(self) -> None:
        """Give up what is still to be done, and let all folders go."""
        self._dispatcher.stop(CancelledError("the search ended"))
        self._transport.close()

    def train(
        self, jobs: Sequence[Job], on_tick: OnTick, until_s: float = math.inf
    ) -> list[int | None]:
        """Train each run up to its round, as :meth:`planner.execution.trainer.Trainer.train`.

        A run that failed in three calls gives None, too, and its reason is :meth:`failure`.
        """
        missing = [rounds - self.store.rounds(config) for config, rounds in jobs]
        runs = {
            number: ClusterRun(self.store, *jobs[number], until_s)
            for number, rounds in enumerate(missing)
            if rounds > 0
        }
        self._dispatcher.add(self._calls(runs, missing))
        self._finish([run.future for run in runs.values()], on_tick)
        return [runs[n].future.result() if n in runs else 0 for n in range(len(jobs))]

    def begin(self, job: Job, until_s: float = math.inf) -> Future[int | None]:
        """Begin to train one run, as :meth:`planner.execution.trainer.Trainer.begin`."""
        run = ClusterRun(self.store, *job, until_s)
        if self.store.rounds(run.config) >= run.rounds:
            run.future.set_result(0)
            return run.future
        self._dispatcher.add([self._call([run])])
        return run.future

    def on_test(self, jobs: Sequence[Job]) -> list[HitsOnTest]:
        """Return what each run's last models get right on the test split; measured only once.

        What no worker could test is tested here.

        Raises:
            UntestedError: A call failed, and this machine lacks the workers' device.
        """
        known = [self.store.cached_on_test(config, rounds) for config, rounds in jobs]
        calls = {
            number: TestCall(self.store, *jobs[number])
            for number, hits in enumerate(known)
            if hits is None and not self.store.tests_in_training(jobs[number][0])
        }
        self._dispatcher.add(list(calls.values()))
        self._finish([call.future for call in calls.values()], lambda: None)
        for number, call in calls.items():
            known[number] = call.future.result() or self._tested_here(jobs[number], call.failure)
        return [hits or self.store.on_test(*job) for hits, job in zip(known, jobs, strict=True)]

    def _tested_here(self, job: Job, failure: str) -> HitsOnTest:
        try:
            resolve_device(self.store.device)
        except ConfigError:
            raise UntestedError(f"no worker could test a model: {failure}") from None
        return self.store.on_test(*job)

    def measure(self, config: RunConfig, on_tick: OnTick) -> list[StepMeasurement]:
        """Return the measurement of a step in each worker that could, made at the same time.

        Raises:
            FlossError: None of them could.
        """
        return [_measurement(made) for made in self._probe("measure", config, on_tick)]

    def load(self, config: RunConfig, on_tick: OnTick) -> None:
        """Start all workers, which load libraries, backbone and data of a run.

        Raises:
            FlossError: None of them could.
        """
        self._probe("load", config, on_tick)

    def failure(self, config: RunConfig) -> str | None:
        """Return why a run failed three times, or None."""
        return self._terms.failures.get(str(self.store.describe(config)["fingerprint"]))

    def _probe(self, kind: Kind, config: RunConfig, on_tick: OnTick) -> list[Answer]:
        calls = [ProbeCall(kind, self.store, config) for _ in range(self.workers)]
        self._dispatcher.add(calls)
        self._finish([call.future for call in calls], on_tick)
        made = [found for call in calls if (found := call.future.result()) is not None]
        if not made:
            raise FlossError(f"job {kind} failed on all workers: {calls[-1].failure}")
        return made

    def _calls(self, runs: dict[int, ClusterRun], rounds: Sequence[int]) -> list[Call]:
        """Return calls with about equally many rounds; the runs of a call share their files."""
        calls: list[Call] = []
        numbers = sorted(runs, key=lambda number: runs[number].marks)
        for _, alike in groupby(numbers, key=lambda number: runs[number].marks):
            lacking = {number: rounds[number] for number in alike}
            calls += [
                self._call([runs[number] for number in group])
                for group in job_groups(lacking, self.workers, self._most)
            ]
        return calls

    def _call(self, runs: Sequence[ClusterRun]) -> TrainingCall:
        return TrainingCall(runs, self._terms)

    def _finish(self, futures: Iterable[Future[Any]], on_tick: OnTick) -> None:
        """Wait until all have ended; an error or an interruption gives up the others."""
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=TICK_S)
                on_tick()
                for future in done:
                    future.result()  # raises the error that ends a search
        except BaseException:
            self._dispatcher.stop(CancelledError("the search ended"))
            raise


def _measurement(made: Answer) -> StepMeasurement:
    values = dict(made.measured)
    seconds, peak_bytes = values.pop("measuring_s", 0.0), values.pop("peak_memory_bytes", 0)
    step: dict[str, Any] = values
    return StepTime(**step), float(seconds or 0.0), int(peak_bytes or 0)
