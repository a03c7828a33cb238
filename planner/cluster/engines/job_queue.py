"""Executor whose workers are jobs of a queue, spoken to through files (see ``mailbox``)."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from floss_sim.errors import FlossError
from planner.cluster.engines.mailbox import (
    ANSWER,
    ANSWERS,
    BEAT,
    BEAT_S,
    CALL,
    ERROR,
    READY,
    WORKER,
    names,
    put,
)

Answer = Callable[[bytes], bytes]
_EARLY_ENDS = 3  # jobs in a row that end before they are ready, after which no more are started
_END_S = 10.0  # seconds that ended jobs may take to leave the queue


class LostJobError(BrokenExecutor):
    """The job that answered a call has ended."""


class JobQueue(Protocol):
    """Queue that starts worker processes."""

    def start(self, folder: Path, function: Answer) -> str:
        """Submit a worker that serves a folder with a function; return the name of its job."""

    def alive(self) -> Collection[str]:
        """Return the names of the jobs that wait or run."""

    def cancel(self, job: str) -> None:
        """End a job that waits or runs."""

    def last_line(self, job: str) -> str:
        """Return the last line of a job's log; empty if there is none."""


@dataclass
class _Worker:
    """A job of the queue, and the call that it answers."""

    job: str
    name: str
    folder: Path
    ready: bool = False
    number: int = 0  # of its last call
    call: Future[Any] | None = None


class QueueExecutor(Executor):
    """Executor of one function from bytes to bytes, whose workers are jobs of a queue.

    Jobs are submitted when there are calls for them, and stay until :meth:`shutdown`. A job that
    ends is replaced as soon as there is a call for it.

    Args:
        queue: The queue.
        folder: Empty folder that this process and the jobs see; removed by :meth:`shutdown`.
        workers: Number of jobs, at most.
        poll_s: Seconds between two looks at the folder.
    """

    def __init__(self, queue: JobQueue, folder: Path, workers: int, poll_s: float) -> None:
        self._queue, self._folder, self._most, self._poll_s = queue, folder, workers, poll_s
        self._function: Answer | None = None  # that of the first call
        self._waiting: deque[tuple[Future[Any], bytes]] = deque()
        self._workers: list[_Worker] = []
        self._started = self._early_ends = 0
        self._lock, self._closed = threading.Lock(), threading.Event()
        (folder / ANSWERS).mkdir()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Queue a call with bytes of one function, the same in all calls."""
        if function is not (self._function or function) or named or len(arguments) != 1:
            raise ValueError("calls are of one function, with bytes")
        future: Future[Any] = Future()
        with self._lock:
            self._function = function
            if self._closed.is_set():
                raise RuntimeError("the executor is shut down")
            self._waiting.append((future, arguments[0]))
        return future

    def give_up(self, future: Future[Any]) -> None:
        """Cancel a call; the job that answers it now is ended."""
        if future.cancel():
            return
        with self._lock:
            jobs = [worker.job for worker in self._workers if worker.call is future]
        for job in jobs:
            self._queue.cancel(job)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all jobs and remove the folder; calls without an answer are cancelled or lost.

        Args:
            wait: Whether to wait up to 10 s until the jobs have left the queue.
            cancel_futures: No difference: jobs never outlive this executor.
        """
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        self._thread.join()
        for worker in self._workers:
            shutil.rmtree(worker.folder, ignore_errors=True)  # one that rests ends by itself
            self._queue.cancel(worker.job)
            if worker.call is not None:
                worker.call.set_exception(LostJobError(f"job {worker.job} was cancelled"))
        for future in self._drained():
            future.cancel()
        end_s = time.monotonic() + _END_S
        while wait and self._queue.alive() and time.monotonic() < end_s:
            time.sleep(self._poll_s)
        while self._folder.exists() and time.monotonic() < end_s:  # a job may still write
            shutil.rmtree(self._folder, ignore_errors=True)
            time.sleep(self._poll_s)

    def _watch(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # processes started here inherit it: Ctrl-C is ours
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        beat, next_beat_s = 0, 0.0
        while not self._closed.wait(self._poll_s):
            if time.monotonic() >= next_beat_s:
                beat, next_beat_s = beat + 1, time.monotonic() + BEAT_S
                put(self._folder / BEAT, str(beat).encode())
            with self._lock:
                alive = self._queue.alive()
                ended = [*self._answers(), *self._losses(alive)]
                self._hand_out()
                ended += self._start_jobs()
            for future, answer in ended:  # outside the lock: a callback may submit
                if isinstance(answer, bytes):
                    future.set_result(answer)
                else:
                    future.set_exception(answer)

    def _answers(self) -> list[tuple[Future[Any], bytes | Exception]]:
        """Return what workers have answered since the last look; these workers are free again."""
        answers: list[tuple[Future[Any], bytes | Exception]] = []
        found = set(names(self._folder / ANSWERS))
        for worker in self._workers:
            if f"{worker.name}-{READY}" in found:
                worker.ready, self._early_ends = True, 0
            for kind in (ANSWER, ERROR):
                name = f"{worker.name}-{kind}-{worker.number}"
                if worker.call is None or name not in found:
                    continue
                path = self._folder / ANSWERS / name
                content = path.read_bytes()
                path.unlink()
                answer = FlossError(content.decode()) if kind == ERROR else content
                answers.append((worker.call, answer))
                worker.call = None
        return answers

    def _losses(self, alive: Collection[str]) -> list[tuple[Future[Any], Exception]]:
        """Return the calls of jobs that have ended, and forget these jobs.

        If several jobs in a row ended before they were ready, all waiting calls are lost.
        """
        losses: list[tuple[Future[Any], Exception]] = []
        for worker in [worker for worker in self._workers if worker.job not in alive]:
            self._workers.remove(worker)
            shutil.rmtree(worker.folder, ignore_errors=True)
            self._early_ends += not worker.ready
            said = self._queue.last_line(worker.job)
            error = LostJobError(f"job {worker.job} has ended" + (f": {said}" if said else ""))
            lost = self._drained() if self._early_ends >= _EARLY_ENDS else []
            losses += [(future, error) for future in [worker.call, *lost] if future is not None]
        return losses

    def _drained(self) -> list[Future[Any]]:
        """Return the waiting calls, which wait no longer."""
        waiting, self._waiting = self._waiting, deque()
        return [future for future, _ in waiting if future.set_running_or_notify_cancel()]

    def _hand_out(self) -> None:
        for worker in self._workers:
            while worker.ready and worker.call is None and self._waiting:
                future, call = self._waiting.popleft()
                if not future.set_running_or_notify_cancel():
                    continue
                worker.call, worker.number = future, worker.number + 1
                put(worker.folder / f"{CALL}{worker.number}", call)

    def _start_jobs(self) -> list[tuple[Future[Any], bytes | Exception]]:
        """Submit jobs until there is one for each call, or as many as there may be.

        Returns:
            The waiting calls, if the queue takes no job, with the reason.
        """
        starting = sum(not worker.ready for worker in self._workers)
        free = min(self._most - len(self._workers), len(self._waiting) - starting)
        for _ in range(free):
            self._started += 1
            name = f"{self._started:06}"
            folder = self._folder / f"{WORKER}{name}"
            folder.mkdir()
            if self._function is None:
                continue
            try:
                job = self._queue.start(folder, self._function)
            except Exception as error:  # of submitit or of the queue's own command
                reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
                refused = FlossError(f"the queue takes no job: {reason}")
                return [(future, refused) for future in self._drained()]
            self._workers.append(_Worker(job, name, folder))
        return []
