"""Learning curves of candidates, as far as a search has asked for them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from planner.candidates import Candidate


@dataclass(frozen=True)
class Curve:
    """The learning curve of one candidate.

    Attributes:
        evaluated: Evaluated rounds, ascending.
        accuracies: Validation accuracy at each evaluated round, 0 to 1.
        rounds: Rounds up to which this search has asked for the run.
        failed: Whether the run diverged within these rounds.
        horizon: Rounds that the budget affords, by the real bytes of the first third of the run;
            None until they are known.
    """

    evaluated: tuple[int, ...] = ()
    accuracies: tuple[float, ...] = ()
    rounds: int = 0
    failed: bool = False
    horizon: int | None = None

    def at(self, round_: int) -> float:
        """Return the last accuracy measured up to a round.

        It is minus infinity if there is no such measurement, or if the run had diverged by then.
        """
        index = bisect_right(self.evaluated, round_)
        diverged = self.failed and round_ >= self.rounds
        return self.accuracies[index - 1] if index and not diverged else -math.inf

    def until(self, rounds: int) -> Curve:
        """Return the curve as it was known after at most ``rounds`` rounds."""
        index = bisect_right(self.evaluated, rounds)
        failed = self.failed and rounds >= self.rounds
        known = min(rounds, self.rounds)
        return Curve(self.evaluated[:index], self.accuracies[:index], known, failed, self.horizon)


History = Mapping[Candidate, Curve]
