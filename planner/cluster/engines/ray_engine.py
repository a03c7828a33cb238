"""Ray engine: one actor for each worker.

An actor stays for the whole search, so that it loads its libraries and the data once. (Ray ends the
process of a task that has used a GPU after each call.)
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

from floss_sim.errors import ConfigError
from planner.cluster.engine import Engine
from planner.cluster.engines.extras import ANSWER_S, check_address, check_count, extra

_EARLY_ENDS = 3  # actors in a row that end before they have started, after which none is started


@contextmanager
def open_ray(spec: str, workers: int | None = None, device: str = "auto") -> Iterator[Engine]:
    """Yield the engine of a Ray cluster; its actors end with the block.

    In the block standard output goes to standard error: Ray prints there that a worker has died.

    Args:
        spec: ``ray:auto``, the cluster of this machine, or ``ray:HOST:PORT``.
        workers: Number of actors; None: one for each device of the cluster.
        device: Device of the runs: ``"cuda"``, or ``"auto"`` where the cluster has GPUs, gives each
            actor one GPU; any other one CPU.

    Raises:
        ConfigError: Ray is not installed, no cluster with the same versions of Ray and Python
            answers, or it has fewer devices than asked.
    """
    with extra("ray", "Ray"):
        import ray
    ours = not ray.is_initialized()  # a program may have connected itself
    if ours:
        _connect(ray, spec)
    try:
        found = ray.cluster_resources()
        kind = "GPU" if device == "cuda" or (device == "auto" and found.get("GPU")) else "CPU"
        count = check_count(workers, int(found.get(kind, 0)), spec, f"{kind}s")
        executor = ActorExecutor(ray, count, {"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1})
        try:
            with redirect_stdout(sys.stderr):
                yield Engine(executor, count, spec, cancel=executor.give_up)
        finally:
            executor.shutdown()
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, spec: str) -> None:
    """Connect to a cluster.

    ``ray.init`` waits two minutes for a cluster that does not answer and then ends the process, so
    ``ray status`` asks first.

    Raises:
        ConfigError: No cluster answers, or it has another version of Ray or Python.
    """
    address = spec.partition(":")[2]
    if address != "auto":
        check_address(address, "Ray cluster")
    command = [sys.executable, "-m", "ray.scripts.scripts", "status"]
    try:
        subprocess.run(  # noqa: S603
            command if address == "auto" else [*command, f"--address={address}"],
            capture_output=True, timeout=ANSWER_S, check=True,
        )  # fmt: skip
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (subprocess.SubprocessError, ConnectionError):
        raise ConfigError(
            f"executor {spec}: no Ray cluster answers within {ANSWER_S:.0f} s; "
            "`ray start --head` starts one"
        ) from None
    except RuntimeError as error:  # the text names both versions
        raise ConfigError(f"executor {spec}: {' '.join(str(error).split())}") from None


class LostActorError(BrokenExecutor):
    """The actor that answered a call has ended."""


class Caller:
    """The class of the actors."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a call."""
        return function(*arguments)


class ActorExecutor(Executor):
    """Executor whose workers are actors with one call at a time.

    A call waits here until an actor is free: a call sent to an actor that cannot start would wait
    for it while others are free.

    Args:
        ray: The module ``ray``, connected.
        workers: Number of actors.
        needs: Resources of an actor, such as ``{"num_gpus": 1}``.
    """

    def __init__(self, ray: Any, workers: int, needs: dict[str, int]) -> None:
        self._ray = ray
        self._class = ray.remote(Caller).options(**needs, max_restarts=0, max_task_retries=0)
        self._waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._actors: list[Any] = []
        self._free: list[Any] = []
        self._busy: dict[Future[Any], Any] = {}
        self._early_ends, self._closed = 0, False
        self._lock = threading.RLock()
        for _ in range(workers):
            self._start()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Queue a call; arguments by name are not supported."""
        if named:
            raise ValueError("arguments by name are not supported")
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is shut down")
            self._waiting.append((future, function, arguments))
        self._hand_out()
        return future

    def give_up(self, future: Future[Any]) -> None:
        """Cancel a call; the actor that answers it now is ended, and another takes its place."""
        if future.cancel():
            return
        with self._lock:
            actor = self._busy.get(future)
        if actor is not None:
            self._ray.kill(actor)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all actors; calls without an answer are cancelled or lost.

        Args:
            wait: No difference: an actor ends at once.
            cancel_futures: No difference: actors never outlive this executor.
        """
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            busy, self._busy = self._busy, {}
            actors, self._actors = self._actors, []
        for actor in actors:
            self._ray.kill(actor)
        for future, _, _ in waiting:
            future.cancel()
        for future in busy:
            future.set_exception(LostActorError("the executor is shut down"))

    def _start(self) -> None:
        actor = self._class.remote()
        self._actors.append(actor)
        actor.call.remote(os.getpid).future().add_done_callback(partial(self._on_start, actor))

    def _on_start(self, actor: Any, started: Future[Any]) -> None:
        """Take note that an actor has started, or has not: then all waiting calls may be lost."""
        error = started.exception()
        with self._lock:
            if self._closed:
                return
            self._early_ends = 0 if error is None else self._early_ends + 1
            lost = [] if self._early_ends < _EARLY_ENDS else [*self._waiting]
            for call in lost:
                self._waiting.remove(call)
            if error is None:
                self._free.append(actor)
            else:
                self._actors.remove(actor)
                if self._early_ends < _EARLY_ENDS:
                    self._start()
        for future, _, _ in lost:
            if future.set_running_or_notify_cancel():
                future.set_exception(LostActorError(_last_line(error)))
        self._hand_out()

    def _hand_out(self) -> None:
        with self._lock:
            while self._free and self._waiting:
                future, function, arguments = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    actor = self._busy[future] = self._free.pop()
                    sent = actor.call.remote(function, *arguments).future()
                    sent.add_done_callback(partial(self._on_answer, future))

    def _on_answer(self, future: Future[Any], answered: Future[Any]) -> None:
        """Pass an answer on; an actor that has died is replaced."""
        error = answered.exception()
        with self._lock:
            actor = self._busy.pop(future, None)
            if actor is None:  # shut down
                return
            if isinstance(error, self._ray.exceptions.RayActorError):
                self._actors.remove(actor)
                self._start()
            else:
                self._free.append(actor)
        if error is None:
            future.set_result(answered.result())
        elif isinstance(error, self._ray.exceptions.RayActorError):
            future.set_exception(LostActorError(_last_line(error)))
        else:
            future.set_exception(error)
        self._hand_out()


def _last_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
