"""Training in parallel: spawned processes of one thread each, which die with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for

from floss_sim.config import RunConfig
from floss_sim.errors import FlossError, NonFiniteUpdateError
from planner.store import CurveStore

_TICK_S = 0.3
Job = tuple[RunConfig, int]


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor of spawned worker processes; on an error nothing more is started."""
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_die_with_parent
    )
    try:
        yield pool
    except BrokenExecutor:
        raise FlossError(
            "a training process died (out of memory?); fewer --workers may help, "
            "and what was committed is kept"
        ) from None
    except BaseException:
        for process in pool._processes.values():
            process.terminate()  # what they committed stands; the rest is trained again
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _die_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train_all(
    executor: Executor, store: CurveStore, jobs: Sequence[Job], on_tick: Callable[[], None]
) -> list[int | None]:
    """Extend each run of ``jobs`` to its round; return the rounds really trained, in order.

    Runs that the store holds start no worker. A run that diverges gives None. ``on_tick`` is
    called a few times a second meanwhile.

    Raises:
        FlossError: Any other error of a worker.
    """
    futures = {
        index: executor.submit(_extend, store, config, rounds)
        for index, (config, rounds) in enumerate(jobs)
        if store.rounds(config) < rounds
    }
    pending = set(futures.values())
    try:
        while pending:
            _, pending = wait(pending, timeout=_TICK_S)
            on_tick()
    except KeyboardInterrupt:
        for future in pending:
            future.cancel()  # what has begun ends with the pool
        raise
    trained = {index: future.result() for index, future in futures.items()}
    return [trained.get(index, 0) for index in range(len(jobs))]


def _extend(store: CurveStore, config: RunConfig, rounds: int) -> int | None:
    try:
        return store.extend(config, rounds)
    except NonFiniteUpdateError:
        return None


def test_all(
    executor: Executor, store: CurveStore, jobs: Sequence[tuple[RunConfig, int]]
) -> list[float]:
    """Return the test accuracy of each run at a round; what is cached starts no worker."""
    known = [store.cached_test(config, round_) for config, round_ in jobs]
    futures = {
        index: executor.submit(store.test, *jobs[index])
        for index, metrics in enumerate(known)
        if metrics is None
    }
    measured = {index: future.result() for index, future in futures.items()}
    return [(metrics or measured[index])["accuracy"] for index, metrics in enumerate(known)]
