"""Search interface: a strategy maps the learning curves known so far to the runs to extend next.

A strategy (see :mod:`planner.search`) is a pure function of the known curves. It trains nothing:
:func:`search` passes its proposals to a function that extends runs. Any strategy can therefore be
tested on recorded or synthetic curves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner.candidates import Candidate
from planner.curves import Curve, History


@dataclass(frozen=True)
class Extension:
    """A proposal: train a candidate's run up to round ``rounds``."""

    candidate: Candidate
    rounds: int


Extend = Callable[[Sequence[Extension]], History]


class Strategy(Protocol):
    """Interface of a search strategy."""

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the runs to extend next; empty to stop. The result depends on the history only."""


def search(strategy: Strategy, extend: Extend) -> History:
    """Run a strategy until it stops; return the curves of all candidates that were trained.

    Args:
        strategy: The strategy.
        extend: Trains the proposed extensions and returns the curves of their candidates.
    """
    history: dict[Candidate, Curve] = {}
    while proposals := strategy.propose(history):
        history.update(extend(proposals))
    return history
