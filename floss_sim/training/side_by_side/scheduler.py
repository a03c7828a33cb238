"""Several runs of one process that train side by side, over one backbone.

Each run has a thread and its own simulator, learner and record; one thread at a time has the turn.
A run whose cohort is to be trained waits; once all do, what can share a pass is trained in one::

    run A   ... dispatch | waits            | encode, aggregate, evaluate, dispatch | waits ...
    run B     ... dispatch | waits          |                                  ...  | waits ...
    grid                   | A, B: one pass |                                         | A, B ...

**A record does not depend on its neighbours**: ``bit_checks.py`` says why, and makes sure.

On a device that computes beside the processor nobody has the turn during a pass. What comes of it
is handed out at once: its runs go on, one at a time, while the next pass is on the device::

    device  | pass A          | pass B          |                    | pass A ...
    turn    |                 | runs of A       | runs of B          | ...

There a run that is to be measured waits, too, since a bank holds the vectors of one pass at a time.
What is measured goes first, and who waits to be trained waits for those, so that runs train in as
large a company as there is, and always in the same.

Who shares a pass is decided when all wait, never by who came first: it would change no record, but
the shapes of passes, and each new one is to be proved. The price is that the runs of the last pass
go on while the device rests.
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
    """Return the grid of this process on a device."""
    return PassScheduler(torch.device(device))


class PassScheduler:
    """The runs of a process that train side by side on a device.

    Args:
        device: Where.
        limits: How they share it; by default as suits the device.
    """

    def __init__(self, device: torch.device, limits: DeviceLimits | None = None) -> None:
        self._device = device
        self._limits = limits or limits_of(device.type)
        self._sharing = BitChecks(self._limits)
        self._banks: dict[object, Bank] = {}
        self._turn = threading.Lock()
        self._news = threading.Condition()  # guards what follows
        self._members = 0
        self._waiting: list[Job[Any]] = []
        self._done: dict[Job[Any], Any] = {}
        self._clock_s = 0.0
        self._seen_s = time.monotonic()

    @contextmanager
    def membership(self) -> Iterator[None]:
        """Take part with a run, and have the turn, which it lends to others while it waits.

        What a run waits for besides, such as the lock of its folder, it waits for outside.
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
        """Return seconds of the wall's clock, shared alike between the runs at work."""
        with self._news:
            self._tick()
            return self._clock_s

    def bank(self, config: RunConfig) -> Bank:
        """Return the bank of a run: one for all that adapt the same layers of the same backbone.

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
        """Return a party's values, trained together with the parties of the other runs.

        Args:
            party: Of one of :meth:`bank`'s.
            chunk: How many clients of such a run a pass may have.

        Raises:
            TaskError: Inputs that the backbone cannot read.
        """
        return self._wait_for(TrainingJob(chunk, party))

    def measure(
        self, question: EvaluationInput, batch_size: int, chunk: int
    ) -> tuple[float, float]:
        """Return accuracy and mean loss, measured together with other runs where that pays.

        On a CPU it does not: there a batch of one run is as fast, an example, as one of four.

        Args:
            question: Of one of :meth:`bank`'s.
            batch_size: Of a client of the run.
            chunk: How many clients of such a run a pass may have.

        Raises:
            TaskError: Inputs that the backbone cannot read, or a split without a target.
        """
        if not self._limits.overlaps_host:
            return measure(question.model, question.vector, question.x, question.y)
        reading = self._wait_for(EvaluationJob(chunk, question, batch_size))
        return reading.accuracy, reading.loss

    def _wait_for(self, job: Job[Result]) -> Result:
        self._turn.release()
        try:
            self._sharing.prepare(job)  # may wait for the device; its errors are the run's own
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
                del done  # or it would keep this frame, which keeps it, and all that it saw
        result: Result = done
        return result

    def _run_passes(self) -> None:
        """Compute what is waited for, if every member waits; hand out each pass's results."""
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
        """Take what is to be computed now off what is waited for."""
        with self._news:
            if len(self._waiting) < self._members:
                return []
            measured = [job for job in self._waiting if isinstance(job, EvaluationJob)]
            taken: Sequence[Job[Any]] = measured or self._waiting
            self._waiting = [job for job in self._waiting if job not in taken]
            return taken
