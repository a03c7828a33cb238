"""Strategies told as scripts: generators that yield what to train and are sent the curves.

A script reads as the search happens. :class:`ScriptedStrategy` makes a strategy of it, pure in
the history: the script is played again and answered from the known curves, each cut to what had
been asked for then, up to the first question that they leave open.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.search.rungs import RUNGS
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

Script = Generator[Sequence[Extension], History, None]


@dataclass(frozen=True)
class ScriptedStrategy(SearchTerms, ABC):
    """A strategy that plays a script."""

    _plays: list[Play] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.check_affordable()

    @abstractmethod
    def script(self) -> Script:
        """Yield runs to extend; be sent the curves of these candidates."""

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the runs that the script's first open question lacks, or nothing after its end.

        A play is kept between calls only to save time, as long as the history agrees with it.
        """
        if not self._plays or not self._plays[0].agrees(history):
            self._plays[:] = [Play(self.script())]
        return self._plays[0].go_on(history)


class Play:
    """One performance of a script, as far as a history answers it."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._told: dict[Candidate, Curve] = {}
        self._open: Sequence[Extension] = next(script, ())

    def agrees(self, history: History) -> bool:
        """Return whether a history holds every answer that the script was given."""
        return all(
            c in history and history[c].until(told.rounds) == told for c, told in self._told.items()
        )

    def go_on(self, history: History) -> Sequence[Extension]:
        """Answer the script from the history; return what its first open question lacks."""
        while self._open:
            known = {e: history.get(e.candidate, Curve()) for e in self._open}
            lacking = [e for e, c in known.items() if c.rounds < e.rounds and not c.failed]
            if lacking:
                return lacking
            answers = {e.candidate: curve.until(e.rounds) for e, curve in known.items()}
            self._told |= answers
            try:
                self._open = self._script.send(answers)
            except StopIteration:
                self._open = ()
        return []


@dataclass
class EffortLedger:
    """What a script has asked for and was told."""

    terms: SearchTerms
    curves: dict[Candidate, Curve] = field(default_factory=dict)

    @property
    def rounds_left(self) -> int:
        """Rounds that may still be asked for."""
        return self.terms.effort - sum(curve.rounds for curve in self.curves.values())

    def ask(self, extensions: Iterable[Extension]) -> Script:
        """Ask for what lies ahead of these runs, if anything does."""
        ahead = [e for e in extensions if e.rounds > self.curve(e.candidate).rounds]
        if ahead:
            self.curves |= yield ahead

    def curve(self, candidate: Candidate) -> Curve:
        """Return what was told of a candidate."""
        return self.curves.get(candidate, Curve())

    def target(self, candidate: Candidate, rung: int) -> int:
        """Return the round of a rung by the horizon as far as known, if the effort allows it."""
        curve = self.curve(candidate)
        rounds = math.ceil(self.terms.horizon(candidate, curve) * RUNGS[rung])
        return self.terms.snap(max(1, min(rounds, curve.rounds + self.rounds_left)))

    def missing_rounds(self, candidate: Candidate) -> int:
        """Return the rounds that a run lacks to be finished."""
        curve = self.curve(candidate)
        return max(0, self.terms.finish_round(candidate, curve) - curve.rounds)

    def score(self, candidate: Candidate) -> float:
        """Return a run's accuracy so far, within its horizon; minus infinity if it failed."""
        curve = self.curve(candidate)
        return -math.inf if curve.failed else curve.at(self.terms.horizon(candidate, curve))

    def finishing_extensions(self, order: Iterable[Candidate], left: int) -> list[Extension]:
        """Return the extensions that finish runs in order, as far as ``left`` rounds suffice.

        First all that can be finished by the shorter horizon, the predicted or the real one; then
        what is left takes them on to the real one.
        """
        chosen: list[Candidate] = []
        for candidate in order:
            if not self.curve(candidate).failed and self.missing_rounds(candidate) <= left:
                chosen.append(candidate)
                left -= self.missing_rounds(candidate)
        extensions = []
        for candidate in chosen:
            shorter = self.curve(candidate).rounds + self.missing_rounds(candidate)
            longer = max(shorter, self.target(candidate, -1))
            rounds = longer if longer - shorter <= left else shorter
            left -= rounds - shorter
            extensions.append(Extension(candidate, rounds))
        return extensions

    def finish(self, order: Iterable[Candidate]) -> Script:
        """Finish runs in order till the effort ends, those that fit at the same time together.

        A run's first rung tells its real horizon.
        """
        waiting = list(order)
        while batch := [e.candidate for e in self.finishing_extensions(waiting, self.rounds_left)]:
            waiting = [candidate for candidate in waiting if candidate not in batch]
            yield from self.ask(Extension(c, self.target(c, 0)) for c in batch)
            yield from self.ask(self.finishing_extensions(batch, self.rounds_left))
