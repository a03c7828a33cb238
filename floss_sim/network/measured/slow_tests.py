"""Slow tests: speed tests far below the others, and their part in the time of rounds.

A test is slow if a client with its link needs more than ten times as long for a payload, down and
up, as nine of ten clients. In a round that waits for n independent clients, the slowest has this
link with probability F(t)^n - F(t-)^n, where F is the distribution function of a client's time and
F(t-) its value just below the test's time t. Tests of equal time share it by weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.network.measured.fit_figures import ROUNDS
from floss_sim.network.measured.speed_tests import SpeedTests
from floss_sim.network.measured.weighted_statistics import FloatArray, quantile

SLOW_RATIO = 10  # times of the time within which nine of ten clients finish
_OTHERS = 0.9


@dataclass(frozen=True)
class RoundPart:
    """Part of one or several tests in rounds that wait for all of their clients.

    Attributes:
        rounds: Fraction of the rounds whose slowest client has such a link.
        time: Fraction of the expected time of a round that these rounds are.
    """

    rounds: float
    time: float


@dataclass(frozen=True)
class SlowTest:
    """One slow test: its line in the file, its link, and its part in each kind of round by name."""

    line: int
    down_bits_per_s: float
    up_bits_per_s: float
    rtt_s: float
    parts: Mapping[str, RoundPart]


@dataclass(frozen=True)
class SlowTests:
    """Slow tests of a file, slowest first, and their part all together.

    Attributes:
        tests: The slow tests.
        weight: Fraction of the weight of all tests.
        parts: Part of the slow tests all together in each kind of round, by name.
        slowest: Part of the slowest test of all, slow or not, in each kind of round, by name.
        expected_s: Expected seconds of each kind of round, by name.
        expected_without_s: The same without the slow tests.
    """

    tests: tuple[SlowTest, ...]
    weight: float
    parts: Mapping[str, RoundPart]
    slowest: Mapping[str, RoundPart]
    expected_s: Mapping[str, float]
    expected_without_s: Mapping[str, float]


def slow_tests(tests: SpeedTests) -> SlowTests:
    """Return the slow tests of a file and their part in each of the rounds of fit_figures.py."""
    links = tests.links
    exchange_s = {each.nbytes: links.exchange_s(each.nbytes) for each in ROUNDS}
    slowness_N = np.max(
        [seconds / quantile(seconds, links.weights, _OTHERS) for seconds in exchange_s.values()],
        axis=0,
    )
    order = np.argsort(-slowness_N, kind="stable")
    slow = order[slowness_N[order] > SLOW_RATIO]
    of_each = {
        each.name: round_parts(exchange_s[each.nbytes], links.weights, each.clients)
        for each in ROUNDS
    }
    return SlowTests(
        tuple(_slow_test(tests, row, of_each) for row in slow.tolist()),
        float(links.weights[slow].sum() / links.weights.sum()),
        _sums(of_each, slow),
        {
            name: RoundPart(float(rounds.max()), float(time.max()))
            for name, (rounds, time) in of_each.items()
        },
        _expected_s(exchange_s, links.weights),
        _expected_s(
            {nbytes: np.delete(seconds, slow) for nbytes, seconds in exchange_s.items()},
            np.delete(links.weights, slow),
        ),
    )


def round_parts(
    exchange_s: FloatArray, weight_N: FloatArray, clients: int
) -> tuple[FloatArray, FloatArray]:
    """Return the fraction of rounds that each link decides (N,), and of the expected time (N,).

    Args:
        exchange_s: Seconds of a client with each link (N,).
        weight_N: Weights of the links.
        clients: Number of clients of a round.
    """
    _, inverse_N = np.unique(exchange_s, return_inverse=True)
    weight_M = np.bincount(inverse_N, weights=weight_N)
    at_most_M = np.minimum(np.cumsum(weight_M) / weight_M.sum(), 1.0)
    decided_M = np.diff(at_most_M**clients, prepend=0.0)
    decided_N = decided_M[inverse_N] * weight_N / weight_M[inverse_N]
    time_N = decided_N * exchange_s
    return decided_N, time_N / time_N.sum()


def _expected_s(exchange_s: Mapping[int, FloatArray], weight_N: FloatArray) -> dict[str, float]:
    """Return the expected seconds of each kind of round, by name."""
    found = {}
    for each in ROUNDS:
        seconds = exchange_s[each.nbytes]
        rounds, _ = round_parts(seconds, weight_N, each.clients)
        found[each.name] = float(rounds @ seconds)
    return found


def _slow_test(
    tests: SpeedTests, row: int, of_each: Mapping[str, tuple[FloatArray, FloatArray]]
) -> SlowTest:
    return SlowTest(
        int(tests.lines[row]),
        float(tests.down_bits_per_s[row]),
        float(tests.up_bits_per_s[row]),
        float(tests.rtt_s[row]),
        _sums(of_each, np.array([row])),
    )


def _sums(
    of_each: Mapping[str, tuple[FloatArray, FloatArray]], rows: NDArray[np.intp]
) -> dict[str, RoundPart]:
    """Return the part of some rows together in each kind of round."""
    return {
        name: RoundPart(float(rounds[rows].sum()), float(time[rows].sum()))
        for name, (rounds, time) in of_each.items()
    }
