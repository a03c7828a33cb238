"""The asynchronous race with several workers: its effort, its end, and the replay of its order."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping

import numpy as np
import pytest

from floss_sim.errors import PlanError
from planner.candidates import Candidate, grid
from planner.curves import Curve, History
from planner.execution.curve_store import last_evaluated_round
from planner.search.async_race import AsyncRace
from planner.search.async_strategy import AsyncSearch, FreeWorkers, RecordedOrder, Step
from planner.search.strategy import Extension

SPACE = grid((1, 4, 16), (1.0, 1 / 4, 1 / 16), (1.0, 1 / 4, 1 / 16))


class Pool:
    """Trains made curves on workers whose seconds are drawn by the seed."""

    def __init__(self, seed: int = 0, diverging: float = 0.0) -> None:
        draws = np.random.default_rng(seed)
        self.horizons = {c: int(draws.integers(20, 200)) for c in SPACE}
        self.best = {c: 0.9 - 0.02 * abs(math.log2(c.rank) - 3) for c in SPACE}
        self.ends = {c: draws.random() < diverging for c in SPACE}
        self.reached = dict.fromkeys(SPACE, 0)
        self.most = 0  # extensions that train at once
        self._now, self._draws = 0.0, draws
        self._queue: list[tuple[float, Extension]] = []

    def begin(self, extension: Extension) -> None:
        assert extension.candidate not in {e.candidate for _, e in self._queue}
        assert extension.rounds > self.reached[extension.candidate]
        seconds = extension.rounds * self._draws.uniform(0.5, 2)
        heapq.heappush(self._queue, (self._now + seconds, extension))
        self.most = max(self.most, len(self._queue))

    def answers(self) -> History:
        self._now, extension = heapq.heappop(self._queue)
        c, rounds = extension.candidate, extension.rounds
        self.reached[c] = rounds
        return {c: self.curve(c, rounds)}

    def curve(self, candidate: Candidate, rounds: int) -> Curve:
        seen = tuple(r for r in range(1, rounds + 1) if r == last_evaluated_round(r))
        values = tuple(self.best[candidate] * (1 - math.exp(-r / 30)) for r in seen)
        failed = self.ends[candidate] and rounds > 10
        return Curve(seen, values, rounds, failed, self.horizons[candidate])

    def race(self, effort: int, workers: int) -> AsyncRace:
        nbytes = {c: float(h) for c, h in self.horizons.items()}
        return AsyncRace(
            self.horizons, nbytes, effort, 0, last_evaluated_round, 350, workers=workers
        )


def searched(effort: int, workers: int, diverging: float = 0.0) -> tuple[Pool, AsyncSearch]:
    pool = Pool(3, diverging)
    search = AsyncSearch(pool.race(effort, workers), pool, FreeWorkers(workers))
    search.finish()
    return pool, search


@pytest.mark.parametrize(
    ("workers", "effort", "diverging"), [(4, 250, 0.0), (4, 600, 0.5), (64, 600, 0.0)]
)
def test_many_workers_keep_to_the_effort_and_finish_a_run(
    workers: int, effort: int, diverging: float
):
    pool, search = searched(effort, workers, diverging)
    assert sum(pool.reached.values()) <= effort
    assert 1 < pool.most <= workers
    assert pool.race(effort, workers).finished_candidates(search.history)
    assert all(not pool.ends[c] or pool.reached[c] for c in search.history)


def order_of_answers(steps: list[Step]) -> list[tuple[Candidate, int]]:
    told = sorted((s for s in steps if s.answered), key=lambda s: s.answered or 0)
    return [(s.candidate, s.rounds) for s in told]


def test_the_same_order_of_answers_gives_the_same_decisions():
    """The replay has other seconds: its answers arrive in another order, and wait."""
    _, first = searched(500, 6)
    pool = Pool(3)
    pool._draws = np.random.default_rng(77)
    again = AsyncSearch(pool.race(500, 6), pool, RecordedOrder(first.steps))
    assert again.finish() == first.history
    assert again.steps == first.steps
    other = Pool(3)
    other._draws = np.random.default_rng(77)
    free = AsyncSearch(other.race(500, 6), other, FreeWorkers(6))
    free.finish()
    assert order_of_answers(free.steps) != order_of_answers(first.steps)  # the order matters


def test_a_decision_depends_on_what_is_known_and_what_runs_alone():
    pool, search = searched(500, 6)
    known = dict(sorted(search.history.items(), reverse=True)[:9])
    running = {c: last_evaluated_round(max(2, pool.horizons[c] // 3)) for c in SPACE[:3]}
    running = {c: n for c, n in running.items() if n > known.get(c, Curve()).rounds}
    used, fresh = pool.race(500, 6), pool.race(500, 6)
    used.next_extension({}, {})
    used.next_extension(search.history, {})
    assert used.next_extension(known, running) == fresh.next_extension(known, running)


class TwoRuns:
    """Extends two candidates once each."""

    def next_extension(
        self, history: History, running: Mapping[Candidate, int]
    ) -> Extension | None:
        fresh = [c for c in SPACE[:2] if c not in history and c not in running]
        return Extension(fresh[0], 10) if fresh else None


def test_a_record_of_another_search_is_refused():
    """A third run is told as begun, of which the search knows nothing."""
    steps = [Step(c, 10, 0, n + 1) for n, c in enumerate(SPACE[:2])]
    lost = [steps[0], Step(SPACE[1], 10, 0, 3)]
    assert AsyncSearch(TwoRuns(), Pool(), RecordedOrder(steps)).finish().keys() == {*SPACE[:2]}
    with pytest.raises(PlanError, match="departs from its recorded order"):
        AsyncSearch(TwoRuns(), Pool(), RecordedOrder(lost)).finish()
