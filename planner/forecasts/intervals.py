"""Calibrated intervals for the accuracies of candidates, whether measured or forecast.

An interval should contain the candidate's accuracy averaged over seeds, on the task's validation
set. The choice of that set is not covered.

**Centres.** The centre of an interval is the posterior mean of :mod:`planner.forecasts.forecast`.
The posterior also uses the curves of similar candidates, which reduces noise. If a run was measured
up to the requested round, the centre is limited to ``CLOSE_ERRORS`` standard errors of that
measurement around the run's own smoothed accuracy, so that similar candidates cannot overrule a
curve of unusual shape. If the candidate has runs with other seeds, their accuracies are averaged
in.

**Widths** are calibrated by conformal prediction. The last part of each sufficiently long curve is
held out and predicted from the rest. The posterior standard deviations are scaled so that the
intervals cover the fraction ``level`` of the held-out accuracies. Variation between seeds is added
on the log-odds scale, because on the accuracy scale it becomes smaller near 100 %. A single run per
candidate cannot show this variation. Instead, the deviation of candidates from similar candidates
is used. It is an upper bound, since it also contains real differences between candidates; the
bound is close if similar candidates have similar curves.
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

LEVEL = 0.9  # fraction of intervals that are meant to contain the accuracy
CLOSE_ERRORS = 1.5  # standard errors: largest distance of a mean from the run's measured end
SEED_LUCK = 0.13  # log-odds: standard deviation over seeds, if no curve gives an estimate
_MIN_EVALUATIONS = 8  # evaluations of a run, at least, whose end is held out
_PRIOR_SCORES = 10  # scores of a normal distribution, added to the measured ones
_NO_REPLICAS: Mapping[Candidate, Sequence[Curve]] = {}


@dataclass(frozen=True)
class Interval:
    """Interval of an accuracy.

    Attributes:
        low: Lower end, 0 to 1.
        mean: Expected accuracy, 0 to 1.
        high: Upper end, 0 to 1.
        kind: ``"measured"`` if the run reached the requested round, else ``"forecast"``.
    """

    low: float
    mean: float
    high: float
    kind: Literal["measured", "forecast"]

    def to_json(self, level: float = LEVEL) -> dict[str, Any]:
        """Return the interval as JSON values, with its level."""
        ends = {"low": self.low, "mean": self.mean, "high": self.high}
        return {**ends, "level": level, "kind": self.kind}


def seed_deviation(history: Mapping[Candidate, Curve], examples: int, longest: int) -> float:
    """Return the standard deviation of log-odds over seeds, estimated from similar candidates."""
    return own_deviation(history, examples, longest) or SEED_LUCK


def intervals(
    history: Mapping[Candidate, Curve],
    asked: Mapping[Candidate, int],
    examples: int,
    longest: int,
    level: float = LEVEL,
    again: Mapping[Candidate, Sequence[Curve]] = _NO_REPLICAS,
) -> dict[Candidate, Interval]:
    """Return the interval of each candidate's accuracy at its requested round.

    Args:
        history: Known learning curves; diverged and empty curves are ignored.
        asked: The requested round of each candidate, with or without a known curve.
        examples: Validation examples of every accuracy.
        longest: The most rounds of any candidate.
        level: Probability that an interval contains the accuracy, above 0 and below 1.
        again: Curves of other seeds, which reached the requested rounds.
    """
    wide = stretch_factor(history, examples, longest, level) / _normal_quantile(level)
    seed_sd = seed_deviation(history, examples, longest)
    made = {}
    for c, (mean, sd) in log_odds(history, asked, examples, longest).items():
        curve, rounds = history.get(c, Curve()), asked[c]
        reached = curve.rounds >= rounds and not curve.failed
        if reached:
            mean = _believed_log_odds(mean, curve, rounds, examples)
        estimates = [(mean, math.hypot(wide * sd, seed_sd))]
        estimates += [_run_estimate(other, rounds, examples, seed_sd) for other in again.get(c, ())]
        middle, half = _weighted_mean(estimates)
        low, middle, high = (expit(middle + k * _normal_quantile(level) * half) for k in (-1, 0, 1))
        made[c] = Interval(low, middle, high, "measured" if reached else "forecast")
    return made


def _normal_quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _slope(log_odds: float) -> float:
    """Return the derivative of a probability by its log-odds."""
    return expit(log_odds) * (1 - expit(log_odds))


def _logit(accuracy: float, examples: int) -> float:
    """Return the log-odds of an accuracy, clipped to half an example from 0 and 1."""
    inside = min(max(accuracy, 0.5 / examples), 1 - 0.5 / examples)
    return math.log(inside / (1 - inside))


def _believed_log_odds(mean: float, curve: Curve, rounds: int, examples: int) -> float:
    """Return the mean, clipped to ``CLOSE_ERRORS`` standard errors about a run's measured end."""
    end = smoothed_accuracy(curve.evaluated, curve.accuracies, rounds)
    error = CLOSE_ERRORS * standard_error(curve.evaluated, end, rounds, examples)
    return min(max(mean, _logit(end - error, examples)), _logit(end + error, examples))


def _run_estimate(curve: Curve, rounds: int, examples: int, seed_sd: float) -> tuple[float, float]:
    """Return mean and deviation, in log-odds, of the mean over seeds, estimated from one run."""
    end = smoothed_accuracy(curve.evaluated, curve.accuracies, rounds)
    mean = _logit(end, examples)
    noise = standard_error(curve.evaluated, end, rounds, examples) / _slope(mean)
    return mean, math.hypot(noise, seed_sd)


def _weighted_mean(estimates: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the precision-weighted mean of independent estimates, and its standard deviation."""
    weights = [1 / sd**2 for _, sd in estimates]
    mean = sum(w * m for w, (m, _) in zip(weights, estimates, strict=True)) / sum(weights)
    return mean, 1 / math.sqrt(sum(weights))


def stretch_factor(
    history: Mapping[Candidate, Curve], examples: int, longest: int, level: float = LEVEL
) -> float:
    """Return the number of posterior standard deviations that covers ``level`` of held-out ends.

    The number is a conservative quantile of the scores of these ends and of ``_PRIOR_SCORES``
    scores of a normal distribution, because a few ends say little about the tail.

    Args:
        history: Known learning curves; only long ones without failure or fall are scored.
        examples: Validation examples of every accuracy.
        longest: The most rounds of any candidate.
        level: Fraction of held-out ends to cover, above 0 and below 1.
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
    estimates = log_odds({**history, **before}, ends, examples, longest, learned=history)
    scores = [_normal_quantile((k + 0.5) / _PRIOR_SCORES) for k in range(_PRIOR_SCORES)]
    for c, (mean, sd) in estimates.items():
        end = smoothed_accuracy(far[c].evaluated, far[c].accuracies, ends[c])
        noise = standard_error(far[c].evaluated, end, ends[c], examples)
        scores.append(abs(end - expit(mean)) / math.hypot(sd * _slope(mean), noise))
    at = math.ceil((len(scores) + 1) * level) - 1
    return sorted(scores)[min(at, len(scores) - 1)]
