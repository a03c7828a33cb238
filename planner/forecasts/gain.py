"""Expected gain of more search, and the rule by which a search ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from planner.candidates import Candidate
from planner.curves import Curve
from planner.forecasts.forecast import Forecast
from planner.forecasts.improvement import expected_improvement, improvement_of_best
from planner.forecasts.intervals import KnownCurves

STOP_SHARE = 0.25  # fraction of the noise of one evaluation below which a gain is not worth it


@dataclass(frozen=True)
class Gain:
    """What training unfinished candidates to their ends is expected to gain.

    Attributes:
        candidate: The candidate with the largest expected improvement.
        rounds: Rounds of training that would finish it, at least 1.
        improvement: Its expected improvement over the best finished accuracy, 0 to 1.
        all_rounds: Rounds of training that would finish all candidates that count.
        all_improvement: Expected improvement of the best of them, 0 to 1, if their forecasts were
            independent. Forecasts of similar candidates err alike, so that it is rather less.
        noise: Standard error of one evaluation at the best finished accuracy, 0 to 1.
        forecast: Forecast of ``candidate``.
    """

    candidate: Candidate
    rounds: int
    improvement: float
    all_rounds: int
    all_improvement: float
    noise: float
    forecast: Forecast

    @property
    def is_small(self) -> bool:
        """Whether all candidates together promise so little that a search should end.

        That is less than ``STOP_SHARE`` of the noise of an evaluation. The rule compares the
        expected improvement (Nguyen et al., "Regret for Expected Improvement over the Best-Observed
        Value and Stopping Condition", ACML 2017) with the noise (Makarova et al., "Automatic
        Termination for Hyperparameter Optimization", AutoML 2022). The improvement is that of all
        remaining candidates: that of the best one alone is below the noise long before a search
        has found what it can find (experiments/search_benchmark).
        """
        return self.is_below(STOP_SHARE)

    def is_below(self, share: float) -> bool:
        """Return whether all candidates together promise less than a share of the noise."""
        return self.all_improvement < share * self.noise


def expected_gain(
    known: KnownCurves, best: float, unfinished: Mapping[Candidate, int], left: float = math.inf
) -> Gain | None:
    """Return the expected gain of training unfinished candidates to their ends.

    Candidates whose forecast is vague are left out, and so are those that the remaining rounds do
    not finish, the least promising first. The result is None if no candidate is left.

    Args:
        known: Curves of all runs.
        best: Expected accuracy of the best finished run, 0 to 1.
        unfinished: The last round of each unfinished candidate.
        left: Rounds of training that remain.
    """
    intervals, made = known.intervals(unfinished), known.forecasts(unfinished)
    sure = {c: made[c] for c in sorted(made) if not intervals[c].is_vague}
    curves = {c: known.history.get(c, Curve()) for c in sure}
    missing = {c: max(1, unfinished[c] - curve.rounds) for c, curve in curves.items()}
    return gain_of_forecasts(sure, missing, best, known.examples, left)


def gain_of_forecasts(
    made: Mapping[Candidate, Forecast],
    missing: Mapping[Candidate, int],
    best: float,
    examples: int,
    left: float = math.inf,
) -> Gain | None:
    """Return the expected gain of training candidates with these forecasts to their ends.

    Candidates that the remaining rounds do not finish are left out, the least promising first. The
    result is None if no candidate is left.

    Args:
        made: Forecast accuracy of each candidate at its end.
        missing: Rounds of training that each lacks, at least 1.
        best: Expected accuracy of the best finished run, 0 to 1.
        examples: Validation examples of every accuracy.
        left: Rounds of training that remain.
    """
    gains = {c: expected_improvement(forecast, best) for c, forecast in made.items()}
    chosen: dict[Candidate, int] = {}
    for c in sorted(gains, key=lambda c: (-gains[c], c)):
        if missing[c] <= left:
            chosen[c] = missing[c]
            left -= missing[c]
    if not chosen:
        return None
    first = next(iter(chosen))
    return Gain(
        first,
        chosen[first],
        gains[first],
        sum(chosen.values()),
        max(gains[first], improvement_of_best([made[c] for c in chosen], best)),
        max(math.sqrt(best * (1 - best) / examples), 1 / examples),
        made[first],
    )
