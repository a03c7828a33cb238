"""Hyperband (Li et al. 2018), with resumed runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from planner.curves import History
from planner.search.rungs import RUNGS, Ladder, most_starters
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

_ETA = 3  # ratio of two rungs


@dataclass(frozen=True)
class Hyperband(SearchTerms):
    """Hyperband: brackets of successive halving, from many short first runs to few full runs.

    A bracket that starts s rungs below the horizon has ceil(len(RUNGS) / (s + 1) * 3^s) starters,
    or fewer if the remaining effort does not suffice for them. Brackets run one after the other,
    each with new candidates. The first bracket starts at the lowest rung, the next one rung
    higher, and so on; after the bracket that trains to the horizon at once, the cycle starts again.
    The search ends when no further candidate can be finished. Rungs are fractions of each
    candidate's own horizon.
    """

    def __post_init__(self) -> None:
        self.check_affordable()

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the extensions that the current bracket's rung needs; empty at the end."""
        fresh, left = self.affordable_candidates(), self.effort
        for below in cycle(range(len(RUNGS) - 1, -1, -1)):
            fresh = [c for c in fresh if self.horizons[c] <= left]
            if not fresh:
                break
            count, rungs = math.ceil(len(RUNGS) / (below + 1) * _ETA**below), RUNGS[-below - 1 :]
            starters = most_starters(fresh[:count], self, left, rungs, finalists=1)
            climb = Ladder(self, starters, left, rungs).climb(history)
            if climb.proposals:
                return climb.proposals
            left -= sum(climb.asked.values())
            fresh = fresh[len(starters) :]
        return []
