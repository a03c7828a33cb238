"""Forecasts of learning curves with their uncertainty, and a backtest that weighs them.

Each curve is averaged in at most ``BINS`` bins of log-spaced rounds, with the same boundaries for
all curves. A few hundred points then represent all curves, and the exact posterior of
:mod:`planner.forecasts.gaussian_process` is cheap. The process models log-odds: there binomial
noise is nearly Gaussian, and forecasts stay within (0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.candidates import Candidate
from planner.curves import Curve
from planner.forecasts.falls import curve_fall, peak_round
from planner.forecasts.features import features, varying_columns
from planner.forecasts.gaussian_process import Points, Process, use_one_thread
from planner.forecasts.smoothing import smoothed_accuracy, standard_error
from planner.forecasts.task_prior import TaskPrior

BINS = 9  # bins of rounds for each curve, at most
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # weights of forecasts that a backtest chooses from
_SMALLEST_SD = 1e-4  # accuracy, 0 to 1: lower bound of a forecast's standard deviation
Bin = tuple[float, float, int]  # mean log round, mean accuracy, number of evaluations
Rows = tuple[tuple[Candidate, Bin], ...]
Columns = tuple[int, ...]


@dataclass(frozen=True)
class Forecast:
    """Expected accuracy at some round, 0 to 1, and the standard deviation of the forecast."""

    mean: float
    sd: float

    def with_measurement_noise(self, examples: int) -> Forecast:
        """Return the forecast of the accuracy measured on ``examples`` validation examples."""
        return Forecast(self.mean, math.sqrt(self.sd**2 + self.mean * (1 - self.mean) / examples))


@dataclass(frozen=True)
class Trial:
    """Test of one forecast: the accuracy seen before, the forecast, and the measured accuracy.

    ``seen`` and ``measured`` are smoothed accuracies, 0 to 1. The forecast includes measurement
    noise.
    """

    seen: float
    forecast: Forecast
    measured: float


def boundaries(longest: int) -> NDArray[np.float64]:
    """Return the ``BINS`` + 1 log-spaced rounds that bound the bins."""
    return np.geomspace(1, max(longest, 2) + 1, BINS + 1)


@lru_cache(maxsize=4096)  # searches ask for the same curves again and again
def curve_bins(curve: Curve, longest: int) -> tuple[Bin, ...]:
    """Return a curve's bins: mean log round, mean accuracy, number of evaluations."""
    time_N = np.log(np.array(curve.evaluated, dtype=np.float64))
    accuracy_N = np.array(curve.accuracies, dtype=np.float64)
    bin_N = np.searchsorted(boundaries(longest)[1:-1], curve.evaluated, side="right")
    inside = [bin_N == number for number in np.unique(bin_N)]
    return tuple(
        (float(time_N[i].mean()), float(accuracy_N[i].mean()), int(i.sum())) for i in inside
    )


def forecast(
    history: Mapping[Candidate, Curve],
    asked: Mapping[Candidate, int],
    examples: int,
    longest: int,
    learned: Mapping[Candidate, Curve] | None = None,
    prior: TaskPrior | None = None,
) -> dict[Candidate, Forecast]:
    """Return the forecast accuracy of each candidate at its requested round.

    The mean of a forecast is the median accuracy. Its standard deviation is half the range of
    accuracies within one standard deviation of log-odds. The result is deterministic, and empty
    without known curves.

    The arguments are those of :func:`log_odds`.
    """
    made = log_odds(history, asked, examples, longest, learned, prior)
    return {c: accuracy_forecast(mean, sd) for c, (mean, sd) in made.items()}


def accuracy_forecast(mean: float, sd: float) -> Forecast:
    """Return the forecast of an accuracy whose log-odds have this mean and deviation."""
    low, middle, high = (expit(mean + k * sd) for k in (-1, 0, 1))
    return Forecast(middle, max((high - low) / 2, _SMALLEST_SD))


def expit(log_odds: float) -> float:
    """Return the probability that has these log-odds; next to 0 below -700, without overflow."""
    return 1 / (1 + math.exp(min(-log_odds, 700.0)))


def log_odds(
    history: Mapping[Candidate, Curve],
    asked: Mapping[Candidate, int],
    examples: int,
    longest: int,
    learned: Mapping[Candidate, Curve] | None = None,
    prior: TaskPrior | None = None,
) -> dict[Candidate, tuple[float, float]]:
    """Return mean and standard deviation of the log-odds of each candidate's accuracy.

    Args:
        history: Known learning curves; diverged and empty curves are ignored.
        asked: The round to forecast for each candidate, with or without a known curve.
        examples: Validation examples of every accuracy.
        longest: The most rounds of any candidate; sets the bins and the scale of time.
        learned: Curves on which the hyper-parameters are fitted; by default ``history``. Fitting
            takes a hundred times as long as conditioning on some other points.
        prior: Prior over tasks, whose differences between candidates are expected as far as the
            curves agree with them.
    """
    points = list(asked.items())
    made = log_odds_at(history, points, examples, longest, learned, prior=prior)
    return {c: told for c, told in zip(asked, made, strict=True) if told is not None}


def log_odds_at(
    history: Mapping[Candidate, Curve],
    points: Sequence[tuple[Candidate, int]],
    examples: int,
    longest: int,
    learned: Mapping[Candidate, Curve] | None = None,
    space: Sequence[Candidate] = (),
    prior: TaskPrior | None = None,
) -> list[tuple[float, float] | None]:
    """Return mean and standard deviation of the log-odds of each point's accuracy.

    A point is a candidate at a round. A point of which nothing is known gives None.

    Args:
        history: Known learning curves; diverged and empty curves are ignored.
        points: The candidates and rounds; a candidate may have several.
        examples: Validation examples of every accuracy.
        longest: The most rounds of any candidate; sets the bins and the scale of time.
        learned: Curves on which the hyper-parameters are fitted; by default ``history``.
        space: Candidates whose features count besides those of the curves and points: with the
            same ones, the result for a point does not depend on the other points.
        prior: As of :func:`log_odds`.
    """
    rows = _rows(history, examples, longest)
    made: list[tuple[float, float] | None] = [None] * len(points)
    if rows and points:
        learned_rows = _rows(learned, examples, longest) if learned else rows
        candidates = [c for c, _ in points]
        known = (c for c, _ in (*rows, *learned_rows))
        columns = varying_columns([*known, *candidates, *space])
        x_MD = np.array([features(c) for c in candidates])[:, columns]
        time_M = np.log([max(1, rounds) for _, rounds in points])
        with use_one_thread():
            process = _fit_process(learned_rows or rows, columns, examples, longest, prior)
            if learned_rows != rows:
                process = process.conditioned_on(_points(rows, columns, examples, prior))
            if prior is None:
                mean_M, sd_M = process.predict(x_MD, time_M)
            else:
                told_M = prior.differences([(c, max(1, rounds)) for c, rounds in points])
                mean_M, sd_M = process.predict(x_MD, time_M, prior.weight_sd * told_M)
                mean_M = mean_M + told_M
        made = list(zip(mean_M.tolist(), sd_M.tolist(), strict=True))
    return [
        _fallen_log_odds(history[c], rounds, examples)
        if c in history and rounds > _sound_rounds(history[c], examples)
        else told
        for (c, rounds), told in zip(points, made, strict=True)
    ]


def own_deviation(
    history: Mapping[Candidate, Curve],
    examples: int,
    longest: int,
    space: Sequence[Candidate] = (),
) -> float | None:
    """Return the standard deviation of a candidate's log-odds about those of similar candidates.

    The result is None without a usable curve. The arguments are those of :func:`log_odds_at`.
    """
    if not (rows := _rows(history, examples, longest)):
        return None
    columns = varying_columns([*(c for c, _ in rows), *space])
    with use_one_thread():
        return _fit_process(rows, columns, examples, longest).own_sd


def prior_weight(
    history: Mapping[Candidate, Curve], examples: int, longest: int, prior: TaskPrior
) -> float:
    """Return how far curves agree with a prior over tasks.

    1: they differ between candidates as it expects; 0: not at all; below 0: the other way. It is
    the expected factor of the prior's differences, given the curves, and 1 without a curve.
    The arguments are those of :func:`log_odds_at`.
    """
    if not (rows := _rows(history, examples, longest)):
        return 1.0
    columns = varying_columns([c for c, _ in rows])
    with use_one_thread():
        process = _fit_process(rows, columns, examples, longest, prior)
    return 1.0 + prior.weight_sd * process.coefficient


def _fallen_log_odds(curve: Curve, rounds: int, examples: int) -> tuple[float, float]:
    """Return mean and deviation in log-odds for a fallen curve at a round after its peak.

    They are the smoothed accuracy there, and half of the fall by then; the standard error of the
    accuracy where the curve had not fallen yet.
    """
    part = curve.until(rounds)
    end = smoothed_accuracy(part.evaluated, part.accuracies, part.rounds)
    right = (end * examples + 0.5) / (examples + 1)
    error = standard_error(part.evaluated, end, part.rounds, examples)
    half = max(curve_fall(part, examples) / 2, error)
    return math.log(right / (1 - right)), half / (right * (1 - right))


def _rows(history: Mapping[Candidate, Curve], examples: int, longest: int) -> Rows:
    """Return the bins of the curves that have not diverged, of fallen ones up to the peak."""
    known = {c: history[c] for c in sorted(history) if not history[c].failed}
    return tuple(
        (c, row)
        for c, curve in known.items()
        if curve.evaluated
        for row in curve_bins(curve.until(peak_round(curve, examples) or curve.rounds), longest)
    )


def _sound_rounds(curve: Curve, examples: int) -> float:
    """Return the last round before a curve's accuracy fell; infinity if it did not fall."""
    peak = peak_round(curve, examples)
    return math.inf if peak is None else peak


@lru_cache(maxsize=16)  # strategies that replay their decisions repeat calls
def _fit_process(
    rows: Rows, columns: Columns, examples: int, longest: int, prior: TaskPrior | None = None
) -> Process:
    return Process.fit(_points(rows, columns, examples, prior), math.log(max(longest, 2)))


def _points(rows: Rows, columns: Columns, examples: int, prior: TaskPrior | None = None) -> Points:
    """Return the bins as points; with a prior, as their distances from what it expects."""
    x_ND = np.array([features(candidate) for candidate, _ in rows])[:, columns]
    time_N, accuracy_N, count_N = np.array([row for _, row in rows], dtype=np.float64).T
    right_N = (accuracy_N * examples + 0.5) / (examples + 1)  # keeps log-odds finite
    y_N = np.log(right_N / (1 - right_N))
    noise_N = 1 / (examples * count_N * right_N * (1 - right_N))
    if prior is None:
        return Points(x_ND, time_N, y_N, noise_N)
    told_N = prior.differences([(c, math.exp(log_round)) for c, (log_round, _, _) in rows])
    return Points(x_ND, time_N, y_N - told_N, noise_N, prior.weight_sd * told_N)


def backtest(rungs: Sequence[Sequence[Trial]]) -> float:
    """Return the weight of forecasts, 0 to 1, whose blended ranks agree best with measurements.

    For each of ``WEIGHTS``, the pairs within rungs that blended ranks order as measured are
    counted. The result is the largest weight whose count differs from the highest count by no more
    than chance: half the square root of the number of pairs. Forecasts that make the order worse
    get 0.

    Args:
        rungs: Trials of each rung that has been run.
    """
    ordered = {w: sum(_ordered_pairs(trials, w) for trials in rungs) for w in WEIGHTS}
    chance_sd = math.sqrt(sum(math.comb(len(trials), 2) for trials in rungs)) / 2
    return max(weight for weight in WEIGHTS if ordered[weight] >= max(ordered.values()) - chance_sd)


def _ordered_pairs(trials: Sequence[Trial], weight: float) -> float:
    """Return the number of pairs that blended ranks order as measured; a tie counts half."""
    ranks = blended_ranks([t.seen for t in trials], [t.forecast.mean for t in trials], weight)
    first, second = np.triu_indices(len(trials), 1)
    measured = np.array([t.measured for t in trials])
    agree = np.sign(measured[first] - measured[second]) * np.sign(ranks[second] - ranks[first])
    return float((agree + 1).sum() / 2)


def blended_ranks(
    seen: Sequence[float], forecast: Sequence[float], weight: float
) -> NDArray[np.float64]:
    """Return (1 - weight) times the rank by ``seen`` plus weight times the rank by ``forecast``.

    Rank 0 is the best; equal values share the mean of their ranks.
    """
    return (1 - weight) * _ranks(seen) + weight * _ranks(forecast)


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    ordered = np.sort(-np.array(values, dtype=np.float64))
    left, right = (np.searchsorted(ordered, -np.array(values), side=s) for s in ("left", "right"))
    ranks: NDArray[np.float64] = (left + right - 1) / 2
    return ranks
