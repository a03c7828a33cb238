"""Successive halving (Jamieson and Talwalkar 2016), with resumed runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.candidates import Candidate
from planner.curves import History
from planner.search.rungs import RUNGS, Ladder, most_rounds, most_starters
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

FINALISTS = 3  # runs that should finish


@dataclass(frozen=True)
class Halving(SearchTerms):
    """Successive halving with resumed runs, on fractions of each candidate's own horizon.

    Every starter is trained for 1/27 of the rounds that the budget affords it. The best third goes
    on to 1/9 of its horizon, of these the best third to 1/3, and of these the best third to the
    end. At least ``FINALISTS`` runs finish if the effort allows. If the effort does not suffice
    for all candidates, the seed chooses the ``starters``.
    """

    starters: tuple[Candidate, ...] = field(init=False)

    def __post_init__(self) -> None:
        order = self.affordable_candidates()
        starters = most_starters(order, self, self.effort, RUNGS, FINALISTS)
        object.__setattr__(self, "starters", tuple(sorted(starters)))

    @property
    def expected_rounds(self) -> int:
        """Most rounds that the search takes, as predicted."""
        return self.max_search_rounds(self.starters)

    def max_search_rounds(self, starters: Sequence[Candidate]) -> int:
        """Return the most rounds that a search from these starters takes, as predicted."""
        return most_rounds([self.horizons[c] for c in starters], RUNGS, FINALISTS)

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the extensions that the current rung still needs; empty after the last rung."""
        ladder = Ladder(self, self.starters, self.effort, finalists=FINALISTS)
        return ladder.climb(history).proposals
