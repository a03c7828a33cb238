"""One stage of the race: rungs and finals within a part of the effort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from planner.candidates import Candidate
from planner.forecasts.features import space_filling_order
from planner.forecasts.forecast import backtest
from planner.search.halving import FINALISTS
from planner.search.run_ranks import RunRanks, evaluated_candidates
from planner.search.rungs import RUNGS, most_rounds
from planner.search.scripted import EffortLedger, Script
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

NEWCOMERS = 0.5  # fraction of the first rung's rounds that newcomers may take
PER_FINALIST = 11  # starters required for each finalist
LEAST_STARTERS = 8  # starters required for the candidates with the longest runs to take part
PAUSE = 0.6  # fraction of its horizon at which a run of the finals pauses and is ranked again
SLOTS = 2  # runs trained at a time in the finals
_LAST = len(RUNGS) - 1


@dataclass(frozen=True)
class RaceStage:
    """Successive halving with resumed runs and forecasts, on fractions of each candidate's horizon.

    **First rung.** The starters are trained for 1/27 of the rounds that the budget affords them.
    Then newcomers, which are the candidates with the best forecasts, are trained for 1/27 of
    theirs; they take up to the fraction ``NEWCOMERS`` of the rung's rounds. If no starter has risen
    above its first accuracy, or if forecasts have the weight 0, the model gives no information and
    the newcomers are spread over the space.

    **Later rungs.** Runs are ranked by a blend of two ranks: by smoothed accuracy so far, and by
    the accuracy forecast at their own horizons. The weight of the forecasts is the largest that
    would have ordered earlier rungs as well as any (:func:`planner.forecasts.forecast.backtest`);
    it is 0 if forecasts mislead. As many of the leading runs go on as the remaining effort can
    take to the end. Unfinished runs of earlier stages take part; rungs that they have passed cost
    nothing.

    **Finals.** After 1/3 of their horizons, runs are finished ``SLOTS`` at a time. Every finished
    run improves the forecasts that choose the next ones. Here the forecast that is ranked is the
    mean plus one standard deviation. Runs pause at ``PAUSE`` of their horizons, so that a run
    whose accuracy falls can be replaced by another. Until a run has finished without a fall,
    enough effort is reserved to finish another one, which may be a new and short run.

    **Starters.** If the effort does not suffice for all candidates, starters are spread over ranks
    and densities instead of drawn at random. With 10 or 20 starters out of hundreds of candidates,
    a random draw often misses a region, and near starters give the same information because
    accuracy is smooth in ranks and densities. The effort also sets the number of finalists:
    ``FINALISTS``, or fewer if each would have fewer than ``PER_FINALIST`` starters. An effort of
    about one long run takes one long starter, chosen blindly. So candidates with the longest runs
    take part only if the effort takes ``LEAST_STARTERS`` starters.

    Attributes:
        terms: Inputs of the search.
        effort: Rounds of training that the search may have taken at the end of this stage.
        spread: The candidates that may take part, in a space-filling order.
        starters: Candidates of the first rung, without newcomers.
        finalists: Number of runs that should finish.
    """

    terms: SearchTerms
    effort: int
    spread: tuple[Candidate, ...] = field(init=False)
    starters: tuple[Candidate, ...] = field(init=False)
    finalists: int = field(init=False)

    def __post_init__(self) -> None:
        order = self._spread_candidates()
        counts = {n: self._starter_count(order, n) for n in range(FINALISTS, 0, -1)}
        enough = (n for n in counts if counts[n] >= min(PER_FINALIST * n, len(order)))
        finalists = next(enough, 1)
        count = counts[finalists]
        if count < len(order):
            count = max(1, round(count * (1 - NEWCOMERS)))
        object.__setattr__(self, "spread", order)
        object.__setattr__(self, "starters", order[:count])
        object.__setattr__(self, "finalists", finalists)

    def _spread_candidates(self) -> tuple[Candidate, ...]:
        """Return the candidates that may take part, in a space-filling order.

        Their runs are as long as ``LEAST_STARTERS`` starters allow, or as many starters as there
        are candidates; if none are so short, as long as the effort allows.
        """
        horizons = self.terms.horizons
        lengths = sorted({h for h in horizons.values() if h <= self.effort}, reverse=True)
        spreads = (self._candidates_within(longest) for longest in lengths)
        enough = (c for c in spreads if self._starter_count(c, 1) >= min(LEAST_STARTERS, len(c)))
        return next(enough, None) or self._candidates_within(self.effort)

    def _candidates_within(self, longest: int) -> tuple[Candidate, ...]:
        """Return the candidates with at most so many rounds, in a space-filling order.

        The one that the prior over tasks favours comes first.
        """
        within = sorted(c for c, horizon in self.terms.horizons.items() if horizon <= longest)
        order = space_filling_order(within, self.terms.seed)
        if (prior := self.terms.prior) is None:
            return tuple(order)
        favourite = prior.order({c: self.terms.horizons[c] for c in within})[0]
        return (favourite, *(c for c in order if c != favourite))

    def _starter_count(self, order: Sequence[Candidate], finalists: int) -> int:
        """Return the number of starters that the effort takes through all rungs, at least 1."""
        horizons = [self.terms.horizons[c] for c in order]
        counts = range(len(order), 1, -1)
        fits = (n for n in counts if most_rounds(horizons[:n], RUNGS, finalists) <= self.effort)
        return next(fits, 1)

    @property
    def ranks(self) -> RunRanks:
        """Ranks of the search's runs."""
        return RunRanks(self.terms)

    @property
    def most_begun(self) -> int:
        """Most candidates of the first rung, newcomers included."""
        whole = len(self.starters) == len(self.spread)
        return len(self.spread) if whole else round(len(self.starters) / (1 - NEWCOMERS))

    def script(self, ledger: EffortLedger, beside: Sequence[Extension] = ()) -> Script:
        """Run the rungs, then the finals.

        Args:
            ledger: Curves and rounds of the search so far; its limit is this stage's effort.
            beside: Runs that are extended together with the starters, if they are not yet.
        """
        first = {c: ledger.target(c, 0) for c in self.starters}
        first |= {e.candidate: e.rounds for e in beside}
        begun = list({**ledger.curves, **first})
        yield from ledger.ask(Extension(c, rounds) for c, rounds in first.items())
        rungs = [self.ranks.trials_from_a_third(ledger, self.starters)]
        newcomers = self._newcomers(ledger, backtest(rungs))
        yield from ledger.ask(Extension(c, ledger.target(c, 0)) for c in newcomers)
        alive: Sequence[Candidate] = list(dict.fromkeys([*self.starters, *newcomers, *begun]))
        alive = [c for c in alive if ledger.missing_rounds(c)]
        for rung in range(1, _LAST):
            ranked = self.ranks.ranking(ledger, alive, backtest(rungs))
            if not ranked:
                break
            alive = self._leaders(ledger, ranked, rung)
            asked = {c: ledger.target(c, rung) for c in alive}
            asked = {c: rounds for c, rounds in asked.items() if rounds > ledger.curve(c).rounds}
            before = {c: ledger.curve(c) for c in asked}
            made = self.ranks.forecast(ledger.curves, asked)
            yield from ledger.ask(Extension(c, rounds) for c, rounds in asked.items())
            rungs.append(self.ranks.trials(ledger, before, made))
        yield from self._finals(ledger, backtest(rungs))

    def further_finals(self, ledger: EffortLedger) -> Script:
        """Go on with the finals of a search that has ended, with the effort that is left."""
        trials = self.ranks.trials_from_a_third(ledger, ledger.curves)
        yield from self._finals(ledger, backtest([trials]))

    def _finals(self, ledger: EffortLedger, weight: float) -> Script:
        """Finish runs, ``SLOTS`` at a time, until none is left or little gain is expected.

        What the whole effort has left over then finishes candidates without a run.
        """
        learned = dict(ledger.curves)
        while options := [
            c
            for c in ledger.curves
            if ledger.missing_rounds(c) and ledger.whole_cost(c) <= ledger.rounds_left
        ]:
            if self.ranks.is_done(ledger):
                return
            ranked = self.ranks.ranking(ledger, options, weight, learned)
            reserved = self.ranks.reserved_rounds(ledger, ranked[:1], self.spread)
            room = ledger.rounds_left - reserved
            room = room if ledger.finishing_extensions(ranked, room) else ledger.rounds_left
            batch = [e.candidate for e in ledger.finishing_extensions(ranked, room)][:SLOTS]
            if not batch:  # every run that could be finished has diverged
                break
            beyond = ledger.effort_left - ledger.rounds_left
            ends = ledger.finishing_extensions(batch, room + beyond)
            yield from ledger.ask([self._pause_extension(ledger, end) for end in ends])
        if ledger.limit is None or not self.ranks.has_sound_finish(ledger):
            yield from ledger.finish(self._newcomer_order(ledger))

    def _pause_extension(self, ledger: EffortLedger, end: Extension) -> Extension:
        """Return a run's extension to its pause, or to its end if it is past the pause."""
        curve = ledger.curve(end.candidate)
        pause = self.terms.snap(max(1, math.ceil(PAUSE * self.terms.horizon(end.candidate, curve))))
        before = curve.rounds < pause < self.terms.finish_round(end.candidate, curve)
        return replace(end, rounds=pause) if before else end

    def _newcomers(self, ledger: EffortLedger, weight: float) -> Sequence[Candidate]:
        """Return the newcomers of the first rung, as many as the rounds for them allow."""
        told = weight and self._has_risen(ledger)
        others = self._newcomer_order(ledger) if told else self._unseen_candidates(ledger)
        ends = most_rounds([self.terms.horizons[c] for c in self.starters], RUNGS, self.finalists)
        first = sum(min(ledger.curve(c).rounds, ledger.target(c, 0)) for c in self.starters)
        spare = min(first * NEWCOMERS / (1 - NEWCOMERS), ledger.rounds_left - (ends - first))
        costs = np.cumsum([math.ceil(self.terms.horizons[c] * RUNGS[0]) for c in others])
        return others[: int(np.searchsorted(costs, spare, side="right"))]

    def _has_risen(self, ledger: EffortLedger) -> bool:
        """Return whether some starter has risen above its first accuracy by more than noise.

        Otherwise the curves contain almost no information for forecasts.
        """
        seen = evaluated_candidates(ledger, self.starters)
        return any(self.ranks.rises(ledger.curve(c)) for c in seen)

    def _unseen_candidates(self, ledger: EffortLedger) -> list[Candidate]:
        return [c for c in self.spread if c not in ledger.curves]

    def _newcomer_order(self, ledger: EffortLedger) -> list[Candidate]:
        """Return the candidates without a run, best forecast first."""
        return self.ranks.by_forecast(ledger, self._unseen_candidates(ledger))

    def _leaders(self, ledger: EffortLedger, ranked: list[Candidate], rung: int) -> list[Candidate]:
        """Return the leading runs that the effort can take to the end, at least one."""
        for count in range(len(ranked), 1, -1):
            horizons = [self.terms.horizon(c, ledger.curve(c)) for c in ranked[:count]]
            spent = sum(ledger.curve(c).rounds for c in ranked[:count])
            if most_rounds(horizons, RUNGS[rung:], self.finalists) - spent <= ledger.rounds_left:
                return ranked[:count]
        return [c for c in ranked if ledger.missing_rounds(c) <= ledger.rounds_left][:1] or ranked[
            :1
        ]
