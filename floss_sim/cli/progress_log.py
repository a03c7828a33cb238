"""Progress of training in a log: a line at each tenth of the rounds, and at least every 30 seconds.

As long as the number of rounds is not known, the first line is due after 10 seconds: a command that
refuses its input at once prints its one line alone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread

from rich.console import Console

from floss_sim.units import format_duration

_FIRST_S = 10.0  # seconds until the first line, as long as the rounds are not known
_MOST_S = 30.0  # seconds from one line to the next, at most
_TICK_S = 1.0  # seconds after which the thread looks again


@dataclass(frozen=True)
class _State:
    """What is known at an instant; ``done`` may be within a round."""

    at_s: float
    done: float
    total: int
    text: str
    left_s: float | None


class ProgressLog:
    """Prints lines on the progress of rounds, with an estimate of the time left.

    Args:
        say: Prints a line.
        clock: Function that returns seconds.
    """

    def __init__(
        self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._lock = Lock()
        self._state: _State | None = None
        self._seen = -1.0  # rounds of the first call with a number of rounds
        self._first: tuple[float, float] | None = None  # instant and rounds once loading is over
        self._tenths = -1
        self._said_s: float | None = None
        self._wait_s = _FIRST_S

    def update(self, done: float, total: int, text: str, left_s: float | None = None) -> None:
        """Print a line if one is due.

        Args:
            done: Rounds that are done, with the part of the present one that is known to be done.
            total: Rounds in all; 0 if they are not known yet.
            text: The line, without the estimate.
            left_s: Seconds that are left, if they are known; else they are estimated.
        """
        with self._lock:
            now_s = self._clock()
            if total and self._seen < 0:
                self._seen = done
            elif total and self._first is None and done > self._seen:
                self._first = now_s, done
            if self._said_s is None:
                self._said_s = now_s
            self._state = _State(now_s, done, total, text, left_s)
            self._say_if_due(self._state, now_s)

    def repeat(self) -> None:
        """Print the line of the last update again, if one is due."""
        with self._lock:
            if self._state:
                self._say_if_due(self._state, self._clock())

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Print lines that are due while the block is busy, from a thread of their own."""
        ended = Event()
        thread = Thread(target=self._tick, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _tick(self, ended: Event) -> None:
        if hasattr(signal, "pthread_sigmask"):  # Ctrl-C is the main thread's, which may block it
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while not ended.wait(_TICK_S):
            self.repeat()

    def _say_if_due(self, state: _State, now_s: float) -> None:
        """Print the line of a state if it is due; the caller holds the lock."""
        tenths = 10 * int(state.done) // state.total if state.total else -1
        if tenths <= self._tenths and now_s - (self._said_s or 0.0) < self._wait_s:
            return
        self._tenths, self._said_s, self._wait_s = max(tenths, self._tenths), now_s, _MOST_S
        self._say(state.text + self._left(state, now_s))

    def _left(self, state: _State, now_s: float) -> str:
        """Return the addition to a line on the seconds that are left; empty if none are known."""
        if state.done >= state.total:
            return ""
        if state.left_s is not None:
            return f", {format_duration(max(0.0, state.left_s - (now_s - state.at_s)))} left"
        if self._first is None or state.done <= self._first[1]:
            return ""
        began_s, before = self._first
        whole_s = (state.at_s - began_s) / (state.done - before) * (state.total - state.done)
        left_s = whole_s - (now_s - state.at_s)
        return f", about {format_duration(left_s)} left" if left_s > 0 else ""


@contextmanager
def late_lines(text: str) -> Iterator[None]:
    """Print on stderr what a block does, if it takes more than 10 seconds, and every 30 seconds.

    Args:
        text: The line, such as ``"loading the task"``.
    """
    log = ProgressLog(Console(stderr=True, highlight=False, soft_wrap=True).print)
    log.update(0, 0, text)
    with log.ticking():
        yield
