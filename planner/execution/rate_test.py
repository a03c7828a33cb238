"""Runs of a range test: dense LoRA with the task's learning rates and with others around them.

The runs are kept in the store like all others, so that later plans of the same task share them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import fmean

from floss_sim.errors import BudgetError
from floss_sim.records import RunFolder
from floss_sim.runs.config import RunConfig
from planner.candidates import Candidate
from planner.execution.allowance import Allowance
from planner.execution.curve_store import CurveStore, Job
from planner.execution.trainer import Trainer
from planner.plans.rate_test import RatePair, RateTest, better_rates
from planner.progress import OnProgress, Progress
from planner.question.request import Request

FACTOR = 3.0  # of neighbouring rates
# Rounds of a run, the longest that fits. After 10 rounds, rates that are too large still lead: see
# experiments/task_grids.
LENGTHS = (20, 15)
SHARE = 0.05  # of the search's rounds that a test may take
_TUNING_SHARE = 0.25  # the same where the better rates are asked for
_MOVES = 3  # tests, each around the better pair of the one before, of a plan that is to be tuned
_OTHERS = 8  # pairs around one pair
_OWN = (0, 0)
Steps = tuple[int, int]  # of the clients' rate and the server's: powers of FACTOR from the task's


def length_of_test(request: Request, rounds: int) -> int:
    """Return the rounds of each run of a range test; 0 if there is to be none.

    There is none where the request leaves it out, where rates are searched, and where it would
    take more than ``SHARE`` of the search.

    Args:
        request: The question.
        rounds: Rounds that the search may train.

    Raises:
        BudgetError: The better rates are asked for, but the search is too short to test them.
    """
    if not request.lr_test or request.has_rates:
        return 0
    most = (_TUNING_SHARE if request.tune_lr else SHARE) * rounds / _OTHERS
    fits = [length for length in LENGTHS if length <= min(most, request.max_rounds)]
    if not fits and request.tune_lr:
        raise BudgetError(
            f"a test of learning rates takes {_OTHERS * LENGTHS[-1]} rounds, more than a quarter "
            f"of the {rounds} that the search may train, or more than the cap on rounds; raise "
            "--effort, or set the rates: --set server.learning_rate=0.01"
        )
    return fits[0] if fits else 0


def lacking_rounds(request: Request, store: CurveStore, length: int) -> int:
    """Return the rounds that the store lacks of a range test around the task's rates.

    The task's own run is left out: it is a baseline, which is counted elsewhere.
    """
    lacking = 0
    for steps in _steps_around(_OWN) if length else ():
        folder = store.find(_config(request, steps))
        done = folder.manifest().rounds if folder else 0
        lacking += max(0, length - done) if steps != _OWN else 0
    return lacking


class RangeTest:
    """Runs of a range test.

    Args:
        request: The question.
        length: Rounds of each run.
        trainer: Trainer of the runs.
        on_progress: Function that is called with the progress a few times a second.
        allowance: What may be trained; a time includes the test.
    """

    def __init__(
        self,
        request: Request,
        length: int,
        trainer: Trainer,
        on_progress: OnProgress,
        allowance: Allowance,
    ) -> None:
        self._request = request
        self._length = length
        self._trainer = trainer
        self._on_progress = on_progress
        self._allowance = allowance
        self._tested: dict[Steps, RatePair] = {}
        self._trained = 0

    def result(self) -> RateTest | None:
        """Train the runs, and return what they reached; None if the time was over before.

        If the better pair is asked for, pairs around it are tested next, and so on.
        """
        center = _OWN
        examples = self._request.prediction_counts()["validation"]
        for _ in range(_MOVES if self._request.tune_lr else 1):
            if not self._train(_steps_around(center)):
                return None
            better = better_rates(self._tested[center], self._tested.values(), examples)
            if better is None:
                break
            center = next(steps for steps, pair in self._tested.items() if pair == better)
        tested = tuple(self._tested[steps] for steps in sorted(self._tested))
        own = self._tested[_OWN]
        found = better_rates(own, tested, examples)
        return RateTest(
            rank=self._request.reference_rank,
            rounds=self._length,
            examples=examples,
            client_lr=own.client_lr,
            server_lr=own.server_lr,
            tested=tested,
            better=found,
            tuned=self._request.tune_lr and found is not None,
            trained_now_rounds=self._trained,
        )

    def _train(self, pairs: Iterable[Steps]) -> bool:
        """Train the pairs that are not tested yet; return whether all ran to their end."""
        fresh = [steps for steps in pairs if steps not in self._tested]
        jobs: list[Job] = [(_config(self._request, steps), self._length) for steps in fresh]
        now = Progress(
            f"testing {len(fresh)} pairs of learning rates in {self._length} rounds each"
        )
        trained = self._trainer.train(
            jobs, partial(self._on_progress, now), self._allowance.until_s
        )
        rounds = sum(count or 0 for count in trained)
        self._trained += rounds
        self._allowance.note(rounds, before_search=True)
        for steps, (config, _), count in zip(fresh, jobs, trained, strict=True):
            folder = self._trainer.store.folder(config)
            if count is not None and folder.manifest().rounds < self._length:
                return False
            accuracy = None if count is None else _accuracy(folder, self._length)
            self._tested[steps] = RatePair(
                client_lr=config.client.learning_rate,
                server_lr=config.server.learning_rate,
                accuracy=accuracy,
            )
        return True


def with_rates(request: Request, test: RateTest | None) -> Request:
    """Return the request with the learning rates that a range test has tuned.

    Args:
        request: The question.
        test: The test; the request stays as it is where it is None or has tuned nothing.
    """
    if test is None or not test.tuned or test.better is None:
        return request
    client_lr, server_lr = test.better.client_lr, test.better.server_lr
    task = request.task.with_rates(client_lr, server_lr)
    changes = {"client.learning_rate": client_lr, "server.learning_rate": server_lr}
    origin = request.origin and request.origin.with_changes(task, changes)
    return replace(request, task=task, origin=origin)


def _steps_around(center: Steps) -> list[Steps]:
    """Return a pair of rates, and all pairs that are at most one step away from it in each rate."""
    client, server = center
    around = product((client, client - 1, client + 1), (server, server - 1, server + 1))
    return list(around)


def _config(request: Request, steps: Steps) -> RunConfig:
    """Return the run of dense LoRA at the reference rank with rates so many steps away."""
    own = request.task.client.learning_rate, request.task.server.learning_rate
    client_lr, server_lr = (
        float(f"{rate * FACTOR**step:.6g}") if step else rate
        for rate, step in zip(own, steps, strict=True)
    )
    pair = Candidate(request.reference_rank, 1.0, 1.0, client_lr=client_lr, server_lr=server_lr)
    return request.config(pair)


def _accuracy(folder: RunFolder, rounds: int) -> float:
    """Return the mean validation accuracy of the evaluations in the second half of the rounds."""
    rows = folder.record().evaluated().to_pylist()
    return fmean(row["accuracy"] for row in rows if rounds / 2 < row["round"] <= rounds)
