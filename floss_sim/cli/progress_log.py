"""Progress of training in a log: a line at each tenth, and at least every 30 seconds.

As long as the number of rounds is not known, the first line is due after 30 seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from floss_sim.units import format_duration

_MOST_S = 30.0  # seconds from one line to the next, at most


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
        self._seen = -1  # rounds of the first call
        self._first: tuple[float, int] | None = None  # instant and rounds once loading is over
        self._tenths = -1
        self._said_s: float | None = None

    def update(self, done: int, total: int, text: str, left_s: float | None = None) -> None:
        """Print a line if one is due.

        Args:
            done: Rounds that are done.
            total: Rounds in all; 0 if they are not known yet.
            text: The line, without the estimate.
            left_s: Seconds that are left, if they are known; else they are estimated.
        """
        now_s = self._clock()
        if self._seen < 0:
            self._seen = done
        elif self._first is None and done > self._seen:
            self._first = now_s, done
        if self._said_s is None:
            self._said_s = now_s
        tenths = 10 * done // total if total else -1
        if tenths <= self._tenths and now_s - self._said_s < _MOST_S:
            return
        self._tenths, self._said_s = max(tenths, self._tenths), now_s
        known = left_s is not None and done < total
        self._say(
            f"{text}, {format_duration(left_s or 0.0)} left"
            if known
            else text + self._left(now_s, done, total)
        )

    def _left(self, now_s: float, done: int, total: int) -> str:
        if self._first is None or done <= self._first[1] or done >= total:
            return ""
        began_s, before = self._first
        left_s = (now_s - began_s) / (done - before) * (total - done)
        return f", about {format_duration(left_s)} left"
