"""Effort of an asynchronous search: what is left while runs train, and what is kept for whom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.search.rungs import RUNGS
from planner.search.scripted import EffortLedger
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

ASYNC_RUNGS = (*RUNGS[:-1], Fraction(3, 5), RUNGS[-1])  # of a horizon; 3/5: the finals' pause
TOP = len(ASYNC_RUNGS) - 1
PAUSE = TOP - 1  # index of the rung at which finals pause
GOING_ON = Fraction(2, 3)  # fraction of the paused runs that goes on


def rung_round(terms: SearchTerms, candidate: Candidate, curve: Curve, rung: int) -> int:
    """Return the last round of a rung of ``ASYNC_RUNGS``, by real bytes where they are known."""
    return terms.snap(max(1, math.ceil(terms.horizon(candidate, curve) * ASYNC_RUNGS[rung])))


class RunningEffort:
    """Effort that is left while runs train: they count with all rounds that they began for.

    Args:
        terms: Inputs of the search, with its whole effort.
        history: The curves of all answers so far.
        running: The last round of each run that is being extended.
    """

    def __init__(
        self, terms: SearchTerms, history: History, running: Mapping[Candidate, int]
    ) -> None:
        self._terms = terms
        self._running = running
        self._history = history
        self.begun = sum(rounds - self.curve(c).rounds for c, rounds in running.items())
        left = SearchTerms(
            terms.horizons, terms.nbytes, terms.effort - self.begun, terms.seed, terms.snap,
            terms.examples, terms.prior,
        )  # fmt: skip
        self.ledger = EffortLedger(left, dict(history))

    @property
    def left(self) -> int:
        """Rounds that may still be begun."""
        return self.ledger.rounds_left

    def curve(self, candidate: Candidate) -> Curve:
        """Return the curve of a candidate; an empty one if there is none."""
        return self._history.get(candidate, Curve())

    def missing(self, candidate: Candidate) -> int:
        """Return the rounds that a run lacks to be finished, from its last answer on."""
        return self.ledger.missing_rounds(candidate)

    def longest_missing(self) -> int:
        """Return the most rounds that a running one lacks to be finished; 0 if none runs."""
        return max(map(self.missing, self._running), default=0)

    def rung(self, candidate: Candidate) -> int:
        """Return the highest rung that a run has reached; -1 if none."""
        curve = self.curve(candidate)
        if not self.missing(candidate):
            return TOP
        ends = (rung_round(self._terms, candidate, curve, rung) for rung in range(TOP))
        return sum(curve.rounds >= end for end in ends) - 1

    def next_extension(self, candidate: Candidate) -> Extension:
        """Return a run's extension to its next rung, or to its end."""
        curve = self.curve(candidate)
        end = curve.rounds + self.missing(candidate)
        for rung in range(TOP):
            rounds = rung_round(self._terms, candidate, curve, rung)
            if curve.rounds < rounds < end:
                return Extension(candidate, rounds)
        return Extension(candidate, end)

    def affords(self, extension: Extension) -> bool:
        """Return whether the effort suffices to finish a run beside the running finals.

        These need what they lack, as far as paused runs are expected to go on.
        """
        after = self._after(extension)
        ours = after.pop(extension.candidate)
        finals = (n for c, n in after.items() if self._is_final(c, self._running[c]))
        kept = math.ceil(GOING_ON * sum(finals))
        return self._more(extension) + ours + kept <= self.left

    def affords_leader(
        self, extension: Extension, leader: Sequence[Candidate], spare: Sequence[Candidate]
    ) -> bool:
        """Return whether the effort suffices, after an extension, to finish whichever run leads.

        Args:
            extension: The extension.
            leader: The best run that does not train, or nobody.
            spare: Candidates of which another one must be affordable, if finals train.
        """
        after = self._after(extension)
        reserved = max(({c: self.missing(c) for c in leader} | after).values())
        ends = {**self._running, extension.candidate: extension.rounds}
        if any(self._is_final(c, rounds) for c, rounds in ends.items()):
            others = (self.missing(c) for c in spare if c not in after)
            reserved += min((rounds for rounds in others if rounds), default=0)
        return self._more(extension) + reserved <= self.left

    def _more(self, extension: Extension) -> int:
        return extension.rounds - self.curve(extension.candidate).rounds

    def _after(self, extension: Extension) -> dict[Candidate, int]:
        """Return the rounds that running ones lack to be finished, after what they began for."""
        ends = {**self._running, extension.candidate: extension.rounds}
        return {
            c: max(0, self._terms.finish_round(c, self.curve(c)) - rounds)
            for c, rounds in ends.items()
        }

    def _is_final(self, candidate: Candidate, rounds: int) -> bool:
        """Return whether an extension goes to the pause of the finals or beyond."""
        return rounds >= rung_round(self._terms, candidate, self.curve(candidate), PAUSE)
