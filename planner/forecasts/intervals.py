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
bound is close if similar candidates have similar curves. Few runs say little about it: the variance
is averaged with that of ``SEED_LUCK``, which counts as much as ``_LUCK_RUNS`` runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

from floss_sim.analysis.last_part import SMOOTHED_SHARE
from planner.candidates import Candidate
from planner.curves import Curve
from planner.forecasts.falls import curve_fall
from planner.forecasts.forecast import (
    Forecast,
    accuracy_forecast,
    expit,
    log_odds_at,
    own_deviation,
)
from planner.forecasts.smoothing import smoothed_accuracy, standard_error

LEVEL = 0.9  # fraction of intervals that are meant to contain the accuracy
CLOSE_ERRORS = 1.5  # standard errors: largest distance of a mean from the run's measured end
SEED_LUCK = 0.13  # log-odds: standard deviation over seeds where nothing is known about it
_VAGUE = 0.2  # half width of an interval, 0 to 1; wider forecasts are shown as unknown
_MIN_EVALUATIONS = 8  # evaluations of a run, at least, whose end is held out
_LUCK_RUNS = 4  # runs whose worth SEED_LUCK has beside the measured deviation
_PRIOR_SCORES = 10  # scores of a normal distribution, added to the measured ones
Point = tuple[Candidate, int]  # a candidate at a round
Kind = Literal["measured", "forecast"]


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
    kind: Kind

    @property
    def is_vague(self) -> bool:
        """Whether the interval is too wide to say anything: more than +-20 points."""
        return is_vague(self.low, self.high)

    def to_json(self, level: float = LEVEL) -> dict[str, Any]:
        """Return the interval as JSON values, with its level."""
        ends = {"low": self.low, "mean": self.mean, "high": self.high}
        return {**ends, "level": level, "kind": self.kind}


@dataclass(frozen=True)
class KnownCurves:
    """The known learning curves: the one source of expected accuracies and their intervals.

    The same curves give the same interval of a candidate at a round, whatever else is asked.

    Attributes:
        history: Curves of one seed; diverged and empty curves are ignored.
        examples: Validation examples of every accuracy.
        longest: The most rounds of any candidate.
        again: Curves of other seeds.
        space: Candidates that may be asked for; they set the features that count.
        level: Probability that an interval contains the accuracy, above 0 and below 1.
    """

    history: Mapping[Candidate, Curve]
    examples: int
    longest: int
    again: Mapping[Candidate, Sequence[Curve]] = field(default_factory=dict)
    space: Sequence[Candidate] = ()
    level: float = LEVEL

    def intervals(self, asked: Mapping[Candidate, int]) -> dict[Candidate, Interval]:
        """Return the interval of each candidate's accuracy at its requested round.

        Candidates of which nothing is known are left out.
        """
        return {c: made for (c, _), made in self.intervals_at(asked.items()).items()}

    def intervals_at(self, points: Iterable[Point]) -> dict[Point, Interval]:
        """Return the interval of the accuracy at each point, a candidate at a round.

        Points of which nothing is known are left out.
        """
        wanted = list(dict.fromkeys(points))
        return {
            point: self._interval(point, *told)
            for point, told in zip(wanted, self._log_odds(wanted), strict=True)
            if told is not None
        }

    def forecasts(self, asked: Mapping[Candidate, int]) -> dict[Candidate, Forecast]:
        """Return the forecast of each candidate's accuracy at its requested round.

        It has the expected accuracy of :meth:`intervals` for runs that end before that round, and
        the deviation of the posterior alone, without variation between seeds.
        """
        made = zip(asked, self._log_odds(list(asked.items())), strict=True)
        return {c: accuracy_forecast(*told) for c, told in made if told is not None}

    def first_rounds_at(self, target: float, among: Iterable[Candidate]) -> dict[Candidate, int]:
        """Return the first evaluated round at which each run's expected accuracy reaches a target.

        Candidates without a curve, with a diverged one, or below the target are left out.
        """
        curves = {c: self.history[c] for c in among if not self.history[c].failed}
        points = [(c, r) for c, curve in curves.items() for r in self._plausible(c, curve, target)]
        made = self.intervals_at(points) if points else {}
        reached = [point for point in points if point in made and made[point].mean >= target]
        return dict(reversed(reached))

    def _plausible(self, candidate: Candidate, curve: Curve, target: float) -> list[int]:
        """Return the rounds at which the run's own accuracy is not clearly below a target."""
        if candidate in self.again:
            return list(curve.evaluated)
        return [
            r
            for r in curve.evaluated
            if expit(_believed_ends(curve, r, self.examples)[1]) >= target
        ]

    @cached_property
    def seed_deviation(self) -> float:
        """Standard deviation of log-odds over seeds, estimated from similar candidates."""
        own = own_deviation(self.history, self.examples, self.longest, self.space)
        if own is None:
            return SEED_LUCK
        runs = sum(1 for curve in self.history.values() if curve.evaluated and not curve.failed)
        return math.sqrt((runs * own**2 + _LUCK_RUNS * SEED_LUCK**2) / (runs + _LUCK_RUNS))

    @cached_property
    def _stretch(self) -> float:
        """Factor of posterior standard deviations."""
        factor = stretch_factor(self.history, self.examples, self.longest, self.level, self.space)
        return factor / _normal_quantile(self.level)

    def _log_odds(self, points: Sequence[Point]) -> list[tuple[float, float] | None]:
        return log_odds_at(self.history, points, self.examples, self.longest, space=self.space)

    def _interval(self, point: Point, mean: float, sd: float) -> Interval:
        candidate, rounds = point
        curve, seed_sd = self.history.get(candidate, Curve()), self.seed_deviation
        reached = curve.rounds >= rounds and not curve.failed
        if reached:
            low, high = _believed_ends(curve, rounds, self.examples)
            mean = min(max(mean, low), high)
        estimates = [(mean, math.hypot(self._stretch * sd, seed_sd))]
        others = (other for other in self.again.get(candidate, ()) if other.rounds >= rounds)
        estimates += [_run_estimate(other, rounds, self.examples, seed_sd) for other in others]
        kind: Kind = "measured" if reached else "forecast"
        return _interval_around(*_weighted_mean(estimates), self.level, kind)


def difference(ours: Interval, theirs: Interval) -> tuple[float, float, float]:
    """Return low, mean and high of a difference of two accuracies, -1 to 1.

    Each end is as far from the mean as the root of the sum of squares of both distances, which
    holds for independent normal errors.
    """
    mean = ours.mean - theirs.mean
    down = math.hypot(ours.mean - ours.low, theirs.high - theirs.mean)
    up = math.hypot(ours.high - ours.mean, theirs.mean - theirs.low)
    return mean - down, mean, mean + up


def is_vague(low: float, high: float) -> bool:
    """Return whether an interval with these ends, 0 to 1, is too wide to say anything."""
    return high - low > 2 * _VAGUE


def run_interval(curve: Curve, rounds: int, examples: int, seed_sd: float) -> Interval:
    """Return the interval of a configuration's accuracy, judged from one run alone.

    Args:
        curve: The run.
        rounds: Its length; later evaluations are ignored.
        examples: Validation examples of every accuracy.
        seed_sd: Standard deviation of accuracy over seeds, in log-odds.
    """
    made = _run_estimate(curve, rounds, examples, seed_sd)
    return _interval_around(*made, LEVEL, "measured")


def _interval_around(mean: float, sd: float, level: float, kind: Kind) -> Interval:
    """Return an interval that is symmetric in log-odds, given their mean and deviation."""
    reach = _normal_quantile(level) * sd
    low, middle, high = (expit(mean + k * reach) for k in (-1, 0, 1))
    return Interval(low, middle, high, kind)


def _normal_quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _slope(log_odds: float) -> float:
    """Return the derivative of a probability by its log-odds."""
    return expit(log_odds) * (1 - expit(log_odds))


def _logit(accuracy: float, examples: int) -> float:
    """Return the log-odds of an accuracy, clipped to half an example from 0 and 1."""
    inside = min(max(accuracy, 0.5 / examples), 1 - 0.5 / examples)
    return math.log(inside / (1 - inside))


def _believed_ends(curve: Curve, rounds: int, examples: int) -> tuple[float, float]:
    """Return the log-odds ``CLOSE_ERRORS`` standard errors below and above a measured accuracy."""
    end = smoothed_accuracy(curve.evaluated, curve.accuracies, rounds)
    error = CLOSE_ERRORS * standard_error(curve.evaluated, end, rounds, examples)
    return _logit(end - error, examples), _logit(end + error, examples)


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
    history: Mapping[Candidate, Curve],
    examples: int,
    longest: int,
    level: float = LEVEL,
    space: Sequence[Candidate] = (),
) -> float:
    """Return the number of posterior standard deviations that covers ``level`` of held-out ends.

    The number is a conservative quantile of the scores of these ends and of ``_PRIOR_SCORES``
    scores of a normal distribution, because a few ends say little about the tail.

    Args:
        history: Known learning curves; only long ones without failure or fall are scored.
        examples: Validation examples of every accuracy.
        longest: The most rounds of any candidate.
        level: Fraction of held-out ends to cover, above 0 and below 1.
        space: Candidates whose features count besides those of the curves.
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
    points = list(ends.items())
    made = log_odds_at({**history, **before}, points, examples, longest, history, space)
    estimates = {c: told for c, told in zip(ends, made, strict=True) if told is not None}
    scores = [_normal_quantile((k + 0.5) / _PRIOR_SCORES) for k in range(_PRIOR_SCORES)]
    for c, (mean, sd) in estimates.items():
        end = smoothed_accuracy(far[c].evaluated, far[c].accuracies, ends[c])
        noise = standard_error(far[c].evaluated, end, ends[c], examples)
        scores.append(abs(end - expit(mean)) / math.hypot(sd * _slope(mean), noise))
    at = math.ceil((len(scores) + 1) * level) - 1
    return sorted(scores)[min(at, len(scores) - 1)]
