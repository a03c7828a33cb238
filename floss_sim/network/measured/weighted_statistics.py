"""Statistics of weighted values: quantiles, distribution functions, distances, rank correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SAME = 1e-12  # fraction of the total weight: smaller differences count as rounding errors


def quantile(values_N: FloatArray, weight_N: FloatArray, q: float) -> float:
    """Return the weighted quantile: a share ``q`` of the weight is below it.

    If the cumulative weight of a value is exactly ``q``, the result is the mean of that value and
    the next one, so that equal weights give the ordinary median.
    """
    return quantiles(values_N, weight_N, [q])[0]


def quantiles(values_N: FloatArray, weight_N: FloatArray, shares: Sequence[float]) -> list[float]:
    """Return the weighted quantile of each share, as :func:`quantile` defines it."""
    order = np.argsort(values_N, kind="stable")
    cumulative_N = np.cumsum(weight_N[order])
    total = cumulative_N[-1]
    q = np.array(shares)
    low, high = (
        np.minimum(np.searchsorted(cumulative_N, (q + side) * total), values_N.size - 1)
        for side in (-SAME, SAME)
    )
    found: list[float] = ((values_N[order[low]] + values_N[order[high]]) / 2).tolist()
    return found


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
    return float(xy / math.sqrt(xx * yy)) if min(xx, yy) > SAME else None


def _mid_ranks(values_N: FloatArray, weight_N: FloatArray) -> FloatArray:
    _, inverse_N = np.unique(values_N, return_inverse=True)
    weight_M = np.bincount(inverse_N, weights=weight_N) / weight_N.sum()
    return np.asarray((np.cumsum(weight_M) - weight_M / 2)[inverse_N])
