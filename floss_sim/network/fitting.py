"""A fleet of a few classes from many speed tests, and what the classes lose.

Rows are sorted by download rate and cut into K groups of equal weight, a row at a cut belonging to
both sides by its parts. Each class is the median download rate, upload rate and latency of one
group, so that the directions stay together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from floss_sim.network.speed_tests import Array, SpeedTests
from floss_sim.units import format_duration, format_rate, parse_duration, parse_rate

PERCENTS = (5, 50, 95)
_SAME = 1e-12  # of the total weight: sums of weights that differ by less are equal
_SHARE_DIGITS = 4


@dataclass(frozen=True)
class Fit:
    """Classes fitted to speed tests (K classes, slowest download first).

    Attributes:
        tests: What they were fitted to.
        shares: Shares of the fleet (K,); they add up to 1.
        down_bits_per_s: Download rates (K,), three significant digits.
        up_bits_per_s: Upload rates (K,), likewise.
        rtt_s: Round trips (K,), likewise.
    """

    tests: SpeedTests
    shares: Array
    down_bits_per_s: Array
    up_bits_per_s: Array
    rtt_s: Array


def fit_classes(tests: SpeedTests, classes: int) -> Fit:
    """Return the classes of equal weight that stand for the tests."""
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
        tests,
        share_K,
        np.array([parse_rate(format_rate(rate)) for rate in medians["down"]]),
        np.array([parse_rate(format_rate(rate)) for rate in medians["up"]]),
        np.array([parse_duration(format_duration(rtt)) for rtt in medians["rtt"]]),
    )


def quantile(values_N: Array, weight_N: Array, q: float) -> float:
    """Return the value below which a share ``q`` of the weight lies.

    Where a value ends exactly at ``q`` it is the mean of that value and the next, so that equal
    weights give the ordinary median.
    """
    order = np.argsort(values_N, kind="stable")
    cumulative_N = np.cumsum(weight_N[order])
    total = cumulative_N[-1]
    edges = np.searchsorted(cumulative_N, [(q - _SAME) * total, (q + _SAME) * total])
    low, high = np.minimum(edges, values_N.size - 1)
    return float(values_N[order[low]] + values_N[order[high]]) / 2


def distribution(values_N: Array, weight_N: Array) -> tuple[Array, Array]:
    """Return the distinct values in order and the share of the weight at or below each."""
    value_M, inverse_N = np.unique(values_N, return_inverse=True)
    weight_M = np.bincount(inverse_N, weights=weight_N)
    return value_M, np.cumsum(weight_M) / weight_M.sum()


def kolmogorov_smirnov(a_N: Array, a_weight_N: Array, b_M: Array, b_weight_M: Array) -> float:
    """Return the largest distance of two weighted distribution functions, 0 to 1."""
    at = np.union1d(a_N, b_M)
    shares = []
    for values, weights in ((a_N, a_weight_N), (b_M, b_weight_M)):
        value, share = distribution(values, weights)
        shares.append(np.concatenate([[0.0], share])[np.searchsorted(value, at, side="right")])
    return float(np.abs(shares[0] - shares[1]).max())


def rank_correlation(x_N: Array, y_N: Array, weight_N: Array) -> float | None:
    """Return Spearman's weighted rank correlation, ties at their mean; None if one is constant."""
    ranks = [_mid_ranks(values, weight_N) for values in (x_N, y_N)]
    (xx, xy), (_, yy) = np.cov(ranks, aweights=weight_N, ddof=0)
    return float(xy / math.sqrt(xx * yy)) if min(xx, yy) > _SAME else None


def _mid_ranks(values_N: Array, weight_N: Array) -> Array:
    _, inverse_N = np.unique(values_N, return_inverse=True)
    weight_M = np.bincount(inverse_N, weights=weight_N) / weight_N.sum()
    return np.asarray((np.cumsum(weight_M) - weight_M / 2)[inverse_N])


def report(fit: Fit) -> dict[str, Any]:
    """Return what a reader needs to judge a fit, as plain values in bits per second and seconds.

    ``percentiles`` has data and fit side by side. Where rates do not repeat, K classes cannot
    bring a distance (``ks_down``, ``ks_up``) below 1 / (2 K).
    """
    tests = fit.tests
    data = _quantities(tests.down_bits_per_s, tests.up_bits_per_s, tests.rtt_s)
    fitted = _quantities(fit.down_bits_per_s, fit.up_bits_per_s, fit.rtt_s)
    return {
        "rows_used": tests.weights.size,
        "rows_left_out": tests.left_out,
        "rows_filtered": tests.filtered,
        "columns": dict(tests.columns),
        "units": dict(tests.units),
        "classes": [
            {"share": share, "down_bits_per_s": down, "up_bits_per_s": up, "rtt_s": rtt}
            for share, down, up, rtt in _classes(fit)
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


def _classes(fit: Fit) -> Iterator[tuple[float, float, float, float]]:
    columns = (fit.shares, fit.down_bits_per_s, fit.up_bits_per_s, fit.rtt_s)
    return zip(*(column.tolist() for column in columns), strict=True)


def _quantities(down_N: Array, up_N: Array, rtt_N: Array) -> dict[str, Array]:
    return {
        "down_bits_per_s": down_N,
        "up_bits_per_s": up_N,
        "rtt_s": rtt_N,
        "down_up_ratio": down_N / up_N,
    }


def _percentiles(values_N: Array, weight_N: Array) -> dict[str, float]:
    return {str(percent): quantile(values_N, weight_N, percent / 100) for percent in PERCENTS}


def profile_text(
    fit: Fit, *, name: str, source: str, date: str, fitted_on: str, compute_per_example: str
) -> str:
    """Return the TOML text of a network profile with the fitted classes.

    Args:
        fit: The classes.
        name: Names the profile.
        source: Who measured it, where.
        date: When it was measured.
        fitted_on: When it was fitted; for the header.
        compute_per_example: Duration with unit; it cannot come from a speed test.

    Raises:
        UnitError: A compute time that is not a duration.
    """
    parse_duration(compute_per_example)
    head = [f"# {_plain(line)}" for line in _header(fit, fitted_on)]
    keys = {"name": name, "source": source, "date": date}
    head += [f"{key} = {_quoted(value)}" for key, value in keys.items()]
    return "\n".join([*head, *_class_lines(fit, compute_per_example)]) + "\n"


def _header(fit: Fit, fitted_on: str) -> list[str]:
    tests, classes = fit.tests, fit.shares.size
    chosen = f" with {', '.join(tests.where)}" if tests.where else ""
    weights = f", weighted by {tests.columns['weight']}" if "weight" in tests.columns else ""
    read = [f"{role}: {tests.columns[role]} in {unit}" for role, unit in tests.units.items()]
    return [
        f"Fitted on {fitted_on} by floss-sim profiles fit to {tests.weights.size} speed tests of",
        f"{tests.source}{chosen}{weights}.",
        f"Columns read: {', '.join(read)}.",
        f"{tests.left_out} rows were left out for a value that is missing or not above zero.",
        f"They are sorted by download rate and cut into {classes} groups of equal weight; each "
        "class is the",
        "median download rate, upload rate and latency of one group.",
        "compute_per_example is an assumption: a speed test says nothing about it.",
        "Units stand with the numbers: 1 Mbit/s is 10^6 bit/s, 1 kbit/s is 10^3 bit/s.",
    ]


def _plain(text: str) -> str:
    """Return text without what may not stand in a comment, such as line breaks in a file name."""
    return "".join(c if c.isprintable() else " " for c in text)


def _quoted(text: str) -> str:
    """Return a TOML string; the delete character is the one that JSON would leave as it is."""
    sendable = text.encode("utf-8", "replace").decode()  # no lone surrogates
    return json.dumps(sendable, ensure_ascii=False).replace("\x7f", "\\u007f")


def _class_lines(fit: Fit, compute_per_example: str) -> list[str]:
    lines = []
    for share, down, up, rtt in _classes(fit):
        lines += [
            "",
            "[[clients]]",
            f"share = {share}",
            f'down = "{format_rate(down)}"',
            f'up = "{format_rate(up)}"',
            f'rtt = "{format_duration(rtt)}"',
            f"compute_per_example = {_quoted(compute_per_example)}",
        ]
    return lines
