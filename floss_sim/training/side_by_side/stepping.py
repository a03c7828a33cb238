"""One loop for several runs of a process: it steps them, and trains together what they wait for.

A run is a generator (:func:`floss_sim.runs.lockstep.run_steps`) with a simulator, a learner and a
record of its own. It yields a job when a cohort is ready to train. When every run that can go on
has yielded one, jobs that can be batched are computed in one pass, and these runs go on::

    run A   ... dispatch, job |                   | encode, aggregate, dispatch, job |
    run B                     | ... dispatch, job |                                  | encode, ...
    loop                      |                   | pass of A and B                  |

**A run's record does not depend on the other runs**: ``bit_checks.py`` explains and checks this.

A run that yields None cannot go on yet, because another process holds the lock of its folder. It is
asked again after each pass; the other runs do not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import torch

from floss_sim.protocol import Job
from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.model import Bank, banked_layers
from floss_sim.training.side_by_side.bit_checks import BitChecks, Doubt
from floss_sim.training.side_by_side.training_job import TrainingJob

Clock = Callable[[], float]
T = TypeVar("T")
Steps = Generator[Job | None, None, T]
_ASK_AGAIN_S = 0.1  # seconds until a folder is tried again, if no run can go on


class SideBySide:
    """Trains several runs of a process on one device.

    Args:
        checks: Rules and checks of passes that several runs share.
        build_bank: Returns a new bank for a run.
    """

    def __init__(self, checks: BitChecks, build_bank: Callable[[RunConfig], Bank]) -> None:
        self._checks = checks
        self._build_bank = build_bank
        self._banks: dict[object, Bank] = {}

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
            client.gradient_checkpointing, client.frozen_prefix,
            client.frozen_dropout,
        )  # fmt: skip
        if key not in self._banks:
            self._banks[key] = self._build_bank(config)
        return self._banks[key]

    def finish(
        self,
        runs: Sequence[tuple[Path, Callable[[Clock], Steps[T]]]],
        on_doubt: Callable[[Doubt], object] = lambda doubt: None,
    ) -> list[T | Exception]:
        """Step runs to their ends; return the value of each, or the error that ended it.

        Args:
            runs: For each run its folder, and a function that begins it. The function is given a
                clock of the run's host seconds: its own steps, and its shares of passes.
            on_doubt: Called for each run whose last bits turn out to be doubtful, also for runs of
                earlier calls.
        """
        every = [_Run(folder, begin) for folder, begin in runs]
        try:
            while going := [run for run in every if not run.ended]:
                self._step(going, on_doubt)
        finally:
            for run in every:
                run.close()
        return [run.result for run in every]

    def _step(self, going: Sequence[_Run[T]], on_doubt: Callable[[Doubt], object]) -> None:
        """Step each run to its next job, and compute the jobs."""
        for run in going:
            run.advance()
        waiting = {run.job: run for run in going if run.job}
        for jobs in self._checks.passes(waiting):
            self._compute([waiting[job] for job in jobs], jobs)
        for doubt in self._checks.take_doubts():
            on_doubt(doubt)
        if not waiting and any(not run.ended for run in going):
            time.sleep(_ASK_AGAIN_S)

    def _compute(self, runs: Sequence[_Run[T]], jobs: Sequence[TrainingJob]) -> None:
        began_s = time.monotonic()
        results = self._checks.results(jobs, [run.folder for run in runs])
        spent_s, clients = time.monotonic() - began_s, sum(job.clients for job in jobs)
        for run, job, result in zip(runs, jobs, results, strict=True):
            run.clock.seconds += spent_s * job.clients / clients
            run.settle(job, result)


class _Stopwatch:
    """Host seconds of one run."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began_s: float | None = None

    def __call__(self) -> float:
        """Return the seconds until now."""
        began_s = self._began_s
        return self.seconds + (0.0 if began_s is None else time.monotonic() - began_s)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the seconds of the block."""
        self._began_s = time.monotonic()
        try:
            yield
        finally:
            self.seconds, self._began_s = self(), None


class _Run(Generic[T]):
    """A run that is stepped.

    Attributes:
        folder: The run's folder, which names it.
        clock: The run's host seconds.
        job: The job for which it stands still; None if it waits for its folder, or has ended.
        ended: Whether it has ended.
        result: Its value, or the error that ended it.
    """

    def __init__(self, folder: Path, begin: Callable[[Clock], Steps[T]]) -> None:
        self.folder = folder
        self.clock = _Stopwatch()
        self.job: TrainingJob | None = None
        self.ended = False
        self.result: T | Exception
        self._steps = begin(self.clock)
        self._error: Exception | None = None

    def advance(self) -> None:
        """Step the run to its next training job, or to its end."""
        self.job = None
        with self.clock.running():
            try:
                self.job = self._step()
            except StopIteration as end:
                self.ended, self.result = True, end.value
            except Exception as error:
                self.ended, self.result = True, error

    def _step(self) -> TrainingJob | None:
        error, self._error = self._error, None
        job = self._steps.throw(error) if error else next(self._steps)
        if job is not None and not isinstance(job, TrainingJob):
            raise TypeError(f"{type(job).__name__} cannot be computed in a shared pass")
        return job

    def close(self) -> None:
        """End the run where it stands, so that it lets go of its folder."""
        self._steps.close()

    def settle(self, job: TrainingJob, result: torch.Tensor | Exception) -> None:
        """Hand the result of its job to the run; an error is raised in it at its next step."""
        try:
            job.settle(result)
        except Exception as error:
            self._error = error
