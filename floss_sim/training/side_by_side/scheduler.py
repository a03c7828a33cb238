"""Scheduler of the training passes of several runs in one process, over shared backbones.

Each run has its own thread, simulator, learner and record. The scheduler's lock lets one thread
work at a time. A run whose cohort is ready to train submits a job and waits. When all runs wait,
jobs that can be batched are computed in one pass::

    run A      ... dispatch | waits            | encode, aggregate, evaluate, dispatch | waits ...
    run B        ... dispatch | waits          |                                  ...  | waits ...
    scheduler                 | A, B: one pass |                                         | A, B ...

**A run's record does not depend on the other runs**: ``bit_checks.py`` explains and checks this.

On a device that computes asynchronously, no thread holds the lock during a pass. The results of a
pass are returned at once; its runs continue, one at a time, during the next pass::

    device  | pass A          | pass B          |                    | pass A ...
    host    |                 | runs of A       | runs of B          | ...

On such a device evaluations are jobs too, since a bank holds the vectors of one pass at a time.
Evaluations are computed first, and training waits for them: so as many runs as possible train in
one pass, and the same runs each time.

Passes are formed only when all runs wait, not in order of arrival. That order would not change
records, but it would change the shapes of passes, and each new shape needs a check. The cost is
that the device idles while the runs of the last pass continue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch

from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.batched_sgd import Party
from floss_sim.training.bank.model import Bank, banked_layers, build_bank
from floss_sim.training.evaluation import measure
from floss_sim.training.side_by_side.bit_checks import BitChecks
from floss_sim.training.side_by_side.limits import DeviceLimits, limits_of
from floss_sim.training.side_by_side.measuring import EvaluationInput
from floss_sim.training.side_by_side.pass_jobs import (
    ClientVectors,
    EvaluationJob,
    Job,
    Result,
    TrainingJob,
)


@cache
def device_scheduler(device: str) -> PassScheduler:
    """Return the scheduler of this process for a device, such as ``"cuda"``."""
    return PassScheduler(torch.device(device))


class PassScheduler:
    """Scheduler of the passes of this process' runs on one device.

    Args:
        device: The device that computes.
        limits: Limits for sharing the device; by default those of its type.
    """

    def __init__(self, device: torch.device, limits: DeviceLimits | None = None) -> None:
        self._device = device
        self._limits = limits or limits_of(device.type)
        self._sharing = BitChecks(self._limits)
        self._banks: dict[object, Bank] = {}
        self._turn = threading.Lock()
        self._news = threading.Condition()  # guards the fields below
        self._members = 0
        self._waiting: list[Job[Any]] = []
        self._done: dict[Job[Any], Any] = {}
        self._clock_s = 0.0
        self._seen_s = time.monotonic()

    @contextmanager
    def membership(self) -> Iterator[None]:
        """Register this thread's run, and hold the scheduler's lock for the block.

        The lock is released while the run waits for a pass. Acquire other locks, such as that of
        the run's folder, before entering; otherwise runs can deadlock.
        """
        self._add_members(1)
        try:
            with self._turn:
                yield
        finally:
            self._add_members(-1)
            self._run_passes()

    def _add_members(self, more: int) -> None:
        with self._news:
            self._tick()
            self._members += more

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._clock_s += (now_s - self._seen_s) / max(1, self._members)
        self._seen_s = now_s

    def clock(self) -> float:
        """Return seconds of a clock that divides wall time evenly among the registered runs."""
        with self._news:
            self._tick()
            return self._clock_s

    def bank(self, config: RunConfig) -> Bank:
        """Return the bank of a run; runs that adapt the same layers of one backbone share a bank.

        Raises:
            TaskError: The backbone cannot be loaded.
            LayoutError: The backbone lacks a layer of the layout.
        """
        client, task = config.client, config.task
        key = (
            task.name, task.kind, task.backbone_hash, task.labels, repr(task.lora),
            repr(task.preprocess), frozenset(banked_layers(config).items()), client.precision,
            client.gradient_checkpointing,
        )  # fmt: skip
        if key not in self._banks:
            self._banks[key] = build_bank(config, self._device)
        return self._banks[key]

    def train(self, party: Party, chunk: int) -> ClientVectors:
        """Return the trained values of a run's clients, batched with other runs where possible.

        Args:
            party: The clients; their model uses a bank returned by :meth:`bank`.
            chunk: Largest number of clients in a pass that includes this run.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """
        return self._wait_for(TrainingJob(chunk, party))

    def measure(
        self, question: EvaluationInput, batch_size: int, chunk: int
    ) -> tuple[float, float]:
        """Return accuracy (0 to 1) and mean loss in nats, batched with other runs where useful.

        On a CPU a run is evaluated alone: batching four runs takes as long per example.

        Args:
            question: Vector and data; the model uses a bank returned by :meth:`bank`.
            batch_size: Examples in a training batch of the run's clients.
            chunk: Largest number of clients in a pass that includes this run.

        Raises:
            TaskError: The backbone cannot read the inputs, or the split has no target.
        """
        if not self._limits.overlaps_host:
            return measure(question.model, question.vector, question.x, question.y)
        reading = self._wait_for(EvaluationJob(chunk, question, batch_size))
        return reading.accuracy, reading.loss

    def _wait_for(self, job: Job[Result]) -> Result:
        self._turn.release()
        try:
            self._sharing.prepare(job)  # may wait for the device; an error concerns this run only
            with self._news:
                self._waiting.append(job)
            self._run_passes()
            with self._news:
                self._news.wait_for(lambda: job in self._done)
                done = self._done.pop(job)
        finally:
            self._turn.acquire()
        if isinstance(done, Exception):
            try:
                raise done
            finally:
                del done  # breaks the cycle error -> traceback -> frame, which keeps memory
        result: Result = done
        return result

    def _run_passes(self) -> None:
        """Compute the waiting jobs if all runs wait; return the results of each pass at once."""
        jobs = self._take_jobs()
        if not jobs:
            return
        with nullcontext() if self._limits.overlaps_host else self._turn:
            for part in self._sharing.passes(jobs):
                results = self._sharing.results(part)
                with self._news:
                    self._done.update(zip(part, results, strict=True))
                    self._news.notify_all()

    def _take_jobs(self) -> Sequence[Job[Any]]:
        """Remove and return the jobs to compute now: evaluations if any wait, else all; or none."""
        with self._news:
            if len(self._waiting) < self._members:
                return []
            measured = [job for job in self._waiting if isinstance(job, EvaluationJob)]
            taken: Sequence[Job[Any]] = measured or self._waiting
            self._waiting = [job for job in self._waiting if job not in taken]
            return taken
