"""Search strategies: pure functions from what is known to what to train next.

A strategy never trains: :func:`search` hands its proposals to an injected "extend these runs", so
that any strategy can be tried on recorded or synthetic curves.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from floss_sim.errors import BudgetError
from floss_sim.rng import stream
from planner.space import Candidate

RUNGS = (Fraction(1, 27), Fraction(1, 9), Fraction(1, 3), Fraction(1))
KEPT = Fraction(1, 3)
FINALISTS = 3


@dataclass(frozen=True)
class Curve:
    """What is known of one candidate: validation accuracies at evaluated rounds, in order.

    ``rounds`` says how far this search had the run trained; ``failed`` that it diverged;
    ``horizon`` how many rounds the budget affords by the bytes of its first third, once known.
    """

    evaluated: tuple[int, ...] = ()
    accuracies: tuple[float, ...] = ()
    rounds: int = 0
    failed: bool = False
    horizon: int | None = None

    def at(self, round_: int) -> float:
        """Return the last accuracy measured up to a round; minus infinity if there is none."""
        index = bisect_right(self.evaluated, round_)
        return self.accuracies[index - 1] if index and not self.failed else -math.inf


@dataclass(frozen=True)
class Extension:
    """A proposal: train a candidate's run up to this many rounds in all."""

    candidate: Candidate
    rounds: int


History = Mapping[Candidate, Curve]
Extend = Callable[[Sequence[Extension]], History]


class Strategy(Protocol):
    """Says what to train next."""

    def propose(self, history: History) -> Sequence[Extension]:
        """Return runs to extend, or nothing to stop; pure in the history."""


def search(strategy: Strategy, extend: Extend) -> History:
    """Let a strategy propose until it stops; return all that is known then.

    Args:
        strategy: Proposes.
        extend: Trains what is proposed and returns the curves of these candidates.
    """
    history: dict[Candidate, Curve] = {}
    while proposals := strategy.propose(history):
        history.update(extend(proposals))
    return history


@dataclass(frozen=True)
class Halving:
    """Resumed successive halving on fractions of each candidate's own horizon.

    Every candidate is trained for 1/27 of the rounds that the budget affords it; the best third
    goes on to 1/9, 1/3 and 1 of theirs (Jamieson and Talwalkar 2016, with resumed runs and one
    horizon a candidate). At least ``FINALISTS`` finish, if the effort allows. Decisions look only
    at accuracies within each rung, so that curves which other searches have taken further change
    nothing. How far the last rung goes follows from the bytes of the rounds before.

    Args:
        horizons: Rounds that the budget affords each candidate, as predicted without training.
        nbytes: Predicted bytes of a whole run; breaks ties towards fewer.
        effort: Rounds of training that may be spent; never exceeded.
        seed: Chooses the starters where the effort does not suffice for all.
        snap: Rounds a target down to one at which runs are evaluated.
    """

    horizons: Mapping[Candidate, int]
    nbytes: Mapping[Candidate, float]
    effort: int
    seed: int = 0
    snap: Callable[[int], int] = int
    starters: tuple[Candidate, ...] = field(init=False)

    def __post_init__(self) -> None:
        order = sorted(self.horizons)
        stream(self.seed, "starters").shuffle(order)
        order = [c for c in order if self.bound([c]) <= self.effort]
        if not order:
            raise BudgetError(
                f"an effort of {self.effort} rounds finishes no run, the shortest takes "
                f"{min(self.horizons.values())}; raise --effort"
            )
        count = next(n for n in range(len(order), 0, -1) if self.bound(order[:n]) <= self.effort)
        object.__setattr__(self, "starters", tuple(sorted(order[:count])))

    def bound(self, starters: Sequence[Candidate]) -> int:
        """Return the most rounds that a search from these starters can take, as predicted."""
        return _most_rounds([self.horizons[c] for c in starters])

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the runs that the current rung lacks, or nothing after the last rung."""
        alive: Sequence[Candidate] = self.starters
        asked: dict[Candidate, int] = {}
        for rung in RUNGS:
            known = {c: history.get(c, Curve()) for c in alive}
            targets = {c: self.snap(math.ceil(self.horizons[c] * rung)) for c in alive}
            if rung == 1:
                alive, targets = self._last(alive, known, asked)
            asked |= targets
            lacking = [c for c in alive if known[c].rounds < targets[c] and not known[c].failed]
            if lacking:
                return [Extension(c, targets[c]) for c in lacking]
            ranked = sorted(alive, key=lambda c: (-known[c].at(targets[c]), self.nbytes[c], c))
            alive = ranked[: survivors(len(ranked))]
        return []

    def _last(
        self, ranked: Sequence[Candidate], known: History, asked: Mapping[Candidate, int]
    ) -> tuple[Sequence[Candidate], dict[Candidate, int]]:
        """Return the best candidates whose horizons the effort suffices for, and these.

        One at least goes on, as far as it was predicted to get.
        """
        horizons = {c: max(known[c].horizon or self.horizons[c], asked.get(c, 0)) for c in ranked}
        left = self.effort - sum(asked.values())
        for count in range(len(ranked), 0, -1):
            alive = ranked[:count]
            if sum(horizons[c] - asked.get(c, 0) for c in alive) <= left:
                break
        most = {c: min(horizons[c], asked.get(c, 0) + left) for c in alive}
        return alive, {c: max(self.snap(rounds), asked.get(c, 0)) for c, rounds in most.items()}


def _most_rounds(horizons: Sequence[int]) -> int:
    """Return the most rounds that runs of these horizons can take through all rungs."""
    total, before = 0, Fraction(0)
    alive = sorted(horizons, reverse=True)
    for rung in RUNGS:
        total += sum(math.ceil(h * rung) - math.ceil(h * before) for h in alive)
        alive, before = alive[: survivors(len(alive))], rung
    return total


def survivors(count: int) -> int:
    """Return how many of a rung's candidates go on."""
    return min(count, max(FINALISTS, math.ceil(count * KEPT)))
