"""The choice among finished runs: by what they are expected to reach, ties towards fewer bytes.

What counts is the mean of a run's interval (:mod:`planner.forecasts.intervals`): its accuracy
smoothed over the last part of its curve, with noise shrunk by what near candidates show. Runs tie
with the best if they have at least one chance in ``ODDS`` of being as good. Among ties, half the
bytes weigh as much as ``HALF_BYTES_WORTH`` of expected accuracy: some percent fewer are no reason
for the worse run. All are judged on the same validation examples, and the errors that they have in
common cancel; the margin is as if they had none, and so rather too wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from planner.candidates import Candidate
from planner.forecasts.intervals import LEVEL, Interval
from planner.forecasts.smoothing import difference_error
from planner.plans.outcome import Outcome

ODDS = 3
HALF_BYTES_WORTH = 0.002
RESERVED_SHARE = 0.15  # of an effort, for other seeds
_RUNS = 3  # typical ones, that this must suffice for
_TIE_ERRORS = NormalDist().inv_cdf(1 - 1 / ODDS)  # standard errors of a difference


@dataclass(frozen=True)
class Ranking:
    """Finished runs: the recommended one first, then by expectation.

    Attributes:
        order: The candidates.
        best: The best expected accuracy.
        margin: Expectations within this of the best tie.
    """

    order: tuple[Candidate, ...]
    best: float
    margin: float


@dataclass(frozen=True)
class Recommendation:
    """A recommendation, the other outcomes (best first), and the margin within which runs tie."""

    recommendation: Outcome
    others: tuple[Outcome, ...]
    best_accuracy: float
    margin: float


def rank(known: Mapping[Candidate, Interval], nbytes: Mapping[Candidate, float]) -> Ranking:
    """Return finished runs in order, the one preferred among the best ties first.

    Args:
        known: Where their accuracies lie; one at least.
        nbytes: Bytes of each run.
    """
    order = sorted(known, key=lambda c: (-known[c].mean, nbytes[c], c))
    best = known[order[0]]
    margin = _TIE_ERRORS * math.sqrt(2) * deviation(best)
    tied = [c for c in order if known[c].mean >= best.mean - margin]
    chosen = min(tied, key=lambda c: (HALF_BYTES_WORTH * math.log2(nbytes[c]) - known[c].mean, c))
    return Ranking((chosen, *(c for c in order if c != chosen)), best.mean, margin)


def choose(outcomes: Sequence[Outcome], validation_examples: int) -> Recommendation:
    """Return the outcome to recommend, of those that tie with the best expectation.

    An outcome without an interval counts as a single measurement.
    """
    by = {outcome.candidate: outcome for outcome in outcomes}
    known = {
        c: o.interval or _measured_interval(o.accuracy, validation_examples) for c, o in by.items()
    }
    ranking = rank(known, {c: o.total_bytes for c, o in by.items()})
    first, *others = (by[c] for c in ranking.order)
    return Recommendation(first, tuple(others), ranking.best, ranking.margin)


def choose_cheapest(outcomes: Sequence[Outcome]) -> Recommendation:
    """Return the outcome that spent least, of some that all reached a target; no two tie."""
    ordered = sorted(outcomes, key=lambda o: (o.spent, -o.expected_accuracy, o.candidate))
    best = max(outcome.expected_accuracy for outcome in outcomes)
    return Recommendation(ordered[0], tuple(ordered[1:]), best, 0.0)


def rounds_for_second_seeds(effort: int, horizons: Iterable[int]) -> int:
    """Return the rounds of an effort that a search leaves for running finalists again.

    None where they would not suffice for some runs: there, further candidates tell more.

    Args:
        effort: Rounds in all.
        horizons: Rounds of a whole run, of each candidate.
    """
    kept = int(RESERVED_SHARE * effort)
    return kept if kept >= _RUNS * fmean(horizons) else 0


def near_best_candidates(
    known: Mapping[Candidate, Interval], rounds: Mapping[Candidate, int], left: int
) -> list[Candidate]:
    """Return the runs that another seed should tell apart: two or more, best first, or none.

    They are those within one standard error of the best, as far as an effort that is left goes.

    Args:
        known: Where the accuracies of finished runs lie.
        rounds: Rounds that each takes.
        left: Rounds that are left.
    """
    best = max(known.values(), key=lambda interval: interval.mean)
    near = best.mean - math.sqrt(2) * deviation(best)
    chosen: list[Candidate] = []
    for c in sorted(known, key=lambda c: (-known[c].mean, c)):
        if known[c].mean >= near and rounds[c] <= left:
            left -= rounds[c]
            chosen.append(c)
    return chosen if len(chosen) > 1 else []


def deviation(interval: Interval) -> float:
    """Return the standard deviation that an interval of the usual level stands for."""
    return (interval.high - interval.low) / 2 / NormalDist().inv_cdf((1 + LEVEL) / 2)


def _measured_interval(accuracy: float, examples: int) -> Interval:
    half = (
        NormalDist().inv_cdf((1 + LEVEL) / 2) * difference_error(accuracy, examples) / math.sqrt(2)
    )
    return Interval(accuracy - half, accuracy, accuracy + half, "measured")
