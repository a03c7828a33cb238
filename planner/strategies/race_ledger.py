"""A replay of a search's decisions: what was asked for so far, and what that told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from planner.noise import smoothed
from planner.search import Curve, Extension, History
from planner.space import Candidate
from planner.strategies.rungs import RUNGS


class Ledger:
    """What a search has asked for, and known, up to some point of its replay.

    Attributes:
        asked: Rounds that each candidate was asked for.
        known: Curves up to these rounds.
        horizons: Rounds that the budget affords; by real bytes once :meth:`weigh` was called.
    """

    def __init__(
        self,
        horizons: Mapping[Candidate, int],
        effort: int,
        snap: Callable[[int], int],
        history: History,
    ) -> None:
        self.asked: dict[Candidate, int] = {}
        self.known: dict[Candidate, Curve] = {}
        self.horizons = dict(horizons)
        self._effort = effort
        self._snap = snap
        self._history = history

    @property
    def spent(self) -> int:
        """Rounds asked for in all."""
        return sum(self.asked.values())

    @property
    def left(self) -> int:
        """Rounds of the effort that are left."""
        return self._effort - self.spent

    def missing(self, candidate: Candidate) -> int:
        """Return the rounds that a candidate lacks to its horizon."""
        return max(0, self.horizons[candidate] - self.asked.get(candidate, 0))

    def target(self, candidate: Candidate, rung: int) -> int:
        """Return the round that a rung asks of a candidate, within the effort."""
        before = self.asked.get(candidate, 0)
        most = min(math.ceil(self.horizons[candidate] * RUNGS[rung]), before + self.left)
        return max(before, self._snap(most))

    def run(self, candidates: Sequence[Candidate], rung: int) -> Sequence[Extension]:
        """Ask for a rung; return what is lacking, or take in what is known."""
        for c in candidates:
            self.asked[c] = self.target(c, rung)
        known = {c: self._history.get(c, Curve()) for c in candidates}
        for c in candidates:
            self.known[c] = known[c].until(self.asked[c])
        return [
            Extension(c, self.asked[c])
            for c in candidates
            if known[c].rounds < self.asked[c] and not known[c].failed
        ]

    def weigh(self) -> None:
        """Take the horizons that real bytes tell, before the last rung: earlier ones are set."""
        for c, curve in self.known.items():
            self.horizons[c] = curve.horizon or self.horizons[c]

    def going(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates that may go on."""
        return [c for c in candidates if going(self.known[c])]


def going(curve: Curve) -> bool:
    """Return whether a run was evaluated and has not diverged."""
    return bool(curve.evaluated) and not curve.failed


def value(curve: Curve) -> float:
    """Return the smoothed accuracy at a curve's end."""
    return smoothed(curve.evaluated, curve.accuracies, curve.rounds)
