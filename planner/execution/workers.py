"""Training in parallel: spawned worker processes, which end with their parent.

Each process trains several runs side by side (:mod:`floss_sim.training.side_by_side`). Their
largest number depends on the device.
"""

from __future__ import annotations

import atexit
import math
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

from floss_sim.analysis.on_test import HitsOnTest
from floss_sim.errors import ConfigError, FlossError, NonFiniteUpdateError
from floss_sim.malloc import keep_freed_memory
from floss_sim.plain_text import warning_line
from floss_sim.runs.config import RunConfig
from floss_sim.training import MAX_RUNS
from planner.execution.curve_store import CurveStore, Job
from planner.execution.spawned import WatchedContext, owned_semaphores

T = TypeVar("T")
_TICK_S = 0.3  # seconds between calls of ``on_tick``


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor of spawned worker processes; an error terminates the workers.

    Workers show warnings as this process does: as one line in a command.

    Raises:
        ConfigError: More processes are asked for than are of any use on this machine.
    """
    most = most_workers()
    if workers > most:
        raise ConfigError(f"{workers} workers; valid: 1 to {most}, four for each core")
    with owned_semaphores():
        plain = warnings.formatwarning is warning_line  # as in the commands
        pool = ProcessPoolExecutor(
            workers, WatchedContext(), initializer=_begin_worker, initargs=(plain,)
        )
    try:
        yield pool
    except BrokenExecutor:
        raise FlossError(
            "a training process died (out of memory?); try fewer --workers; "
            "committed rounds are kept"
        ) from None
    except BaseException:
        for process in pool._processes.values():
            process.terminate()  # their committed rounds are kept; the others are trained again
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def most_workers() -> int:
    """Return the largest number of worker processes: four for each core, and at least 8."""
    return max(8, 4 * (os.cpu_count() or 1))


def _begin_worker(plain_warnings: bool = False) -> None:
    if plain_warnings:
        warnings.formatwarning = warning_line
    atexit.register(os._exit, 0)  # the last to be called: tearing torch down takes a second
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent terminates its workers
    keep_freed_memory()
    _die_with_parent()  # where spawned.WatchedContext does not


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train_all(
    executor: Executor,
    store: CurveStore,
    jobs: Sequence[Job],
    on_tick: Callable[[], None],
    workers: int = 1,
    until_s: float = math.inf,
) -> list[int | None]:
    """Train each run of ``jobs`` up to its round; return how many rounds each trained now.

    Runs whose rounds are in the store start no worker. The others are split into groups with about
    equally many missing rounds; a worker trains the runs of a group side by side. A run that
    diverges gives None.

    Args:
        executor: Executor of functions with picklable arguments.
        store: Store of the runs.
        jobs: Runs, each with the round to reach.
        on_tick: Function without arguments, called a few times a second during training.
        workers: Number of functions that the executor runs at once.
        until_s: Instant of ``time.monotonic`` after which no further round is begun.

    Raises:
        FlossError: A worker failed for a reason other than divergence.
    """
    missing = [rounds - store.rounds(config) for config, rounds in jobs]
    lacking = {i: rounds for i, rounds in enumerate(missing) if rounds > 0}
    futures = {
        submit(executor, _extend_all, store, [jobs[i] for i in indices], until_s): indices
        for indices in _groups(lacking, workers, MAX_RUNS[store.device])
    }
    _await(futures, on_tick)
    trained: dict[int, int | None] = {}
    for future, indices in futures.items():
        trained.update(zip(indices, future.result(), strict=True))
    return [trained.get(index, 0) for index in range(len(jobs))]


def _await(futures: Iterable[Future[Any]], on_tick: Callable[[], None]) -> None:
    """Wait until all calls have ended; an interruption cancels those that have not begun."""
    pending = set(futures)
    try:
        while pending:
            _, pending = wait(pending, timeout=_TICK_S)
            on_tick()
    except KeyboardInterrupt:
        for future in pending:
            future.cancel()  # running jobs end with the pool
        raise


def call_in_each(
    executor: Executor,
    workers: int,
    on_tick: Callable[[], None],
    function: Callable[..., T],
    *arguments: object,
) -> list[T]:
    """Call a function as many times as there are workers, at once; return the results.

    Args:
        executor: Executor of functions with picklable arguments.
        workers: Number of functions that the executor runs at once.
        on_tick: Function without arguments, called a few times a second.
        function: The function.
        arguments: Its arguments.
    """
    futures = [submit(executor, function, *arguments) for _ in range(workers)]
    _await(futures, on_tick)
    return [future.result() for future in futures]


def submit(executor: Executor, function: Callable[..., Any], *arguments: object) -> Future[Any]:
    """Submit a call; SIGINT is blocked while this may start a worker.

    The new worker inherits the mask, so that Ctrl-C reaches only the parent. The parent receives it
    once the pool knows the worker, and can then terminate the worker.
    """
    if not hasattr(signal, "pthread_sigmask"):
        return executor.submit(function, *arguments)
    resource_tracker.ensure_running()  # start it before: its start unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return executor.submit(function, *arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _groups(rounds: Mapping[int, int], workers: int, most: int) -> list[list[int]]:
    """Return groups of jobs with about equally many rounds, spread evenly over the workers.

    Each job goes to the group with the fewest rounds so far, longest job first (Graham, "Bounds on
    Multiprocessing Timing Anomalies", 1969). The group with the most rounds comes first.

    Args:
        rounds: Missing rounds of each job.
        workers: Number of workers.
        most: Number of jobs of a group, at most.
    """
    each = math.ceil(len(rounds) / (workers * most))  # groups of a worker
    groups: list[list[int]] = [[] for _ in range(min(workers * each, len(rounds)))]

    def total(group: Sequence[int]) -> int:
        return sum(rounds[job] for job in group)

    for job in sorted(rounds, key=lambda job: -rounds[job]):
        min((group for group in groups if len(group) < most), key=total).append(job)
    return sorted(groups, key=total, reverse=True)


def _extend_all(
    store: CurveStore, jobs: Sequence[Job], until_s: float = math.inf
) -> list[int | None]:
    """Return how many rounds each run trained, None if it diverged; other errors are raised."""
    trained: list[int | None] = []
    for result in store.extend_all(jobs, until_s):
        if isinstance(result, Exception) and not isinstance(result, NonFiniteUpdateError):
            raise result
        trained.append(None if isinstance(result, Exception) else result)
    return trained


def test_all(
    executor: Executor, store: CurveStore, jobs: Sequence[tuple[RunConfig, int]]
) -> list[HitsOnTest]:
    """Return what each run's last models get right on the test split, given its rounds.

    Cached results start no worker.
    """
    known = [store.cached_on_test(config, rounds) for config, rounds in jobs]
    futures = {
        index: submit(executor, store.on_test, *jobs[index])
        for index, hits in enumerate(known)
        if hits is None
    }
    measured: dict[int, HitsOnTest] = {i: future.result() for i, future in futures.items()}
    return [hits or measured[index] for index, hits in enumerate(known)]
