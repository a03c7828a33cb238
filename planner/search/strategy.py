"""Search interface: a strategy maps the learning curves known so far to the runs to extend next.

A strategy (see :mod:`planner.search`) is a pure function from what is known to what to train
next. It never trains: :func:`search` hands its proposals to an injected "extend these runs", so
that any strategy can be tried on recorded or synthetic curves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner.candidates import Candidate
from planner.curves import Curve, History


@dataclass(frozen=True)
class Extension:
    """A proposal: train a candidate's run up to this many rounds in all."""

    candidate: Candidate
    rounds: int


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
