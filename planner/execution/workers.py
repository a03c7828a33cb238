"""Worker processes: spawned, and ended with their parent.

Each process trains several runs side by side (:mod:`floss_sim.training.side_by_side`). Their
largest number depends on the device.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
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

from floss_sim.errors import ConfigError, FlossError
from floss_sim.malloc import keep_freed_memory
from floss_sim.plain_text import warning_line
from planner.execution.spawned import WatchedContext, owned_semaphores

T = TypeVar("T")
TICK_S = 0.3  # seconds between calls of ``on_tick``


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor of spawned worker processes; an error terminates the workers.

    Workers show warnings as this process does: as one line in a command.

    Raises:
        ConfigError: More processes are asked for than are of any use on this machine.
    """
    if workers > most_workers():
        raise too_many_workers(workers)
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


def too_many_workers(workers: int) -> ConfigError:
    """Return the error of more processes than are of any use on this machine."""
    valid = f"1 to {most_workers()}, four for each core"
    return ConfigError(f"--workers {workers}: valid: {valid}, or more with --executor")


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


def finish_calls(futures: Iterable[Future[Any]], on_tick: Callable[[], None]) -> None:
    """Wait until all calls have ended; an interruption cancels those that have not begun.

    Args:
        futures: The calls.
        on_tick: Function without arguments, called a few times a second.
    """
    pending = set(futures)
    try:
        while pending:
            _, pending = wait(pending, timeout=TICK_S)
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
    finish_calls(futures, on_tick)
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
