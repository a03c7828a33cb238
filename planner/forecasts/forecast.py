"""Learning curves to come, with uncertainty, and how far such forecasts are to be trusted.

Each curve is binned to at most ``BINS`` means at log-spaced rounds, with the same boundaries for
all, so that a few hundred points hold all that is known and the exact posterior of
:mod:`planner.forecasts.gaussian_process` is cheap. The process lives on log-odds, where binomial
noise is nearly Gaussian and no forecast leaves (0, 1).
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
from planner.forecasts.features import features, varying_columns
from planner.forecasts.gaussian_process import Points, Process, use_one_thread
from planner.forecasts.smoothing import difference_error, smoothed_accuracy

BINS = 9
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SMALLEST_SD = 1e-4
_FALL_ERRORS = 2.5
Bin = tuple[float, float, int]
Rows = tuple[tuple[Candidate, Bin], ...]
Columns = tuple[int, ...]


@dataclass(frozen=True)
class Forecast:
    """What an accuracy at some round is expected to be, and the standard deviation of that."""

    mean: float
    sd: float

    def with_measurement_noise(self, examples: int) -> Forecast:
        """Return the forecast of what ``examples`` validation examples will show."""
        return Forecast(self.mean, math.sqrt(self.sd**2 + self.mean * (1 - self.mean) / examples))


@dataclass(frozen=True)
class Trial:
    """A forecast put to the test: what was seen before, what was forecast, what was measured.

    ``seen`` and ``measured`` are smoothed accuracies; the forecast is of a measurement.
    """

    seen: float
    forecast: Forecast
    measured: float


def boundaries(longest: int) -> NDArray[np.float64]:
    """Return the ``BINS`` + 1 log-spaced rounds between which evaluations are averaged."""
    return np.geomspace(1, max(longest, 2) + 1, BINS + 1)


def curve_bins(curve: Curve, longest: int) -> list[Bin]:
    """Return a curve's bins: mean log round, mean accuracy, number of evaluations."""
    time_N = np.log(np.array(curve.evaluated, dtype=np.float64))
    accuracy_N = np.array(curve.accuracies, dtype=np.float64)
    bin_N = np.searchsorted(boundaries(longest)[1:-1], curve.evaluated, side="right")
    inside = [bin_N == number for number in np.unique(bin_N)]
    return [(float(time_N[i].mean()), float(accuracy_N[i].mean()), int(i.sum())) for i in inside]


def forecast(
    history: Mapping[Candidate, Curve],
    asked: Mapping[Candidate, int],
    examples: int,
    longest: int,
    learned: Mapping[Candidate, Curve] | None = None,
) -> dict[Candidate, Forecast]:
    """Return the forecast accuracy of each candidate at the round that is asked for.

    The mean is the median; the deviation is half of what one deviation of log-odds up and down
    spans. Deterministic. With nothing known there is no forecast: the result is empty.

    Arguments are those of :func:`log_odds`.
    """
    made = log_odds(history, asked, examples, longest, learned)
    return {c: _accuracy_forecast(mean, sd) for c, (mean, sd) in made.items()}


def _accuracy_forecast(mean: float, sd: float) -> Forecast:
    low, middle, high = (expit(mean + k * sd) for k in (-1, 0, 1))
    return Forecast(middle, max((high - low) / 2, _SMALLEST_SD))


@lru_cache(maxsize=4096)
def curve_fall(curve: Curve, examples: int) -> float:
    """Return how far a curve's end lies below its best earlier part, or 0 if that may be noise.

    Both are smoothed; noise is ``_FALL_ERRORS`` standard errors of a difference and less.
    """
    if not curve.evaluated:
        return 0.0
    values = [smoothed_accuracy(curve.evaluated, curve.accuracies, r) for r in curve.evaluated]
    fall = max(values) - values[-1]
    return fall if fall > _FALL_ERRORS * difference_error(max(values), examples) else 0.0


def expit(log_odds: float) -> float:
    """Return the probability of some log-odds."""
    return 1 / (1 + math.exp(-log_odds))


def log_odds(
    history: Mapping[Candidate, Curve],
    asked: Mapping[Candidate, int],
    examples: int,
    longest: int,
    learned: Mapping[Candidate, Curve] | None = None,
) -> dict[Candidate, tuple[float, float]]:
    """Return mean and standard deviation of the log-odds of each candidate's accuracy.

    Args:
        history: What is known; diverged and empty curves are left out.
        asked: A round for each candidate, whether it has a curve or not.
        examples: Validation examples behind every accuracy.
        longest: The most rounds of any candidate; sets the bins and the scale of time.
        learned: Less that is known, from which the process' hyper-parameters are taken: fitting
            them again takes a hundred times as long as taking in some more points.
    """
    rows = _rows(history, examples, longest)
    fell = {c for c in asked.keys() & history.keys() if curve_fall(history[c], examples)}
    made: dict[Candidate, tuple[float, float]] = {}
    if rows and asked:
        learned_rows = _rows(learned, examples, longest) if learned else rows
        columns = varying_columns([*(c for c, _ in (*rows, *learned_rows)), *asked])
        x_MD = np.array([features(c) for c in asked])[:, columns]
        time_M = np.log([max(1, rounds) for rounds in asked.values()])
        with use_one_thread():
            process = _fit_process(learned_rows or rows, columns, examples, longest)
            if learned_rows != rows:
                process = process.conditioned_on(_points(rows, columns, examples))
            mean_M, sd_M = process.predict(x_MD, time_M)
        made = dict(zip(asked, zip(mean_M.tolist(), sd_M.tolist(), strict=True), strict=True))
    return made | {c: _fallen_log_odds(history[c], examples) for c in fell}


def own_deviation(history: Mapping[Candidate, Curve], examples: int, longest: int) -> float | None:
    """Return the deviation in log-odds of a candidate's curve from what near ones share.

    None where no curve tells. Arguments are those of :func:`log_odds`.
    """
    if not (rows := _rows(history, examples, longest)):
        return None
    with use_one_thread():
        return _fit_process(rows, varying_columns(c for c, _ in rows), examples, longest).own_sd


def _fallen_log_odds(curve: Curve, examples: int) -> tuple[float, float]:
    """Return the log-odds of a fallen curve: where it is, give or take half of its fall."""
    end = smoothed_accuracy(curve.evaluated, curve.accuracies, curve.rounds)
    right = (end * examples + 0.5) / (examples + 1)
    return math.log(right / (1 - right)), curve_fall(curve, examples) / (right * (1 - right)) / 2


def _rows(history: Mapping[Candidate, Curve], examples: int, longest: int) -> Rows:
    return tuple(
        (c, row)
        for c in sorted(history)
        if history[c].evaluated and not history[c].failed and not curve_fall(history[c], examples)
        for row in curve_bins(history[c], longest)
    )


@lru_cache(maxsize=16)  # a strategy that replays its decisions asks again
def _fit_process(rows: Rows, columns: Columns, examples: int, longest: int) -> Process:
    return Process.fit(_points(rows, columns, examples), math.log(max(longest, 2)))


def _points(rows: Rows, columns: Columns, examples: int) -> Points:
    x_ND = np.array([features(candidate) for candidate, _ in rows])[:, columns]
    time_N, accuracy_N, count_N = np.array([row for _, row in rows], dtype=np.float64).T
    right_N = (accuracy_N * examples + 0.5) / (examples + 1)  # keeps log-odds finite
    y_N = np.log(right_N / (1 - right_N))
    return Points(x_ND, time_N, y_N, 1 / (examples * count_N * right_N * (1 - right_N)))


def backtest(rungs: Sequence[Sequence[Trial]]) -> float:
    """Return the weight of forecasts that would have ranked what was measured best, 0 to 1.

    Of ``WEIGHTS``, the largest whose blend of ranks orders the pairs within the rungs as they were
    measured no worse than the best of them, but for what luck explains: half the root of the
    number of pairs. Forecasts that harm get 0.

    Args:
        rungs: Trials of each rung that has been run.
    """
    ordered = {w: sum(_ordered_pairs(trials, w) for trials in rungs) for w in WEIGHTS}
    luck = math.sqrt(sum(math.comb(len(trials), 2) for trials in rungs)) / 2
    return max(weight for weight in WEIGHTS if ordered[weight] >= max(ordered.values()) - luck)


def _ordered_pairs(trials: Sequence[Trial], weight: float) -> float:
    """Return how many pairs a blend orders as measured; a tie counts half."""
    ranks = blended_ranks([t.seen for t in trials], [t.forecast.mean for t in trials], weight)
    first, second = np.triu_indices(len(trials), 1)
    measured = np.array([t.measured for t in trials])
    agree = np.sign(measured[first] - measured[second]) * np.sign(ranks[second] - ranks[first])
    return float((agree + 1).sum() / 2)


def blended_ranks(
    seen: Sequence[float], forecast: Sequence[float], weight: float
) -> NDArray[np.float64]:
    """Return (1 - weight) times the rank by what was seen plus weight times that by forecast.

    Rank 0 is the best; equals share a rank.
    """
    return (1 - weight) * _ranks(seen) + weight * _ranks(forecast)


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    ordered = np.sort(-np.array(values, dtype=np.float64))
    left, right = (np.searchsorted(ordered, -np.array(values), side=s) for s in ("left", "right"))
    ranks: NDArray[np.float64] = (left + right - 1) / 2
    return ranks
