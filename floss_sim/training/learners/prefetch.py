"""A pass that is begun before it is asked for, while the host encodes what the last one led to.

::

    device   | chunk 1 | chunk 2          | chunk 3 ...
    host     |  waits  | encodes chunk 1  | encodes chunk 2 ...

What is begun ahead is a guess: that the next chunk will be of these clients, if nothing happens in
between. It is used if just that chunk is asked for, and thrown away otherwise, errors included:
they come again where the chunk is computed. So guessing changes no result, and is part of no
checkpoint and of no fingerprint.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from floss_sim.protocol import Dispatch

_THREAD = "floss-sim-pass"
_PATIENCE = 3  # so many more guesses may have been thrown away than used
PassResult = TypeVar("PassResult")
Computation = Callable[[], PassResult]
HostWork = Callable[[], bool]  # does a bit of other work; returns whether there was any


class Prefetch(Generic[PassResult]):
    """One thread that computes passes, one at a time; it ends when nobody holds this any longer.

    What is to be computed holds no learner, which a thread would keep alive.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, _THREAD)
        # Started now: Ctrl-C while an executor starts its thread makes it start a second one later.
        self._thread.submit(int).result()
        self._guess: tuple[Sequence[Dispatch], Future[PassResult]] | None = None
        self._last: Future[PassResult] | None = None
        self._patience = _PATIENCE
        weakref.finalize(self, _end, self._thread)

    def begin(
        self, chunk: Sequence[Dispatch], prepare: Callable[[], Computation[PassResult]]
    ) -> None:
        """Begin the pass of a chunk, unless it is begun already or guesses have not paid.

        Args:
            chunk: What is to be computed.
            prepare: Returns what computes it; called here and now.
        """
        if self._guess and self._guess[0] == chunk:
            return
        self.drop()
        if self._patience > 0:
            self._guess = chunk, self._submit(prepare())

    def take(self, chunk: Sequence[Dispatch], meanwhile: HostWork) -> PassResult | None:
        """Return what a chunk has led to; None where it was not begun, or has failed."""
        if self._guess is None or self._guess[0] != chunk:
            return None
        future = self._guess[1]
        self.wait_until_idle(meanwhile)
        if future.exception():
            self.drop()
            return None
        self._guess, self._patience = None, self._patience + 1
        return future.result()

    def run(self, task: Computation[PassResult], meanwhile: HostWork) -> PassResult:
        """Return what a pass leads to that was not begun; its errors are raised here."""
        future = self._submit(task)
        try:
            self.wait_until_idle(meanwhile)
            return future.result()
        finally:
            del future  # an error would hold it, and it the error, with all that the pass held

    def drop(self) -> None:
        """Throw away what was begun."""
        if self._guess:
            self._guess, self._patience = None, self._patience - 1

    def wait_until_idle(self, meanwhile: HostWork) -> None:
        """Do other work until no pass is under way, and wait where there is none."""
        if self._last is None:
            return
        while not self._last.done() and meanwhile():
            pass
        wait([self._last])
        self._last = None

    def _submit(self, task: Computation[PassResult]) -> Future[PassResult]:
        self._last = self._thread.submit(task)
        return self._last


def _end(thread: ThreadPoolExecutor) -> None:
    """Let the thread end, and wait for it, unless it is itself the one that let go."""
    own = threading.current_thread().name.startswith(_THREAD)
    thread.shutdown(wait=not own, cancel_futures=True)
