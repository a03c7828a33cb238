"""Intervals of the accuracy that runs truly have, measured or forecast.

A posterior of :mod:`planner.forecasts.forecast` gives every mean. Where a run was measured up to
the round that is asked for, its own smoothed accuracy has the last word: the posterior, which
shrinks noise by what near candidates show, may be off it by ``CLOSE_ERRORS`` of its standard errors
and no more, so that a curve of another shape than the others is believed. Runs of other seeds are
averaged in.

Widths are conformal: the ends of all runs that have gone far enough are held out, foretold from the
rest, and the posterior's deviations are stretched until they would have held as many of these
ends as the level asks for. The luck of a seed, which one run cannot show, comes on top: it is taken
to be as large as what runs have that near candidates do not share, which is the most that luck can
be and, where curves vary smoothly over the space, little more than it is. It counts in log-odds: in
points it shrinks near 100 %.

What an interval is to hold is the accuracy of the mean over seeds, on this validation set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from planner.candidates import Candidate
from planner.curves import Curve
from planner.forecasts.forecast import curve_fall, expit, log_odds, own_deviation
from planner.forecasts.smoothing import SMOOTHED_SHARE, smoothed_accuracy, standard_error

LEVEL = 0.9
CLOSE_ERRORS = 1.5
SEED_LUCK = 0.13  # deviation of log-odds over seeds, where no sound curve tells it
_MIN_EVALUATIONS = 8  # evaluations of a run whose end is held out
_PRIOR_SCORES = 10  # scores of a normal law beside those measured
_NO_REPLICAS: Mapping[Candidate, Sequence[Curve]] = {}


@dataclass(frozen=True)
class Interval:
    """Where an accuracy lies, 0 to 1.

    Attributes:
        low: Its lower end.
        mean: What is expected.
        high: Its upper end.
        kind: ``"measured"`` if the run reached the round that was asked for, else ``"forecast"``.
    """

    low: float
    mean: float
    high: float
    kind: Literal["measured", "forecast"]

    def to_json(self, level: float = LEVEL) -> dict[str, Any]:
        """Return the interval as plain values."""
        ends = {"low": self.low, "mean": self.mean, "high": self.high}
        return {**ends, "level": level, "kind": self.kind}


def seed_luck(history: Mapping[Candidate, Curve], examples: int, longest: int) -> float:
    """Return the deviation of log-odds over seeds, as far as near candidates tell it."""
    return own_deviation(history, examples, longest) or SEED_LUCK


def intervals(
    history: Mapping[Candidate, Curve],
    asked: Mapping[Candidate, int],
    examples: int,
    longest: int,
    level: float = LEVEL,
    again: Mapping[Candidate, Sequence[Curve]] = _NO_REPLICAS,
) -> dict[Candidate, Interval]:
    """Return the interval of each candidate's accuracy at the round that is asked for.

    Args:
        history: What is known; diverged and empty curves are left out.
        asked: A round for each candidate, whether it has a curve or not.
        examples: Validation examples behind every accuracy.
        longest: The most rounds of any candidate.
        level: How often the interval is to hold the accuracy.
        again: Runs of other seeds, which reached the rounds that are asked for.
    """
    wide = stretch_factor(history, examples, longest, level) / _normal_quantile(level)
    luck = seed_luck(history, examples, longest)
    made = {}
    for c, (mean, sd) in log_odds(history, asked, examples, longest).items():
        curve, rounds = history.get(c, Curve()), asked[c]
        reached = curve.rounds >= rounds and not curve.failed
        if reached:
            mean = _believed_log_odds(mean, curve, rounds, examples)
        told = [(mean, math.hypot(wide * sd, luck))]
        told += [_run_estimate(other, rounds, examples, luck) for other in again.get(c, ())]
        middle, half = _weighted_mean(told)
        low, middle, high = (expit(middle + k * _normal_quantile(level) * half) for k in (-1, 0, 1))
        made[c] = Interval(low, middle, high, "measured" if reached else "forecast")
    return made


def _normal_quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _slope(log_odds: float) -> float:
    """Return how fast a probability grows with its log-odds."""
    return expit(log_odds) * (1 - expit(log_odds))


def _logit(accuracy: float, examples: int) -> float:
    """Return log-odds of an accuracy, kept half an example off 0 and 1."""
    inside = min(max(accuracy, 0.5 / examples), 1 - 0.5 / examples)
    return math.log(inside / (1 - inside))


def _believed_log_odds(mean: float, curve: Curve, rounds: int, examples: int) -> float:
    """Return log-odds that are no further from a run's own end than its noise explains."""
    end = smoothed_accuracy(curve.evaluated, curve.accuracies, rounds)
    error = CLOSE_ERRORS * standard_error(curve.evaluated, end, rounds, examples)
    return min(max(mean, _logit(end - error, examples)), _logit(end + error, examples))


def _run_estimate(curve: Curve, rounds: int, examples: int, luck: float) -> tuple[float, float]:
    """Return log-odds and deviation of what a run alone tells of the mean over seeds."""
    end = smoothed_accuracy(curve.evaluated, curve.accuracies, rounds)
    mean = _logit(end, examples)
    noise = standard_error(curve.evaluated, end, rounds, examples) / _slope(mean)
    return mean, math.hypot(noise, luck)


def _weighted_mean(told: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean of independent estimates, weighted by precision, and its deviation."""
    weights = [1 / sd**2 for _, sd in told]
    mean = sum(w * m for w, (m, _) in zip(weights, told, strict=True)) / sum(weights)
    return mean, 1 / math.sqrt(sum(weights))


def stretch_factor(
    history: Mapping[Candidate, Curve], examples: int, longest: int, level: float = LEVEL
) -> float:
    """Return how many of the posterior's deviations hold ``level`` of the ends that are foretold.

    The conservative quantile, over these ends and ``_PRIOR_SCORES`` scores of a normal law: a few
    ends say little of their tail.
    """
    far = {
        c: curve
        for c, curve in history.items()
        if len(curve.evaluated) >= _MIN_EVALUATIONS
        and not curve.failed
        and not curve_fall(curve, examples)
    }
    before = {c: curve.until(int((1 - SMOOTHED_SHARE) * curve.rounds)) for c, curve in far.items()}
    ends = {c: curve.rounds for c, curve in far.items()}
    told = log_odds({**history, **before}, ends, examples, longest, learned=history)
    scores = [_normal_quantile((k + 0.5) / _PRIOR_SCORES) for k in range(_PRIOR_SCORES)]
    for c, (mean, sd) in told.items():
        end = smoothed_accuracy(far[c].evaluated, far[c].accuracies, ends[c])
        noise = standard_error(far[c].evaluated, end, ends[c], examples)
        scores.append(abs(end - expit(mean)) / math.hypot(sd * _slope(mean), noise))
    at = math.ceil((len(scores) + 1) * level) - 1
    return sorted(scores)[min(at, len(scores) - 1)]
