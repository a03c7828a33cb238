"""Learning curves of candidates, as a search knows them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from planner.candidates import Candidate


@dataclass(frozen=True)
class Curve:
    """What is known of one candidate: validation accuracies at evaluated rounds, in order.

    ``rounds`` says how far this search had the run trained; ``failed`` that it diverged on the way
    there; ``horizon`` how many rounds the budget affords by the bytes of its first third, once
    known.
    """

    evaluated: tuple[int, ...] = ()
    accuracies: tuple[float, ...] = ()
    rounds: int = 0
    failed: bool = False
    horizon: int | None = None

    def at(self, round_: int) -> float:
        """Return the last accuracy measured up to a round.

        Minus infinity if there is none, or if the run had diverged by then.
        """
        index = bisect_right(self.evaluated, round_)
        diverged = self.failed and round_ >= self.rounds
        return self.accuracies[index - 1] if index and not diverged else -math.inf

    def until(self, rounds: int) -> Curve:
        """Return what was known when the run had been trained this far, or less."""
        index = bisect_right(self.evaluated, rounds)
        failed = self.failed and rounds >= self.rounds
        known = min(rounds, self.rounds)
        return Curve(self.evaluated[:index], self.accuracies[:index], known, failed, self.horizon)


History = Mapping[Candidate, Curve]
