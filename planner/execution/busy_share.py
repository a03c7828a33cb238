"""Busy share of workers: the fraction of their time in which they trained."""

from __future__ import annotations

import time
from collections.abc import Callable


class BusyShare:
    """Measures the busy share of workers from the numbers of busy ones, told now and then.

    Args:
        workers: Number of workers.
        clock: Function that returns seconds.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._busy = 0
        self._busy_s = 0.0
        self._began_s: float | None = None
        self._noted_s = 0.0

    def note(self, busy: int) -> float | None:
        """Note how many workers are busy from now on; return the share until now.

        The time begins with the first busy worker; the share is None until then.
        """
        now_s = self._clock()
        if self._began_s is None:
            if not busy:
                return None
            self._began_s = self._noted_s = now_s
        self._busy_s += self._busy * (now_s - self._noted_s)
        self._busy, self._noted_s = min(busy, self._workers), now_s
        passed_s = now_s - self._began_s
        return self._busy_s / (self._workers * passed_s) if passed_s else 1.0
