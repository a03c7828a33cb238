"""Climbing rungs: the best third of the runs on each goes on to the next.

Rungs are fractions of each candidate's own horizon, and runs are resumed. Decisions look only at
accuracies within each rung, so that curves which other searches have taken further change nothing.
After the first rung, a candidate's horizon follows from the bytes that it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from planner.search import Curve, Extension, History
from planner.space import Candidate
from planner.strategies.terms import Terms

RUNGS = (Fraction(1, 27), Fraction(1, 9), Fraction(1, 3), Fraction(1))
KEPT = Fraction(1, 3)


@dataclass(frozen=True)
class Climb:
    """Where a climb stands.

    Attributes:
        proposals: Runs that the current rung lacks; empty after the last.
        asked: The furthest round that was asked for, the proposals included, by candidate.
    """

    proposals: Sequence[Extension]
    asked: Mapping[Candidate, int]


@dataclass(frozen=True)
class Ladder:
    """The rungs that some starters climb, within an effort of rounds.

    At least ``finalists`` reach the last rung, if the effort allows.
    """

    terms: Terms
    starters: Sequence[Candidate]
    effort: int
    rungs: Sequence[Fraction] = RUNGS
    finalists: int = 1

    def climb(self, history: History) -> Climb:
        """Return where the climb stands."""
        terms, alive = self.terms, self.starters
        asked: dict[Candidate, int] = {}
        for i, rung in enumerate(self.rungs):
            known = {c: history.get(c, Curve()) for c in alive}
            horizons = {c: (i and known[c].horizon) or terms.horizons[c] for c in alive}
            left = self.effort - sum(asked.values())
            if i:
                alive = self._affordable(alive, horizons, i, left)
            most = {c: asked.get(c, 0) + left for c in alive}
            targets = {c: terms.snap(min(math.ceil(horizons[c] * rung), most[c])) for c in alive}
            asked |= targets
            lacking = [c for c in alive if known[c].rounds < targets[c] and not known[c].failed]
            if lacking:
                return Climb([Extension(c, targets[c]) for c in lacking], asked)
            ranked = sorted(alive, key=lambda c: terms.order(c, known[c].at(targets[c])))
            alive = ranked[: survivors(len(ranked), self.finalists)]
        return Climb([], asked)

    def _affordable(
        self, ranked: Sequence[Candidate], horizons: Mapping[Candidate, int], rung: int, left: int
    ) -> Sequence[Candidate]:
        """Return the best candidates for which the effort that is left suffices, one at least."""
        counts = range(len(ranked), 1, -1)
        rest, before = self.rungs[rung:], self.rungs[rung - 1]

        def most(count: int) -> int:
            runs = [horizons[c] for c in ranked[:count]]
            return most_rounds(runs, rest, self.finalists, before)

        return ranked[: next((count for count in counts if most(count) <= left), 1)]


def most_rounds(
    horizons: Sequence[int],
    rungs: Sequence[Fraction],
    finalists: int,
    before: Fraction = Fraction(0),
) -> int:
    """Return the most rounds that runs of these horizons can take through these rungs.

    ``before`` is the rung on which they stand.
    """
    total = 0
    alive = sorted(horizons, reverse=True)
    for rung in rungs:
        total += sum(_up(h, rung) - _up(h, before) for h in alive)
        alive, before = alive[: survivors(len(alive), finalists)], rung
    return total


def _up(horizon: int, rung: Fraction) -> int:
    """Return ceil(horizon * rung), in integers: a product of fractions takes ten times as long."""
    return -(-horizon * rung.numerator // rung.denominator)


def most_starters(
    order: Sequence[Candidate],
    terms: Terms,
    effort: int,
    rungs: Sequence[Fraction],
    finalists: int,
) -> Sequence[Candidate]:
    """Return as many of the first candidates as an effort surely takes through these rungs."""
    horizons = [terms.horizons[c] for c in order]
    counts = range(len(order), 0, -1)
    fits = (n for n in counts if most_rounds(horizons[:n], rungs, finalists) <= effort)
    return order[: next(fits, 0)]


def survivors(count: int, finalists: int) -> int:
    """Return how many of a rung's candidates go on."""
    return min(count, max(finalists, math.ceil(count * KEPT)))
