"""Successive halving (Jamieson and Talwalkar 2016), resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.candidates import Candidate
from planner.curves import History
from planner.search.rungs import RUNGS, Ladder, most_rounds, most_starters
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

FINALISTS = 3


@dataclass(frozen=True)
class Halving(SearchTerms):
    """Resumed successive halving on fractions of each candidate's own horizon.

    Every candidate is trained for 1/27 of the rounds that the budget affords it; the best third
    goes on to 1/9, 1/3 and 1 of theirs. At least ``FINALISTS`` finish, if the effort allows. The
    seed chooses the ``starters`` where the effort does not suffice for all.
    """

    starters: tuple[Candidate, ...] = field(init=False)

    def __post_init__(self) -> None:
        order = self.affordable_candidates()
        starters = most_starters(order, self, self.effort, RUNGS, FINALISTS)
        object.__setattr__(self, "starters", tuple(sorted(starters)))

    @property
    def expected_rounds(self) -> int:
        """Rounds that the search takes at most, as predicted."""
        return self.max_search_rounds(self.starters)

    def max_search_rounds(self, starters: Sequence[Candidate]) -> int:
        """Return the most rounds that a search from these starters can take, as predicted."""
        return most_rounds([self.horizons[c] for c in starters], RUNGS, FINALISTS)

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the runs that the current rung lacks, or nothing after the last rung."""
        ladder = Ladder(self, self.starters, self.effort, finalists=FINALISTS)
        return ladder.climb(history).proposals
