"""Prefetching: the next training pass runs in a thread while the host encodes earlier uploads.

::

    device   | chunk 1 | chunk 2          | chunk 3 ...
    host     |  waits  | encodes chunk 1  | encodes chunk 2 ...

The clients of the next chunk are predicted. The prefetched result is used if exactly that chunk is
requested. Otherwise it is discarded, and so are its errors: they occur again when the chunk is
computed. So prefetching changes no result, and is part of neither checkpoints nor fingerprints.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from floss_sim.protocol import Dispatch

_THREAD = "floss-sim-pass"
_MAX_WASTED = 3  # passes: prefetching stops once it has wasted this many more than it saved
PassResult = TypeVar("PassResult")
Computation = Callable[[], PassResult]
HostWork = Callable[[], bool]  # does one piece of other work; returns False if none was left


class Prefetch(Generic[PassResult]):
    """A thread that computes passes, one at a time. It ends when this object is garbage-collected.

    A computation must not reference the learner: the thread would keep the learner alive.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, _THREAD)
        # Start the thread now: an executor interrupted by Ctrl-C while it starts its thread starts
        # a second one later.
        self._thread.submit(int).result()
        self._guess: tuple[Sequence[Dispatch], Future[PassResult]] | None = None
        self._last: Future[PassResult] | None = None
        self._credit = _MAX_WASTED
        weakref.finalize(self, _end, self._thread)

    def begin(
        self, chunk: Sequence[Dispatch], prepare: Callable[[], Computation[PassResult]]
    ) -> None:
        """Start the pass of a chunk, unless it is started already or prefetching has stopped.

        Args:
            chunk: Dispatches of the predicted clients.
            prepare: Returns the computation of the pass; called at once, in the caller's thread.
        """
        if self._guess and self._guess[0] == chunk:
            return
        self.drop()
        if self._credit > 0:
            self._guess = chunk, self._submit(prepare())

    def take(self, chunk: Sequence[Dispatch], meanwhile: HostWork) -> PassResult | None:
        """Return the prefetched result of a chunk; None if it was not prefetched or failed.

        Args:
            chunk: Dispatches of the requested clients.
            meanwhile: Other work of the host, done until the pass ends.
        """
        if self._guess is None or self._guess[0] != chunk:
            return None
        future = self._guess[1]
        self.wait_until_idle(meanwhile)
        if future.exception():
            self.drop()
            return None
        self._guess, self._credit = None, self._credit + 1
        return future.result()

    def run(self, task: Computation[PassResult], meanwhile: HostWork) -> PassResult:
        """Compute a pass that was not prefetched, and return its result; its errors are raised.

        Args:
            task: The computation of the pass.
            meanwhile: Other work of the host, done until the pass ends.
        """
        future = self._submit(task)
        try:
            self.wait_until_idle(meanwhile)
            return future.result()
        finally:
            del future  # breaks the cycle future -> error -> traceback -> frame, which keeps memory

    def drop(self) -> None:
        """Discard the prefetched pass, if there is one, and count it as wasted."""
        if self._guess:
            self._guess, self._credit = None, self._credit - 1

    def wait_until_idle(self, meanwhile: HostWork) -> None:
        """Do other work until no pass is running; when no work remains, wait."""
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
    """Shut the thread down and wait for its end, unless this function runs in that thread."""
    own = threading.current_thread().name.startswith(_THREAD)
    thread.shutdown(wait=not own, cancel_futures=True)
