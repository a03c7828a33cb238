"""Training that takes made seconds: a clock that only training moves, and curves without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from floss_sim import RunConfig, load_profile
from floss_sim.analysis.on_test import HitsOnTest
from floss_sim.protocol import Metrics
from floss_sim.records import RunFolder
from floss_sim.runs.lockstep import run_steps
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.training import learner_identity
from planner.execution import begin
from planner.execution.curve_store import CurveStore, Job, last_evaluated_round
from planner.execution.pace import Pace


class RisingLearner(SizeOnlyLearner):
    """Predicted sizes, and an accuracy that rises with the rounds, to more at higher densities."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config.sizes, config.client_examples())
        self.identity = learner_identity(config)
        down = config.method.download_size(config.layout, 0, 1, 0).count / config.layout.entries
        self._best = 0.6 + 0.3 * down**0.2
        self._speed = 20 + 10 * math.log2(1 + config.rank)

    def evaluate(self, version: int) -> Metrics:
        accuracy = self._best * (1 - math.exp(-version / self._speed))
        return Metrics(accuracy, 1 - accuracy, None, None)


class TimedTraining:
    """Stands in for the training processes of the planner.

    Args:
        round_s: Function of the instant: seconds of a round in one process.
        told_round_s: Seconds of a round as the measurement before the search tells them.
        stop_at_s: Instant at which the user interrupts.
    """

    def __init__(
        self,
        round_s: Callable[[float], float],
        told_round_s: float,
        stop_at_s: float = math.inf,
    ) -> None:
        self.now_s = 0.0
        self.calls: list[str] = []
        self._round_s = round_s
        self._told_round_s = told_round_s
        self._stop_at_s = stop_at_s

    def clock(self) -> float:
        return self.now_s

    def install(self, monkeypatch: pytest.MonkeyPatch) -> TimedTraining:
        """Replace the planner's measurement; runs are trained by :meth:`trainer`."""
        monkeypatch.setattr(begin, "measured_pace", self._measure)
        monkeypatch.setattr(begin, "start_workers", self._start)
        return self

    def trainer(self, store: CurveStore, workers: int = 1) -> TimedTrainer:
        """Return what trains the runs of a store in these seconds."""
        return TimedTrainer(self, store, workers)

    def _measure(self, request, trainer, on_tick) -> Pace:
        self.calls.append("measure")
        self.now_s += 8.0
        on_tick()
        config = request.reference()
        sizes = [math.ceil(len(part) / config.client.batch_size) for part in config.clients]
        steps = config.server.cohort * sum(sizes) / len(sizes)
        step_s = self._told_round_s / steps
        return Pace(step_s, step_s / 1.4, step_s * 1.4, 0.0, 5.0, 10**8, measuring_s=3.0)

    def _start(self, request, trainer, on_tick) -> float:
        self.calls.append("start")
        self.now_s += 5.0
        return 5.0

    def train(self, store, workers, jobs, on_tick, until_s) -> list[int]:
        """Train runs, each in the process that is free first."""
        self.calls.append("train")
        free = [self.now_s] * workers
        trained = []
        for config, rounds in jobs:
            worker = free.index(min(free))
            folder = store.create(config)
            before = folder.manifest().rounds
            if before < rounds and free[worker] < until_s:
                free[worker] = self._train(config, folder, rounds, free[worker], until_s)
            trained.append(folder.manifest().rounds - before)
        self.now_s = max(free)
        on_tick()
        if self.now_s >= self._stop_at_s:
            raise KeyboardInterrupt
        return trained

    def _train(
        self, config: RunConfig, folder: RunFolder, rounds: int, now_s: float, until_s: float
    ) -> float:
        """Train a run until an instant, or until the user interrupts; return the instant."""
        until_s = min(until_s, self._stop_at_s)

        def take(row) -> None:
            nonlocal now_s
            now_s += self._round_s(now_s)

        with folder.lock():
            network = load_profile("paper-200-20")
            steps = run_steps(
                config, network, RisingLearner(config), rounds=rounds, folder=folder,
                eval_at={n for n in range(1, rounds + 1) if last_evaluated_round(n) == n},
                commit_every_s=math.inf, on_round=take, stop=lambda: now_s >= until_s,
            )  # fmt: skip
            for job in steps:
                raise AssertionError(job)
        return now_s

    def on_test(self, jobs: Sequence[Job]) -> list[HitsOnTest]:
        """Return the same right predictions for every run; each takes half a second."""
        self.now_s += 0.5 * len(jobs)
        counts = [len(config.task.content.test[1]) for config, _ in jobs]
        return [HitsOnTest(np.arange(n) % 2 * 1.0, 3) for n in counts]


class TimedTrainer:
    """Trainer of made seconds."""

    state = None
    busy_share = None

    def __init__(self, training: TimedTraining, store: CurveStore, workers: int) -> None:
        self.store = store
        self.workers = workers
        self._training = training

    def train(self, jobs: Sequence[Job], on_tick, until_s: float = math.inf) -> list[int | None]:
        return list(self._training.train(self.store, self.workers, jobs, on_tick, until_s))

    def on_test(self, jobs: Sequence[Job]) -> list[HitsOnTest]:
        return self._training.on_test(jobs)

    def failure(self, config: RunConfig) -> str | None:
        return None
