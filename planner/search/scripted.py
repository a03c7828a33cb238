"""Strategies written as scripts: generators that yield runs to extend and are sent the curves.

A script lists the steps of a search in their order. :class:`ScriptedStrategy` turns it into a
strategy that depends only on the history. It replays the script from the start and answers each
request from the known curves, cut at the requested rounds. The first request that the history
cannot answer is the strategy's proposal.
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
    """A strategy that is defined by a script."""

    _plays: list[Play] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.check_affordable()

    @abstractmethod
    def script(self) -> Script:
        """Yield the runs to extend; the generator is sent the curves of their candidates."""

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the unanswered part of the script's first open request; empty at its end.

        A replay is kept between calls to save time, as long as it agrees with the history.
        """
        if not self._plays or not self._plays[0].agrees(history):
            self._plays[:] = [Play(self.script())]
        return self._plays[0].go_on(history)


class Play:
    """One replay of a script, up to the first request that a history cannot answer."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._told: dict[Candidate, Curve] = {}
        self._open: Sequence[Extension] = next(script, ())

    def agrees(self, history: History) -> bool:
        """Return whether a history contains every answer that the script was given."""
        return all(
            c in history and history[c].until(told.rounds) == told for c, told in self._told.items()
        )

    def go_on(self, history: History) -> Sequence[Extension]:
        """Answer the script's requests from a history; return the first one's missing part.

        The result is empty when the script has ended.
        """
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
    """Account of a script: the curves it was given, and the effort it has left.

    Attributes:
        terms: Inputs of the search.
        curves: Curves received so far, by candidate.
        limit: Rounds of the effort that may be requested for now, in all; None for all of it. A run
            that is finished within the limit may go beyond it, if its real horizon is longer.
        repeats: Further seeds of a whole run that must fit as well, for the run to be finished.
    """

    terms: SearchTerms
    curves: dict[Candidate, Curve] = field(default_factory=dict)
    limit: int | None = None
    repeats: int = 0

    @property
    def effort_left(self) -> int:
        """Rounds of the effort that may still be requested, whatever the limit."""
        return self.terms.effort - sum(curve.rounds for curve in self.curves.values())

    @property
    def rounds_left(self) -> int:
        """Rounds of the effort, within the limit, that may still be requested."""
        beyond = 0 if self.limit is None else max(0, self.terms.effort - self.limit)
        return self.effort_left - beyond

    def ask(self, extensions: Iterable[Extension]) -> Script:
        """Request those extensions that go beyond the curves received so far."""
        ahead = [e for e in extensions if e.rounds > self.curve(e.candidate).rounds]
        if ahead:
            self.curves |= yield ahead

    def curve(self, candidate: Candidate) -> Curve:
        """Return the curve received for a candidate; an empty one if there is none."""
        return self.curves.get(candidate, Curve())

    def target(self, candidate: Candidate, rung: int) -> int:
        """Return the last round of a rung, at most as far as the remaining effort allows.

        Args:
            candidate: The candidate; its horizon is corrected by real bytes where known.
            rung: Index in ``RUNGS``; -1 is the horizon.
        """
        curve = self.curve(candidate)
        rounds = math.ceil(self.terms.horizon(candidate, curve) * RUNGS[rung])
        return self.terms.snap(max(1, min(rounds, curve.rounds + self.effort_left)))

    def missing_rounds(self, candidate: Candidate) -> int:
        """Return the rounds that a run still needs to count as finished."""
        curve = self.curve(candidate)
        return max(0, self.terms.finish_round(candidate, curve) - curve.rounds)

    def whole_cost(self, candidate: Candidate) -> int:
        """Return the rounds that finish a run and repeat it with ``repeats`` further seeds."""
        whole = self.terms.finish_round(candidate, self.curve(candidate))
        return self.missing_rounds(candidate) + self.repeats * whole

    def score(self, candidate: Candidate) -> float:
        """Return a run's accuracy so far, within its horizon; minus infinity if it failed."""
        curve = self.curve(candidate)
        return -math.inf if curve.failed else curve.at(self.terms.horizon(candidate, curve))

    def finishing_extensions(self, order: Iterable[Candidate], left: int) -> list[Extension]:
        """Return the extensions that finish runs, within ``left`` rounds.

        First every run is chosen, in order, that ``left`` can take to the shorter of its predicted
        and real horizons, and repeat. The remaining rounds then take the chosen runs on to the real
        horizons.
        """
        chosen: list[Candidate] = []
        for candidate in order:
            if not self.curve(candidate).failed and self.whole_cost(candidate) <= left:
                chosen.append(candidate)
                left -= self.whole_cost(candidate)
        extensions = []
        for candidate in chosen:
            shorter = self.curve(candidate).rounds + self.missing_rounds(candidate)
            longer = max(shorter, self.target(candidate, -1))
            rounds = longer if longer - shorter <= left else shorter
            left -= rounds - shorter
            extensions.append(Extension(candidate, rounds))
        return extensions

    def finish(self, order: Iterable[Candidate]) -> Script:
        """Finish runs in order until the effort is spent; runs that fit together train together.

        Every run is first trained to its first rung, then to the horizon known by then.
        """
        waiting = list(order)
        while batch := [e.candidate for e in self.finishing_extensions(waiting, self.rounds_left)]:
            waiting = [candidate for candidate in waiting if candidate not in batch]
            yield from self.ask(Extension(c, self.target(c, 0)) for c in batch)
            yield from self.ask(self.finishing_extensions(batch, self.rounds_left))
