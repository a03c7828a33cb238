"""Hyperband (Li et al. 2018), with resumed runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from planner.candidates import Candidate
from planner.search.rungs import RUNGS, most_starters, rung_rounds, survivor_count
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy
from planner.search.strategy import Extension

_ETA = 3  # ratio of two rungs


@dataclass(frozen=True)
class Hyperband(ScriptedStrategy):
    """Hyperband: brackets of successive halving, from many short first runs to few full runs.

    A bracket that starts s rungs below the horizon has ceil(len(RUNGS) / (s + 1) * 3^s) starters,
    or fewer if the remaining effort does not suffice for them. Brackets run one after the other,
    each with new candidates. The first bracket starts at the lowest rung, the next one rung
    higher, and so on; after the bracket that trains to the horizon at once, the cycle starts again.
    The search ends when no further candidate can be finished. If all finished runs have diverged by
    then, the remaining effort finishes the best run that it can. Rungs are fractions of each
    candidate's own horizon.
    """

    def script(self) -> Script:
        """Run the brackets, then finish a run if none is finished."""
        ledger, fresh = EffortLedger(self), self.affordable_candidates()
        for below in cycle(range(len(RUNGS) - 1, -1, -1)):
            fresh = [c for c in fresh if self.horizons[c] <= ledger.rounds_left]
            if not fresh:
                break
            count, rungs = math.ceil(len(RUNGS) / (below + 1) * _ETA**below), RUNGS[-below - 1 :]
            starters = most_starters(fresh[:count], self, ledger.rounds_left, rungs, finalists=1)
            yield from self._bracket(ledger, starters, below)
            fresh = fresh[len(starters) :]
        while not self.finished_candidates(ledger.curves):
            others = self._ranking(ledger, list(ledger.curves))
            ends = ledger.finishing_extensions(others, ledger.rounds_left)[:1]
            if not ends:
                break
            yield from ledger.ask(ends)

    def _bracket(self, ledger: EffortLedger, starters: Sequence[Candidate], below: int) -> Script:
        """Run successive halving from ``below`` rungs under the horizon."""
        alive = list(starters)
        for rung in RUNGS[-below - 1 : -1]:
            targets = {c: self.snap(rung_rounds(self.horizons[c], rung)) for c in alive}
            yield from ledger.ask(Extension(c, rounds) for c, rounds in targets.items())
            alive = self._ranking(ledger, alive)[: survivor_count(len(alive), 1)]
        yield from ledger.ask(ledger.finishing_extensions(alive, ledger.rounds_left))

    def _ranking(self, ledger: EffortLedger, among: Sequence[Candidate]) -> list[Candidate]:
        return sorted(among, key=lambda c: self.sort_key(c, ledger.score(c)))
