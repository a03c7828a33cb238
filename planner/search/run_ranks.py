"""Ranks of a search's runs, by accuracy and by forecasts, and the rule by which a search ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.forecasts.falls import curve_fall, peak_round
from planner.forecasts.forecast import Forecast, Trial, blended_ranks, forecast
from planner.forecasts.gain import STOP_SHARE, expected_gain, gain_of_forecasts
from planner.forecasts.intervals import LEVEL, KnownCurves, is_vague
from planner.forecasts.smoothing import difference_error, smoothed_accuracy
from planner.search.scripted import EffortLedger
from planner.search.terms import SearchTerms

LEAST_SHARE = 0.3  # fraction of the effort before which a search does not end
_EARLIER = 3  # ratio: the first rung's backtest forecasts from 1/3 of it, the step between rungs


@dataclass(frozen=True)
class RunRanks:
    """Ranks of runs by a blend of two: by accuracy so far, and by forecast accuracy.

    Attributes:
        terms: Inputs of the search, with its whole effort.
    """

    terms: SearchTerms

    def forecast(
        self, known: History, asked: Mapping[Candidate, int], learned: History | None = None
    ) -> dict[Candidate, Forecast]:
        """Return the forecast accuracy of each candidate at its requested round.

        Args:
            known: Curves so far.
            asked: The round of each candidate.
            learned: The curves from which hyper-parameters are fitted; by default ``known``.
        """
        longest = max(self.terms.horizons.values())
        return forecast(known, asked, self.terms.examples, longest, learned, self.terms.prior)

    def trials_from_a_third(self, ledger: EffortLedger, among: Iterable[Candidate]) -> list[Trial]:
        """Return backtests of forecasts from the first third of each run's rounds to the last."""
        rounds = {c: ledger.curve(c).rounds for c in evaluated_candidates(ledger, among)}
        early = {
            c: ledger.curve(c).until(r // _EARLIER) for c, r in rounds.items() if r >= _EARLIER
        }
        early = {c: curve for c, curve in early.items() if curve.evaluated}
        made = self.forecast(early, {c: rounds[c] for c in early})
        return self.trials(ledger, early, made)

    def trials(
        self, ledger: EffortLedger, before: History, made: Mapping[Candidate, Forecast]
    ) -> list[Trial]:
        """Return backtests of forecasts that were made before some runs were extended.

        Args:
            ledger: Curves of the extended runs.
            before: Their curves when the forecasts were made.
            made: The forecasts, of the accuracy at the end of each extended run.
        """
        return [
            Trial(
                end_accuracy(before[c]),
                made[c].with_measurement_noise(self.terms.examples),
                end_accuracy(ledger.curve(c)),
            )
            for c in evaluated_candidates(ledger, before)
        ]

    def by_forecast(
        self, ledger: EffortLedger, others: Iterable[Candidate], learned: History | None = None
    ) -> list[Candidate]:
        """Return candidates without a run, best forecast at their horizons first.

        Without a known curve, they keep their order.
        """
        order = list(others)
        made = self.forecast(ledger.curves, {c: self.terms.horizons[c] for c in order}, learned)
        if made:
            order.sort(key=lambda c: (-made[c].mean, self.terms.nbytes[c], c))
        return order

    def ranking(
        self,
        ledger: EffortLedger,
        alive: Iterable[Candidate],
        weight: float,
        learned: History | None = None,
    ) -> list[Candidate]:
        """Return the runs that have not diverged, best first by the blend of the two ranks.

        Args:
            ledger: Curves so far.
            alive: Runs to rank.
            weight: Weight of the forecasts' rank, 0 to 1.
            learned: In the finals: the curves from which the model's hyper-parameters are fitted.
                The forecasts are then ranked by mean plus one standard deviation.
        """
        alive = evaluated_candidates(ledger, alive)
        horizons = {c: self.terms.horizon(c, ledger.curve(c)) for c in alive}
        made = self.forecast(ledger.curves, horizons, learned)
        hope = 0 if learned is None else 1
        return self.blended(
            {c: end_accuracy(ledger.curve(c)) for c in alive},
            {c: made[c].mean + hope * made[c].sd for c in alive},
            weight,
        )

    def blended(
        self, seen: Mapping[Candidate, float], hoped: Mapping[Candidate, float], weight: float
    ) -> list[Candidate]:
        """Return candidates, best first by the blend of two ranks; ties go to fewer bytes.

        Args:
            seen: Accuracy so far of each candidate, 0 to 1.
            hoped: Forecast accuracy of each.
            weight: Weight of the forecasts' rank, 0 to 1.
        """
        alive = list(seen)
        ranks = blended_ranks(list(seen.values()), [hoped[c] for c in alive], weight)
        by = dict(zip(alive, ranks.tolist(), strict=True))
        return sorted(alive, key=lambda c: (by[c], self.terms.nbytes[c], c))

    def is_done(self, ledger: EffortLedger) -> bool:
        """Return whether a run has finished that learned, and the rest promises little gain.

        The rule is that of :attr:`planner.forecasts.gain.Gain.is_small`, after the share
        ``LEAST_SHARE`` of the effort: forecasts from a few rounds may be sure and wrong.
        """
        finished = self.terms.finished_candidates(ledger.curves)
        ends = {c: self._end_round(ledger.curve(c)) for c in finished}
        if not self.has_learned(ledger, finished):
            return False
        known = KnownCurves(
            ledger.curves,
            self.terms.examples,
            max(self.terms.horizons.values()),
            space=tuple(self.terms.horizons),
        )
        best = max(interval.mean for interval in known.intervals(ends).values())
        failed = {c for c, curve in ledger.curves.items() if curve.failed}
        unfinished = {
            c: self._last_round(ledger, c)
            for c in self.terms.horizons
            if c not in failed | ends.keys() and ledger.whole_cost(c) <= ledger.effort_left
        }
        gain = expected_gain(known, best, unfinished, ledger.effort_left)
        return gain is not None and gain.is_small

    def has_learned(self, ledger: EffortLedger, finished: Iterable[Candidate]) -> bool:
        """Return whether a finished run has learned, after the least share of the effort.

        Args:
            ledger: Curves so far.
            finished: The finished runs.
        """
        if ledger.effort_left > (1 - LEAST_SHARE) * self.terms.effort:
            return False
        curves = [ledger.curve(c) for c in finished]
        return any(self.rises(curve.until(self._end_round(curve))) for curve in curves)

    def is_gain_small(
        self,
        made: Mapping[Candidate, Forecast],
        missing: Mapping[Candidate, int],
        best: float,
        left: int,
        factor: float = 1.0,
    ) -> bool:
        """Return whether candidates with these forecasts promise little gain.

        Args:
            made: Forecast accuracy of each candidate at its end.
            missing: Rounds that each candidate lacks to be finished; those of others do not count.
            best: Expected accuracy of the best finished run, 0 to 1.
            left: Rounds of the effort that are left.
            factor: Ratio of the gain that counts as little to that of :attr:`Gain.is_small`.
        """
        sure = {c: made[c] for c, rounds in missing.items() if rounds and not _is_vague(made[c])}
        gain = gain_of_forecasts(sure, missing, best, self.terms.examples, left)
        return gain is not None and gain.is_below(factor * STOP_SHARE)

    def _last_round(self, ledger: EffortLedger, candidate: Candidate) -> int:
        """Return the round at which the effort ends a run: its horizon, or where it is finished."""
        curve = ledger.curve(candidate)
        horizon = self.terms.horizon(candidate, curve)
        fits = horizon - curve.rounds <= ledger.effort_left
        return horizon if fits else self.terms.finish_round(candidate, curve)

    def _end_round(self, curve: Curve) -> int:
        """Return the round at which a finished run would be recommended."""
        return peak_round(curve, self.terms.examples) or curve.rounds

    def has_sound_finish(self, ledger: EffortLedger) -> bool:
        """Return whether some run has finished without a fall of its accuracy."""
        finished = self.terms.finished_candidates(ledger.curves)
        return not all(self.is_lost(ledger.curve(c)) for c in finished)

    def reserved_rounds(
        self, ledger: EffortLedger, leader: Sequence[Candidate], among: Iterable[Candidate]
    ) -> int:
        """Return the rounds to reserve for finishing another run if the leader's accuracy falls.

        Args:
            ledger: Curves so far.
            leader: The leader, or nobody.
            among: Candidates that may be finished instead, begun or not.
        """
        if self.has_sound_finish(ledger):
            return 0
        others = (c for c in among if c not in leader)
        sound = (c for c in others if not self.is_lost(ledger.curve(c)))
        return min((n for n in map(ledger.missing_rounds, sound) if n), default=0)

    def is_lost(self, curve: Curve) -> bool:
        """Return whether a run has diverged, or its accuracy fell."""
        return curve.failed or curve_fall(curve, self.terms.examples) > 0

    def rises(self, curve: Curve) -> bool:
        """Return whether a curve ends above its first accuracy by more than noise."""
        end = end_accuracy(curve)
        return end - curve.accuracies[0] > difference_error(end, self.terms.examples)


def evaluated_candidates(ledger: EffortLedger, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates whose runs were evaluated and have not diverged."""
    curves = {c: ledger.curve(c) for c in candidates}
    return [c for c, curve in curves.items() if curve.evaluated and not curve.failed]


def end_accuracy(curve: Curve) -> float:
    """Return the smoothed accuracy at a curve's end."""
    return smoothed_accuracy(curve.evaluated, curve.accuracies, curve.rounds)


def _is_vague(made: Forecast) -> bool:
    """Return whether the interval of a forecast is too wide to say anything."""
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * made.sd
    return is_vague(made.mean - reach, made.mean + reach)
