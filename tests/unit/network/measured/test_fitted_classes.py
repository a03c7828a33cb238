"""Links that stand for fitted classes: shares, quantiles and times of rounds of the law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from floss_sim.network.measured.fit_figures import PERCENTS, ROUNDS, figures_of
from floss_sim.network.measured.fitted_classes import FittedClass, links_of_classes

SLOW = FittedClass(0.25, 2e6, 1e6, 0.08)
WIDE = FittedClass(0.75, 20e6, 5e6, 0.05, 1.0, 0.8, 0.4, 0.6)
DRAWS = 4_000_000


def test_classes_without_spread_are_one_link_each():
    links = links_of_classes([SLOW, FittedClass(0.75, 9e6, 3e6, 0.02)])
    assert links.down_bits_per_s.tolist() == [2e6, 9e6]
    assert links.up_bits_per_s.tolist() == [1e6, 3e6]
    assert links.rtt_s.tolist() == [0.08, 0.02]
    assert links.weights.tolist() == [0.25, 0.75]


def test_a_class_with_spread_keeps_its_share():
    links = links_of_classes([SLOW, WIDE])
    assert links.weights.sum() == pytest.approx(1, abs=1e-12)
    assert links.weights[0] == 0.25
    assert SLOW.has_spread is False
    assert WIDE.has_spread is True


def test_moments_of_the_logarithms_are_those_of_the_law():
    one = FittedClass(1.0, 20e6, 5e6, 0.05, 1.0, 0.8, 0.4, 0.6)
    links = links_of_classes([one])
    logs = np.log([links.down_bits_per_s, links.up_bits_per_s, links.rtt_s])
    means = np.average(logs, axis=1, weights=links.weights)
    covariance = np.cov(logs, aweights=links.weights, ddof=0)
    assert np.exp(means) == pytest.approx([20e6, 5e6, 0.05], rel=0.01)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([1.0, 0.8, 0.4], rel=0.01)
    assert covariance[0, 1] / 0.8 == pytest.approx(0.6, abs=0.01)
    assert covariance[0, 2] == pytest.approx(0, abs=0.01)


def test_figures_are_those_of_a_large_random_sample_of_the_law():
    draw = np.random.default_rng(0)
    normal = draw.standard_normal((3, DRAWS))
    normal[1] = 0.6 * normal[0] + 0.8 * normal[1]
    down, up, rtt = (
        median * np.exp(sigma * column)
        for median, sigma, column in zip((20e6, 5e6, 0.05), (1.0, 0.8, 0.4), normal, strict=True)
    )
    slow = draw.random(DRAWS) < 0.25
    down, up, rtt = np.where(slow, 2e6, down), np.where(slow, 1e6, up), np.where(slow, 0.08, rtt)
    found = figures_of(links_of_classes([SLOW, WIDE]))
    for each in ROUNDS:
        alone = np.array([(percent / 100) ** (1 / each.clients) for percent in PERCENTS])
        seconds = 8 * each.nbytes * (1 / down + 1 / up) + rtt
        expected = np.quantile(seconds, alone).tolist()
        error = 0.02 + 4 * math.sqrt(1 / (DRAWS * (1 - alone[-1])))
        assert list(found[each.name].values()) == pytest.approx(expected, rel=error)
    rates = [found["down_bits_per_s"][str(percent)] for percent in PERCENTS]
    assert rates == pytest.approx(np.quantile(down, np.array(PERCENTS) / 100).tolist(), rel=0.05)
