"""The door between searches and training: curves in, extensions out.

A strategy (see :mod:`planner.strategies`) is a pure function from what is known to what to train
next. It never trains: :func:`search` hands its proposals to an injected "extend these runs", so
that any strategy can be tried on recorded or synthetic curves.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner.space import Candidate


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


@dataclass(frozen=True)
class Extension:
    """A proposal: train a candidate's run up to this many rounds in all."""

    candidate: Candidate
    rounds: int


History = Mapping[Candidate, Curve]
Extend = Callable[[Sequence[Extension]], History]


class Strategy(Protocol):
    """Says what to train next."""

    def propose(self, history: History) -> Sequence[Extension]:
        """Return runs to extend, or nothing to stop; pure in the history."""


def search(strategy: Strategy, extend: Extend) -> History:
    """Let a strategy propose until it stops; return all that is known then.

    Args:
        strategy: Proposes.
        extend: Trains what is proposed and returns the curves of these candidates.
    """
    history: dict[Candidate, Curve] = {}
    while proposals := strategy.propose(history):
        history.update(extend(proposals))
    return history
