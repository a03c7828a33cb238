"""Rungs of successive halving: on each rung the best third of the runs goes on to the next.

Rungs are fractions of each candidate's own horizon, and runs are resumed. Decisions use only
accuracies up to each rung, so curves that other searches have trained further change nothing. The
last rung ends at the horizon corrected by the real bytes of earlier rounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

RUNGS = (Fraction(1, 27), Fraction(1, 9), Fraction(1, 3), Fraction(1))
KEPT_SHARE = Fraction(1, 3)  # fraction of a rung's runs that goes on


@dataclass(frozen=True)
class Climb:
    """State of a climb under some history.

    Attributes:
        proposals: Extensions that the current rung still needs; empty after the last rung.
        asked: Furthest round requested so far, proposals included, by candidate.
    """

    proposals: Sequence[Extension]
    asked: Mapping[Candidate, int]


@dataclass(frozen=True)
class Ladder:
    """Successive halving of given starters over ``RUNGS``, within an effort.

    Attributes:
        terms: Inputs of the search.
        starters: Candidates on the first rung.
        effort: Rounds of training that may be requested.
        finalists: Runs that should reach the last rung, if the effort allows.
    """

    terms: SearchTerms
    starters: Sequence[Candidate]
    effort: int
    finalists: int = 1

    def climb(self, history: History) -> Climb:
        """Return the state of the climb under a history."""
        terms, alive = self.terms, self.starters
        asked: dict[Candidate, int] = {}
        for rung in RUNGS:
            known = {c: history.get(c, Curve()) for c in alive}
            targets = {c: terms.snap(rung_rounds(terms.horizons[c], rung)) for c in alive}
            if rung == 1:
                alive, targets = self._last_targets(alive, known, asked)
            asked |= targets
            lacking = [c for c in alive if known[c].rounds < targets[c] and not known[c].failed]
            if lacking:
                return Climb([Extension(c, targets[c]) for c in lacking], asked)
            ranked = sorted(alive, key=lambda c: terms.sort_key(c, known[c].at(targets[c])))
            alive = ranked[: survivor_count(len(ranked), self.finalists)]
        return Climb([], asked)

    def _last_targets(
        self, ranked: Sequence[Candidate], known: History, asked: Mapping[Candidate, int]
    ) -> tuple[Sequence[Candidate], dict[Candidate, int]]:
        """Return the best candidates that the effort can finish, and their last rounds.

        At least one candidate goes on, as far as the remaining effort allows.
        """
        terms = self.terms
        horizons = {c: max(known[c].horizon or terms.horizons[c], asked.get(c, 0)) for c in ranked}
        left = self.effort - sum(asked.values())
        for count in range(len(ranked), 0, -1):
            alive = ranked[:count]
            if sum(horizons[c] - asked.get(c, 0) for c in alive) <= left:
                break
        most = {c: min(horizons[c], asked.get(c, 0) + left) for c in alive}
        return alive, {c: max(terms.snap(rounds), asked.get(c, 0)) for c, rounds in most.items()}


def most_rounds(horizons: Sequence[int], rungs: Sequence[Fraction], finalists: int) -> int:
    """Return the most rounds that runs with these horizons can take on these rungs."""
    total, before = 0, Fraction(0)
    alive = sorted(horizons, reverse=True)
    for rung in rungs:
        total += sum(rung_rounds(h, rung) - rung_rounds(h, before) for h in alive)
        alive, before = alive[: survivor_count(len(alive), finalists)], rung
    return total


def rung_rounds(horizon: int, rung: Fraction) -> int:
    """Return ceil(horizon * rung), in integers: multiplying fractions takes ten times as long."""
    return -(-horizon * rung.numerator // rung.denominator)


def most_starters(
    order: Sequence[Candidate],
    terms: SearchTerms,
    effort: int,
    rungs: Sequence[Fraction],
    finalists: int,
) -> Sequence[Candidate]:
    """Return the longest beginning of ``order`` that an effort can take through these rungs.

    Args:
        order: Candidates in order of preference.
        terms: Inputs of the search.
        effort: Rounds of training that may be requested.
        rungs: Fractions of each candidate's own horizon, ascending.
        finalists: Runs that should reach the last rung.
    """
    horizons = [terms.horizons[c] for c in order]
    counts = range(len(order), 0, -1)
    fits = (n for n in counts if most_rounds(horizons[:n], rungs, finalists) <= effort)
    return order[: next(fits, 0)]


def survivor_count(count: int, finalists: int) -> int:
    """Return the number of a rung's ``count`` candidates that go on."""
    return min(count, max(finalists, math.ceil(count * KEPT_SHARE)))
