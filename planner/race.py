"""The race: halving whose survivors are chosen by what was seen and by what is forecast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from floss_sim.errors import BudgetError
from floss_sim.rng import stream
from planner.forecast import Forecast, Trial, backtest, blended, features, forecast
from planner.noise import difference, smoothed
from planner.search import FINALISTS, KEPT, RUNGS, Curve, Extension, History
from planner.space import Candidate

NEWCOMERS = 0.25  # of the first rung's rounds
PER_FINALIST = 9  # starters that a further finalist may not cost
_EARLIER = 3  # the first rung's trial forecasts from a third of it, as rungs are a third apart
_PLASTIC = 1.2207440846057596  # its powers are a low-discrepancy lattice of three dimensions


@dataclass(frozen=True)
class Race:
    """Resumed halving on fractions of each candidate's own horizon, helped by forecasts.

    Starters are trained for 1/27 of the rounds that the budget affords them; so are newcomers,
    candidates that the model likes best by then, for up to a quarter of that rung. At each rung
    those go on that lead by a blend of two ranks: by smoothed accuracy so far, and by the accuracy
    forecast at their own horizons. The blend's weight is the one that would have ordered earlier
    rungs best (:func:`planner.forecast.backtest`), 0 where forecasts do not help; newcomers are
    then drawn without the model. As many go on as the effort that is left can take to the end,
    and a rest that finishes further runs does so: a finalist may collapse in its last rounds.

    Where the effort does not suffice for all, starters are spread over ranks and densities, not
    drawn: with ten or twenty of hundreds, a draw often leaves a region unseen, and accuracy is
    smooth enough in them that near starters tell the same. The effort decides how many finish:
    ``FINALISTS``, or fewer where these would leave less than ``PER_FINALIST`` starters to each.

    Decisions look only at accuracies up to each rung, so that curves which other searches have
    taken further change nothing, and a search may stop and go on anywhere.

    Args:
        horizons: Rounds that the budget affords each candidate, as predicted without training.
        nbytes: Predicted bytes of a whole run; breaks ties towards fewer.
        effort: Rounds of training that may be spent; never exceeded.
        seed: Shifts the lattice of starters.
        snap: Rounds a target down to one at which runs are evaluated.
        examples: Validation examples behind every accuracy.
    """

    horizons: Mapping[Candidate, int]
    nbytes: Mapping[Candidate, float]
    effort: int
    seed: int = 0
    snap: Callable[[int], int] = int
    examples: int = 350
    order: tuple[Candidate, ...] = field(init=False)
    starters: tuple[Candidate, ...] = field(init=False)
    finalists: int = field(init=False)

    def __post_init__(self) -> None:
        spread = space_filling(sorted(self.horizons), self.seed)
        order = tuple(c for c in spread if self.horizons[c] <= self.effort)
        if not order:
            raise BudgetError(
                f"an effort of {self.effort} rounds finishes no run, the shortest takes "
                f"{min(self.horizons.values())}; raise --effort"
            )
        counts = {n: self._count(order, n) for n in range(FINALISTS, 0, -1)}
        enough = (n for n in counts if counts[n] >= min(PER_FINALIST * n, len(order)))
        finalists = next(enough, 1)
        count = counts[finalists]
        if count < len(order):
            count = max(1, round(count * (1 - NEWCOMERS)))
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "starters", order[:count])
        object.__setattr__(self, "finalists", finalists)

    def _count(self, order: Sequence[Candidate], finalists: int) -> int:
        """Return how many starters can be taken to the end, one at least."""
        horizons = [self.horizons[c] for c in order]
        counts = range(len(order), 1, -1)
        fits = (n for n in counts if most_rounds(horizons[:n], 0, finalists) <= self.effort)
        return next(fits, 1)

    def bound(self, _: Sequence[Candidate]) -> int:
        """Return the most rounds that the search can take: all of its effort."""
        return self.effort

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the runs that the current rung lacks, or nothing after the last rung."""
        ledger = Ledger(self, history)
        return next((lacking for lacking in self._stages(ledger, []) if lacking), [])

    def trials(self, history: History) -> list[Trial]:
        """Return how the forecasts of all rungs of a search that has stopped turned out."""
        rungs: list[list[Trial]] = []
        for _ in self._stages(Ledger(self, history), rungs):
            pass
        return [trial for rung in rungs for trial in rung]

    def forecasts(self, history: History) -> dict[Candidate, Forecast]:
        """Return the forecast of every candidate at its own horizon, from all that is known."""
        told = {c: curve.horizon or self.horizons[c] for c, curve in history.items()}
        return self._forecast(history, {**self.horizons, **told})

    def best(self, history: History) -> list[Candidate]:
        """Return the finished runs, best first.

        Runs whose smoothed accuracies are within noise of the best are ordered by their
        forecasts: near candidates' curves average out noise that one curve cannot.
        """
        seen = {
            c: value(curve)
            for c, curve in history.items()
            if not curve.failed and curve.rounds >= self.snap(curve.horizon or self.horizons[c])
        }
        if not seen:
            return []
        top = max(seen.values())
        tied = {c for c in seen if seen[c] >= top - difference(top, self.examples)}
        means = self.forecasts(history)
        return sorted(
            seen, key=lambda c: (c not in tied, -(means[c].mean if c in tied else seen[c]))
        )

    def _stages(self, ledger: Ledger, rungs: list[list[Trial]]) -> Iterator[Sequence[Extension]]:
        """Yield what each stage lacks, in order; decisions after one need it to lack nothing."""
        yield ledger.run(self.starters, 0)
        rungs.append(self._first_trials(ledger))
        newcomers = self._newcomers(ledger, backtest(rungs))
        yield ledger.run(newcomers, 0)
        alive: Sequence[Candidate] = [*self.starters, *newcomers]
        for rung in range(1, len(RUNGS)):
            ranked = self._ranked(ledger, alive, backtest(rungs))
            last = rung == len(RUNGS) - 1
            alive = self._finishing(ledger, ranked) if last else self._fitting(ledger, ranked, rung)
            seen = {c: value(ledger.known[c]) for c in alive}
            asked = {c: ledger.target(c, rung) for c in alive}
            made = self._forecast(ledger.known, asked)
            yield ledger.run(alive, rung)
            rungs.append(
                [self._trial(seen[c], made[c], ledger.known[c]) for c in ledger.going(alive)]
            )

    def _trial(self, seen: float, made: Forecast, curve: Curve) -> Trial:
        return Trial(seen, made.of_measurement(self.examples), value(curve))

    def _forecast(
        self, known: History, asked: Mapping[Candidate, int]
    ) -> dict[Candidate, Forecast]:
        return forecast(known, asked, self.examples, max(self.horizons.values()))

    def _first_trials(self, ledger: Ledger) -> list[Trial]:
        """Return trials of forecasts from the earlier part of the first rung to its end."""
        rounds = {c: ledger.asked[c] for c in ledger.going(self.starters)}
        early = {
            c: upto(ledger.known[c], r // _EARLIER) for c, r in rounds.items() if r >= _EARLIER
        }
        early = {c: curve for c, curve in early.items() if curve.evaluated}
        made = self._forecast(early, {c: rounds[c] for c in early})
        return [self._trial(value(early[c]), made[c], ledger.known[c]) for c in early]

    def _newcomers(self, ledger: Ledger, weight: float) -> Sequence[Candidate]:
        """Return further candidates for the first rung, as far as its rounds go."""
        others = [c for c in self.order if c not in ledger.asked]
        if weight and others:
            made = self._forecast(ledger.known, {c: self.horizons[c] for c in others})
            others.sort(key=lambda c: (-made[c].mean, self.nbytes[c], c))
        spare = ledger.spent * NEWCOMERS / (1 - NEWCOMERS)
        costs = np.cumsum([math.ceil(self.horizons[c] * RUNGS[0]) for c in others])
        return others[: int(np.searchsorted(costs, min(spare, ledger.left), side="right"))]

    def _ranked(self, ledger: Ledger, alive: Sequence[Candidate], weight: float) -> list[Candidate]:
        """Return who has not diverged, best first by the blend of what is seen and forecast."""
        alive = ledger.going(alive)
        made = self._forecast(ledger.known, {c: ledger.horizons[c] for c in alive})
        seen = [value(ledger.known[c]) for c in alive]
        ranks = blended(seen, [made[c].mean for c in alive], weight)
        by = dict(zip(alive, ranks.tolist(), strict=True))
        return sorted(alive, key=lambda c: (by[c], self.nbytes[c], c))

    def _fitting(self, ledger: Ledger, ranked: list[Candidate], rung: int) -> list[Candidate]:
        """Return the leaders that the effort can take to the end, one of them at least."""
        for count in range(len(ranked), 1, -1):
            horizons = [ledger.horizons[c] for c in ranked[:count]]
            spent = sum(ledger.asked[c] for c in ranked[:count])
            if most_rounds(horizons, rung, self.finalists) - spent <= ledger.left:
                return ranked[:count]
        return [c for c in ranked if ledger.missing(c) <= ledger.left][:1] or ranked[:1]

    def _finishing(self, ledger: Ledger, ranked: list[Candidate]) -> list[Candidate]:
        """Return all that the effort finishes: the leaders first, then the best forecasts."""
        others = set(ledger.going(list(ledger.known))) - set(ranked)
        made = self._forecast(ledger.known, {c: ledger.horizons[c] for c in others})
        left, finishing = ledger.left, []
        for c in [*ranked, *sorted(others, key=lambda c: (-made[c].mean, c))]:
            if ledger.missing(c) <= left:
                left -= ledger.missing(c)
                finishing.append(c)
        return finishing or ranked[:1]


class Ledger:
    """A replay of a search's decisions: what was asked so far, and what that told.

    Attributes:
        asked: Rounds that each candidate was asked for.
        known: Curves up to these rounds.
        horizons: Rounds that the budget affords, by real bytes where these are known.
    """

    def __init__(self, race: Race, history: History) -> None:
        self.asked: dict[Candidate, int] = {}
        self.known: dict[Candidate, Curve] = {}
        self.horizons = dict(race.horizons)
        self._race = race
        self._history = history

    @property
    def spent(self) -> int:
        """Rounds asked for in all."""
        return sum(self.asked.values())

    @property
    def left(self) -> int:
        """Rounds of the effort that are left."""
        return self._race.effort - self.spent

    def missing(self, candidate: Candidate) -> int:
        """Return the rounds that a candidate lacks to its horizon."""
        return max(0, self.horizons[candidate] - self.asked.get(candidate, 0))

    def target(self, candidate: Candidate, rung: int) -> int:
        """Return the round that a rung asks of a candidate, within the effort."""
        before = self.asked.get(candidate, 0)
        most = min(math.ceil(self.horizons[candidate] * RUNGS[rung]), before + self.left)
        return max(before, self._race.snap(most))

    def run(self, candidates: Sequence[Candidate], rung: int) -> Sequence[Extension]:
        """Ask for a rung; return what is lacking, or take in what is known."""
        for c in candidates:
            self.asked[c] = self.target(c, rung)
        known = {c: self._history.get(c, Curve()) for c in candidates}
        for c in candidates:
            self.known[c] = upto(known[c], self.asked[c])
            self.horizons[c] = known[c].horizon or self.horizons[c]
        return [
            Extension(c, self.asked[c])
            for c in candidates
            if known[c].rounds < self.asked[c] and not known[c].failed
        ]

    def going(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates that have not diverged."""
        return [c for c in candidates if not self.known[c].failed]


def upto(curve: Curve, rounds: int) -> Curve:
    """Return what was known of a curve after so many rounds."""
    evaluated = tuple(r for r in curve.evaluated if r <= rounds)
    accuracies = curve.accuracies[: len(evaluated)]
    return replace(curve, evaluated=evaluated, accuracies=accuracies, rounds=rounds)


def value(curve: Curve) -> float:
    """Return the smoothed accuracy at a curve's end."""
    return smoothed(curve.evaluated, curve.accuracies, curve.rounds)


def most_rounds(horizons: Sequence[int], rung: int, finalists: int) -> int:
    """Return the most rounds in all that runs have taken when the best end their horizons.

    All run up to ``rung``; of these a third, at least the finalists, go on to each next one.
    """
    alive = sorted(horizons, reverse=True)
    total = sum(math.ceil(h * RUNGS[rung]) for h in alive)
    for before, after in zip(RUNGS[rung:], RUNGS[rung + 1 :], strict=False):
        alive = alive[: max(finalists, math.ceil(len(alive) * KEPT))]
        total += sum(math.ceil(h * after) - math.ceil(h * before) for h in alive)
    return total


def space_filling(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return candidates in an order whose every beginning is spread over ranks and densities.

    Points of a low-discrepancy lattice, shifted by the seed, each take the nearest candidate that
    is left; on each axis the different values lie evenly.
    """
    x_ND = np.array([features(c) for c in candidates])
    places = [np.unique(x_N, return_inverse=True) for x_N in x_ND.T]
    unit_ND = np.stack([(at + 0.5) / len(values) for values, at in places], axis=1)
    shift_D = stream(seed, "starters").random(3)
    step_D = _PLASTIC ** -np.arange(1.0, 4.0)
    left = list(range(len(candidates)))
    order = []
    for number in range(len(candidates)):
        away = ((unit_ND[left] - (shift_D + number * step_D) % 1) ** 2).sum(axis=1)
        order.append(candidates[left.pop(int(np.argmin(away)))])
    return order
