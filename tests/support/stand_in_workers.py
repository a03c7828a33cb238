"""Workers of a cluster that answer at once, in another order, late, or never."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from planner.cluster import worker, worker_files
from planner.cluster.engine import Engine

DIES, SILENT = "dies", "silent"


class StandInWorkers(Executor):
    """Executor of this process; the first calls end as they are told to.

    Args:
        ends: Of the first calls; later ones are answered.
        around: Context in which calls are answered.
        reverse: Number of calls that are answered together, the last one first.
        dies_of: Function that tells whether a parcel kills its worker.
        alters: Function that changes an answer on its way, given the job and the answer.
    """

    def __init__(
        self,
        *ends: str,
        around: Callable | None = None,
        reverse: int = 1,
        dies_of: Callable[[bytes], bool] = lambda parcel: False,
        alters: Callable[[bytes, bytes], Any] = lambda parcel, answer: answer,
    ) -> None:
        self.parcels: list[bytes] = []
        self.silent: list[tuple[Future, Callable, bytes]] = []
        self.cancelled: list[Future] = []
        self._ends: Iterator[str] = iter(ends)
        self._around = around or nothing
        self._reverse = reverse
        self._dies_of = dies_of
        self._alters = alters
        self._waiting: list[tuple[Future, Callable, bytes]] = []

    def submit(self, function, /, parcel: bytes) -> Future:  # type: ignore[override]
        self.parcels.append(parcel)
        future: Future = Future()
        end = next(self._ends, "")
        if end == DIES or self._dies_of(parcel):
            future.set_exception(BrokenExecutor("killed"))
        elif end == SILENT:
            self.silent.append((future, function, parcel))
        else:
            self._waiting.append((future, function, parcel))
            if len(self._waiting) >= self._reverse:
                self.answer_waiting()
        return future

    def answer_waiting(self) -> None:
        while self._waiting:
            self._answer(*self._waiting.pop())

    def answer_silent(self) -> None:
        """Answer the calls that were silent so far."""
        while self.silent:
            self._answer(*self.silent.pop())

    def _answer(self, future: Future, function: Callable, parcel: bytes) -> None:
        with self._around():
            made = self._alters(parcel, function(parcel))
        if not future.cancelled():
            future.set_result(made)

    def engine(self, workers: int = 1, patience_s: float = 600.0) -> Engine:
        return Engine(
            self, workers, "stand-in", cancel=self.cancelled.append, patience_s=patience_s
        )


@contextmanager
def nothing() -> Iterator[None]:
    yield


def new_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process a worker that has nothing yet, with its files in a folder."""
    monkeypatch.setenv(worker_files.FOLDER, str(folder))
    for cached in (worker_files._root, worker_files.scratch, worker_files._backbone_mark):
        cached.cache_clear()
    worker_files._read.clear()
    worker._tasks.clear()
