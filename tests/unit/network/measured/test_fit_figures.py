"""Figures of links: the law of the largest of n draws, against drawn cohorts and the simulator."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from made_speed_tests import drawn, heavy_tail, wide_lognormal
from networks import network, play
from stand_in_learners import FakeLearner

from floss_sim.network import ClientLink
from floss_sim.network.measured.fit_figures import (
    PERCENTS,
    ROUNDS,
    Deviation,
    figures_of,
    largest,
    largest_deviations,
)
from floss_sim.network.measured.weighted_links import WeightedLinks

COHORTS = 20_000


def slowest_of_cohorts(links: WeightedLinks, clients: int, nbytes: int) -> np.ndarray:
    """Return the times of many rounds whose clients draw links by weight, by plain arithmetic."""
    draw = np.random.default_rng(clients + nbytes)
    shares = links.weights / links.weights.sum()
    rows = draw.choice(shares.size, (COHORTS, clients), p=shares)
    down_s = 8 * nbytes / links.down_bits_per_s[rows]
    up_s = 8 * nbytes / links.up_bits_per_s[rows]
    return (down_s + up_s + links.rtt_s[rows]).max(axis=1)


@pytest.mark.parametrize("tests", [drawn(), wide_lognormal(300), heavy_tail(300)])
@pytest.mark.parametrize("each", ROUNDS)
def test_quantiles_of_rounds_are_those_of_drawn_cohorts(tests, each):
    slowest = slowest_of_cohorts(tests.links, each.clients, each.nbytes)
    for percent, value in figures_of(tests.links)[each.name].items():
        share = int(percent) / 100
        allowed = 4 * math.sqrt(share * (1 - share) / COHORTS)
        below, at_most = np.mean(slowest < value * (1 - 1e-9)), np.mean(slowest <= value * 1.000001)
        assert below - allowed <= share <= at_most + allowed


def test_the_time_of_an_exchange_is_that_of_the_simulator():
    tests = drawn(20)
    links = [
        ClientLink(*link, 0.0)
        for link in zip(tests.down_bits_per_s, tests.up_bits_per_s, tests.rtt_s, strict=True)
    ]
    for nbytes in (50_000, 5_000_000):
        (outcome,) = play(FakeLearner(nbytes, nbytes), network(), links)
        arrivals = [t.ended_at_s for t in outcome.transfers if t.direction == "up"]
        assert sorted(arrivals) == pytest.approx(sorted(tests.links.exchange_s(nbytes)), rel=1e-9)
        assert outcome.closed_at_s == pytest.approx(tests.links.exchange_s(nbytes).max(), rel=1e-9)


def test_quantiles_of_rates_and_round_trips_are_those_of_the_repeated_tests():
    tests = drawn(60)
    repeats = tests.weights.astype(int)
    found = figures_of(tests.links)
    for name in ("down_bits_per_s", "up_bits_per_s", "rtt_s"):
        repeated = np.repeat(getattr(tests, name), repeats)
        expected = np.quantile(repeated, np.array(PERCENTS) / 100, method="averaged_inverted_cdf")
        assert list(found[name].values()) == pytest.approx(expected.tolist(), rel=1e-12)


def test_a_deviation_is_relative_and_the_largest_is_so_by_its_factor():
    links = drawn(50).links
    data = figures_of(links)
    half = figures_of(replace(links, down_bits_per_s=links.down_bits_per_s / 2))
    found = largest_deviations(data, half)
    assert found["down_bits_per_s"].relative == pytest.approx(-0.5)
    assert found["up_bits_per_s"].relative == pytest.approx(0)
    assert found["round_50_clients_5000000_bytes_s"].relative > 0.1
    few, many = Deviation("a", 5, -0.8), Deviation("b", 5, 3.0)
    assert largest([few, many]) == few
    assert largest([many, few]) == few
