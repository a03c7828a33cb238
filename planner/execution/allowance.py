"""Allowance: rounds that a search may still ask for, as a fixed number or as time that is left.

A time is counted from the moment at which the training processes are loaded. Training stops at
``_TRAINING_SHARE`` of it, because the test accuracy of the reported runs is measured in the rest.
The rounds that are left follow from the speed of the rounds trained so far. Recent rounds weigh
more: a search ends with few, long runs, and other programs may slow the machine down.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_TRAINING_SHARE = 0.97  # fraction of the time after which no further round is begun
_MARGIN = 0.95  # fraction of the time left for which rounds are asked for
_HALF_LIFE = 1 / 8  # fraction of the time after which the weight of a round's speed has halved
_PRIOR = 1 / 50  # fraction of the time that the speed expected before the start counts as


class Allowance(Protocol):
    """What a search may still train."""

    @property
    def until_s(self) -> float:
        """Instant of ``time.monotonic`` after which no further round is begun."""

    @property
    def left_s(self) -> float | None:
        """Seconds that are left for training; None if rounds are counted."""

    def rounds_left(self, asked: int) -> int:
        """Return the rounds that may still be asked for, after so many."""

    def note(self, trained: int, *, before_search: bool = False) -> None:
        """Note that so many rounds were trained since the last note, before the search or in it."""

    def is_over(self) -> bool:
        """Return whether no further round may be begun."""


@dataclass(frozen=True)
class FixedRounds:
    """A fixed number of rounds.

    Attributes:
        rounds: Rounds that may be asked for in all.
        until_s: Infinite: rounds are counted, not seconds.
        left_s: None.
    """

    rounds: int
    until_s: float = math.inf
    left_s: float | None = None

    def rounds_left(self, asked: int) -> int:
        """Return the rounds that may still be asked for, after so many."""
        return self.rounds - asked

    def note(self, trained: int, *, before_search: bool = False) -> None:
        """Do nothing: a number of rounds does not depend on their speed."""

    def is_over(self) -> bool:
        """Return False: a search ends when it asks for no further round."""
        return False


class TimedRounds:
    """Rounds that the time left affords at the speed of training.

    Args:
        training_s: Seconds of training.
        rounds_per_s: Expected speed of all workers together.
        most: Rounds that may be asked for in all, however much time is left.
        beside: Rounds of the baselines that the first training also has.
        spent_s: Seconds of the time that are over already.
        clock: Function that returns seconds.
    """

    def __init__(
        self,
        training_s: float,
        rounds_per_s: float,
        most: int,
        beside: int = 0,
        spent_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.training_s = training_s
        self._clock = clock
        self._noted_s = clock()
        self._began_s = self._noted_s - spent_s
        self._weight_s = _PRIOR * training_s
        self._rounds = rounds_per_s * self._weight_s
        self._most = most
        self._beside = beside

    @property
    def until_s(self) -> float:
        """Instant of the clock after which no further round is begun."""
        return self._began_s + _TRAINING_SHARE * self.training_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since training began."""
        return self._clock() - self._began_s

    @property
    def left_s(self) -> float:
        """Seconds that are left for training."""
        return max(0.0, self.until_s - self._clock())

    @property
    def rounds_per_s(self) -> float:
        """Speed of all workers together, by the rounds trained so far."""
        return self._rounds / self._weight_s

    def rounds_left(self, asked: int) -> int:
        """Return the rounds that may still be asked for, after so many."""
        affordable = int(_MARGIN * self.left_s * self.rounds_per_s) - self._beside
        return max(0, min(affordable, self._most - asked))

    def note(self, trained: int, *, before_search: bool = False) -> None:
        """Note that so many rounds were trained since the last note.

        Time in which nothing was trained, because the store held all, tells nothing of the speed.

        Args:
            trained: The rounds.
            before_search: Whether the first training of the search, which also has the rounds of
                the baselines, is still to come.
        """
        now_s = self._clock()
        spent_s, self._noted_s = now_s - self._noted_s, now_s
        if not before_search:
            self._beside = 0
        if not trained:
            return
        kept = 0.5 ** (spent_s / (_HALF_LIFE * self.training_s))
        self._weight_s = self._weight_s * kept + spent_s
        self._rounds = self._rounds * kept + trained

    def is_over(self) -> bool:
        """Return whether no further round may be begun."""
        return self._clock() >= self.until_s
