"""A strategy whose effort follows what may still be trained, such as the rounds of the time left.

The steps that a strategy has taken stay; its later decisions are made with the new effort. A step
of many runs is taken in parts, so that the effort is revised in between. If what is left shrinks so
far that a part would leave too little to finish the best run, the strategy ends before the part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.search.async_race import AsyncRace
from planner.search.strategy import Extension, Strategy

_PART = 1 / 4  # fraction of the rounds left that the runs of one part may take


class RevisableStrategy(Strategy, Protocol):
    """A strategy whose effort can be changed while it searches."""

    def revise(self, effort: int) -> None:
        """Change the rounds that the whole search may take."""

    def finish_round(self, candidate: Candidate, curve: Curve) -> int:
        """Return the round at which a run counts as finished."""

    def finished_candidates(self, history: History) -> list[Candidate]:
        """Return the candidates with finished runs."""


@dataclass(frozen=True)
class Following:
    """A strategy whose effort is revised before each proposal but the first.

    Attributes:
        strategy: The strategy.
        rounds_left: Function that returns the rounds that may still be trained.
        reserved: Function of an effort: the rounds of it that are kept for later.
        at_once: Runs that a part has at least, so that no worker idles.
    """

    strategy: RevisableStrategy
    rounds_left: Callable[[], int]
    reserved: Callable[[int], int] = lambda effort: 0
    at_once: int = 2

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the strategy's proposals at its new effort; empty once too little is left."""
        left = self.rounds_left()
        if left <= 0:
            return []
        if history:
            effort = sum(curve.rounds for curve in history.values()) + left
            self.strategy.revise(effort - self.reserved(effort))
        part = self._part(self.strategy.propose(history), history, left)
        return part if self._leaves_enough(part, history, left) else []

    def _part(
        self, proposals: Sequence[Extension], history: History, left: int
    ) -> Sequence[Extension]:
        """Return the first of some proposals; the strategy proposes the others again."""
        fit = sum(
            1 for rounds in accumulate(_new_rounds(proposals, history)) if rounds <= _PART * left
        )
        return proposals[: max(fit, self.at_once)]

    def _leaves_enough(self, part: Sequence[Extension], history: History, left: int) -> bool:
        """Return whether a run is finished, or the best one can be after this part."""
        going = {c: curve for c, curve in history.items() if curve.evaluated and not curve.failed}
        if not going or self.strategy.finished_candidates(history):
            return True
        best = max(going, key=lambda c: (going[c].accuracies[-1], c))
        reached = {best: going[best].rounds} | {p.candidate: p.rounds for p in part}
        ends = {c: self.strategy.finish_round(c, history.get(c, Curve())) for c in reached}
        missing = min(max(0, ends[c] - rounds) for c, rounds in reached.items())
        return sum(_new_rounds(part, history)) + missing <= left


@dataclass(frozen=True)
class AsyncFollowing:
    """An asynchronous race whose effort is revised before each decision but the first.

    Attributes:
        strategy: The race.
        rounds_left: Function that returns the rounds that may still be trained.
        reserved: Function of an effort: the rounds of it that are kept for later.
    """

    strategy: AsyncRace
    rounds_left: Callable[[], int]
    reserved: Callable[[int], int] = lambda effort: 0

    def next_extension(
        self, history: History, running: Mapping[Candidate, int]
    ) -> Extension | None:
        """Return the decision of the race at its new effort; None once nothing is left."""
        left = self.rounds_left()
        if left <= 0:
            return None
        if history:
            effort = sum(curve.rounds for curve in history.values()) + left
            self.strategy.revise(effort - self.reserved(effort))
        return self.strategy.next_extension(history, running)

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the run that a single worker would extend next; empty to stop."""
        extension = self.next_extension(history, {})
        return [extension] if extension else []


def _new_rounds(proposals: Sequence[Extension], history: History) -> list[int]:
    return [p.rounds - history.get(p.candidate, Curve()).rounds for p in proposals]
