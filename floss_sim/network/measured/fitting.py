"""Fleet fitting: a few client classes from many speed tests, with measures of the fit's error.

Rows are sorted by download rate and cut into K groups of equal weight. The weight of a row at a cut
is split between both groups. Each class has the median download rate, upload rate and latency of
one group, so that download and upload stay related. Alternatively the fleet is the rows
themselves, which has no error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from floss_sim.network.measured.speed_tests import FloatArray, SpeedTests
from floss_sim.units import format_duration, format_rate, parse_duration, parse_rate

PERCENTS = (5, 50, 95)
_SAME = 1e-12  # fraction of the total weight: smaller differences count as rounding errors
_SHARE_DIGITS = 4  # decimal places of a class's share


@dataclass(frozen=True)
class Fit:
    """K classes fitted to speed tests, slowest download first; or the tests themselves as classes.

    Attributes:
        law: ``"classes"``, with rates and round trips rounded to three significant digits; or
            ``"rows"``: each test is a class, in the order of the tests, with unrounded numbers.
        tests: Speed tests behind the fit.
        shares: Shares of the fleet (K,); they add up to 1.
        down_bits_per_s: Download rates (K,).
        up_bits_per_s: Upload rates (K,).
        rtt_s: Round trips in seconds (K,).
    """

    law: Literal["classes", "rows"]
    tests: SpeedTests
    shares: FloatArray
    down_bits_per_s: FloatArray
    up_bits_per_s: FloatArray
    rtt_s: FloatArray


def fit_classes(tests: SpeedTests, classes: int) -> Fit:
    """Return ``classes`` classes of equal share, fitted to the tests."""
    order = np.lexsort((tests.rtt_s, tests.up_bits_per_s, tests.down_bits_per_s))
    end_N = np.cumsum(tests.weights[order]) / tests.weights.sum()
    start_N = np.concatenate([[0.0], end_N[:-1]])
    medians: dict[str, list[float]] = {"down": [], "up": [], "rtt": []}
    for k in range(classes):
        part_N = np.minimum(end_N, (k + 1) / classes) - np.maximum(start_N, k / classes)
        inside = part_N > 0
        rows, weights = order[inside], part_N[inside]
        for name, values in (
            ("down", tests.down_bits_per_s),
            ("up", tests.up_bits_per_s),
            ("rtt", tests.rtt_s),
        ):
            medians[name].append(quantile(values[rows], weights, 0.5))
    share_K = np.full(classes, round(1 / classes, _SHARE_DIGITS))
    share_K[-1] = round(1 - share_K[:-1].sum(), _SHARE_DIGITS)
    return Fit(
        "classes",
        tests,
        share_K,
        np.array([parse_rate(format_rate(rate)) for rate in medians["down"]]),
        np.array([parse_rate(format_rate(rate)) for rate in medians["up"]]),
        np.array([parse_duration(format_duration(rtt)) for rtt in medians["rtt"]]),
    )


def fit_rows(tests: SpeedTests) -> Fit:
    """Return the tests as a fleet of rows, each with a share proportional to its weight."""
    shares = tests.weights / tests.weights.sum()
    return Fit("rows", tests, shares, tests.down_bits_per_s, tests.up_bits_per_s, tests.rtt_s)


def quantile(values_N: FloatArray, weight_N: FloatArray, q: float) -> float:
    """Return the weighted quantile: a share ``q`` of the weight is below it.

    If the cumulative weight of a value is exactly ``q``, the result is the mean of that value and
    the next one, so that equal weights give the ordinary median.
    """
    order = np.argsort(values_N, kind="stable")
    cumulative_N = np.cumsum(weight_N[order])
    total = cumulative_N[-1]
    edges = np.searchsorted(cumulative_N, [(q - _SAME) * total, (q + _SAME) * total])
    low, high = np.minimum(edges, values_N.size - 1)
    return float(values_N[order[low]] + values_N[order[high]]) / 2


def distribution(values_N: FloatArray, weight_N: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the distinct values in ascending order, and the share of weight at or below each."""
    value_M, inverse_N = np.unique(values_N, return_inverse=True)
    weight_M = np.bincount(inverse_N, weights=weight_N)
    return value_M, np.cumsum(weight_M) / weight_M.sum()


def kolmogorov_smirnov(
    a_N: FloatArray, a_weight_N: FloatArray, b_M: FloatArray, b_weight_M: FloatArray
) -> float:
    """Return the Kolmogorov-Smirnov distance of two weighted distributions, 0 to 1."""
    at = np.union1d(a_N, b_M)
    shares = []
    for values, weights in ((a_N, a_weight_N), (b_M, b_weight_M)):
        value, share = distribution(values, weights)
        shares.append(np.concatenate([[0.0], share])[np.searchsorted(value, at, side="right")])
    return float(np.abs(shares[0] - shares[1]).max())


def rank_correlation(x_N: FloatArray, y_N: FloatArray, weight_N: FloatArray) -> float | None:
    """Return Spearman's weighted rank correlation; None if ``x_N`` or ``y_N`` is constant.

    Tied values get the mean of their ranks.
    """
    ranks = [_mid_ranks(values, weight_N) for values in (x_N, y_N)]
    (xx, xy), (_, yy) = np.cov(ranks, aweights=weight_N, ddof=0)
    return float(xy / math.sqrt(xx * yy)) if min(xx, yy) > _SAME else None


def _mid_ranks(values_N: FloatArray, weight_N: FloatArray) -> FloatArray:
    _, inverse_N = np.unique(values_N, return_inverse=True)
    weight_M = np.bincount(inverse_N, weights=weight_N) / weight_N.sum()
    return np.asarray((np.cumsum(weight_M) - weight_M / 2)[inverse_N])


def report(fit: Fit) -> dict[str, Any]:
    """Return the fit's quality as plain values, in bits per second and seconds.

    ``percentiles`` has the percentiles of data and fit. ``ks_down`` and ``ks_up`` are
    Kolmogorov-Smirnov distances; if all rates differ, K classes cannot bring them below 1 / (2 K).
    ``classes`` is empty for a fit by rows.
    """
    tests = fit.tests
    data = _quantities(tests.down_bits_per_s, tests.up_bits_per_s, tests.rtt_s)
    fitted = _quantities(fit.down_bits_per_s, fit.up_bits_per_s, fit.rtt_s)
    return {
        "law": fit.law,
        "rows_used": tests.weights.size,
        "rows_left_out": tests.left_out,
        "rows_unreadable": tests.unreadable,
        "rows_filtered": tests.filtered,
        "delimiter": tests.delimiter,
        "decimal": tests.decimal,
        "columns": dict(tests.columns),
        "units": dict(tests.units),
        "classes": [
            {"share": share, "down_bits_per_s": down, "up_bits_per_s": up, "rtt_s": rtt}
            for share, down, up, rtt in classes_of(fit)
            if fit.law == "classes"
        ],
        "percentiles": {
            name: {
                "data": _percentiles(data[name], tests.weights),
                "fit": _percentiles(fitted[name], fit.shares),
            }
            for name in data
        },
        "rank_correlation": {
            "data": rank_correlation(tests.down_bits_per_s, tests.up_bits_per_s, tests.weights),
            "fit": rank_correlation(fit.down_bits_per_s, fit.up_bits_per_s, fit.shares),
        },
        "ks_down": kolmogorov_smirnov(
            tests.down_bits_per_s, tests.weights, fit.down_bits_per_s, fit.shares
        ),
        "ks_up": kolmogorov_smirnov(
            tests.up_bits_per_s, tests.weights, fit.up_bits_per_s, fit.shares
        ),
    }


def classes_of(fit: Fit) -> Iterator[tuple[float, float, float, float]]:
    """Yield the share, download rate, upload rate and round trip of each class."""
    columns = (fit.shares, fit.down_bits_per_s, fit.up_bits_per_s, fit.rtt_s)
    return zip(*(column.tolist() for column in columns), strict=True)


def _quantities(down_N: FloatArray, up_N: FloatArray, rtt_N: FloatArray) -> dict[str, FloatArray]:
    return {
        "down_bits_per_s": down_N,
        "up_bits_per_s": up_N,
        "rtt_s": rtt_N,
        "down_up_ratio": down_N / up_N,
    }


def _percentiles(values_N: FloatArray, weight_N: FloatArray) -> dict[str, float]:
    return {str(percent): quantile(values_N, weight_N, percent / 100) for percent in PERCENTS}
