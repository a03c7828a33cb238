"""The race: halving whose survivors are chosen by what was seen and by what is forecast."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.forecast import Forecast, Trial, backtest, blended, forecast
from planner.lattice import space_filling
from planner.noise import difference
from planner.search import Curve, Extension, History
from planner.space import Candidate
from planner.strategies.halving import FINALISTS
from planner.strategies.race_ledger import Ledger, going, value
from planner.strategies.rungs import RUNGS, most_rounds
from planner.strategies.terms import Terms

NEWCOMERS = 0.25  # of the first rung's rounds
PER_FINALIST = 9  # starters that a further finalist may not cost
_EARLIER = 3  # the first rung's trial forecasts from a third of it, as rungs are a third apart


@dataclass(frozen=True)
class Race(Terms):
    """Resumed halving on fractions of each candidate's own horizon, helped by forecasts.

    Starters are trained for 1/27 of the rounds that the budget affords them; so are newcomers,
    candidates that the model likes best by then, for up to a quarter of that rung. At each rung
    those go on that lead by a blend of two ranks: by smoothed accuracy so far, and by the accuracy
    forecast at their own horizons. The blend's weight is the one that would have ordered earlier
    rungs best (:func:`planner.forecast.backtest`), 0 where forecasts do not help; newcomers are
    then the next starters. As many go on as the effort that is left can take to the end,
    and a rest that finishes further runs does so: a finalist may collapse in its last rounds.

    Where the effort does not suffice for all, starters are spread over ranks and densities, not
    drawn: with ten or twenty of hundreds, a draw often leaves a region unseen, and accuracy is
    smooth enough in them that near starters tell the same. The effort decides how many finish:
    ``FINALISTS``, or fewer where these would leave less than ``PER_FINALIST`` starters to each.

    Decisions look only at accuracies up to each rung, so that curves which other searches have
    taken further change nothing, and a search may stop and go on anywhere.
    """

    spread: tuple[Candidate, ...] = field(init=False)
    starters: tuple[Candidate, ...] = field(init=False)
    finalists: int = field(init=False)

    def __post_init__(self) -> None:
        order = tuple(self.finishable(space_filling(sorted(self.horizons), self.seed)))
        counts = {n: self._count(order, n) for n in range(FINALISTS, 0, -1)}
        enough = (n for n in counts if counts[n] >= min(PER_FINALIST * n, len(order)))
        finalists = next(enough, 1)
        count = counts[finalists]
        if count < len(order):
            count = max(1, round(count * (1 - NEWCOMERS)))
        object.__setattr__(self, "spread", order)
        object.__setattr__(self, "starters", order[:count])
        object.__setattr__(self, "finalists", finalists)

    def _count(self, order: Sequence[Candidate], finalists: int) -> int:
        """Return how many starters can be taken to the end, one at least."""
        horizons = [self.horizons[c] for c in order]
        counts = range(len(order), 1, -1)
        fits = (n for n in counts if most_rounds(horizons[:n], RUNGS, finalists) <= self.effort)
        return next(fits, 1)

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the runs that the current rung lacks, or nothing after the last rung."""
        ledger = self._ledger(history)
        return next((lacking for lacking in self._stages(ledger, []) if lacking), [])

    def _ledger(self, history: History) -> Ledger:
        return Ledger(self.horizons, self.effort, self.snap, history)

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
            if going(curve) and curve.rounds >= self.snap(curve.horizon or self.horizons[c])
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
            last = rung == len(RUNGS) - 1
            if last:
                ledger.weigh()
            ranked = self._ranked(ledger, alive, backtest(rungs))
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
            c: ledger.known[c].until(r // _EARLIER) for c, r in rounds.items() if r >= _EARLIER
        }
        early = {c: curve for c, curve in early.items() if curve.evaluated}
        made = self._forecast(early, {c: rounds[c] for c in early})
        return [self._trial(value(early[c]), made[c], ledger.known[c]) for c in early]

    def _newcomers(self, ledger: Ledger, weight: float) -> Sequence[Candidate]:
        """Return further candidates for the first rung, as far as its rounds go."""
        others = [c for c in self.spread if c not in ledger.asked]
        if weight and others:
            made = self._forecast(ledger.known, {c: self.horizons[c] for c in others})
            others.sort(key=lambda c: (-made[c].mean, self.nbytes[c], c))
        ends = most_rounds([ledger.horizons[c] for c in self.starters], RUNGS, self.finalists)
        spare = min(ledger.spent * NEWCOMERS / (1 - NEWCOMERS), self.effort - ends)
        costs = np.cumsum([math.ceil(self.horizons[c] * RUNGS[0]) for c in others])
        return others[: int(np.searchsorted(costs, spare, side="right"))]

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
            if most_rounds(horizons, RUNGS[rung:], self.finalists) - spent <= ledger.left:
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
