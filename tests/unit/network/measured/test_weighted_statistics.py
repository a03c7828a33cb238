"""Statistics of weighted values against those of numpy, scipy and a brute force."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim.network.measured.weighted_statistics import (
    distribution,
    kolmogorov_smirnov,
    quantile,
    quantiles,
    rank_correlation,
)


@pytest.mark.parametrize("size", [1, 2, 5, 20, 101])
@pytest.mark.parametrize("q", [0.05, 0.25, 0.5, 0.9, 0.95])
def test_quantiles_of_equal_weights_are_numpys(size: int, q: float):
    values = np.random.default_rng(size).normal(size=size)
    expected = np.quantile(values, q, method="averaged_inverted_cdf")
    assert quantile(values, np.ones(size), q) == pytest.approx(expected, rel=1e-12)
    assert quantile(values, np.full(size, 0.1), q) == pytest.approx(expected, rel=1e-12)
    assert quantiles(values, np.ones(size), [q, q]) == pytest.approx([expected] * 2, rel=1e-12)


def test_the_distance_of_distributions_is_that_of_a_brute_force():
    draw = np.random.default_rng(3)
    for _ in range(20):
        a, b = draw.integers(0, 9, 12).astype(float), draw.integers(0, 9, 5).astype(float)
        wa, wb = draw.random(12) + 0.1, draw.random(5) + 0.1
        brute = max(
            abs(wa[a <= x].sum() / wa.sum() - wb[b <= x].sum() / wb.sum()) for x in range(9)
        )
        assert kolmogorov_smirnov(a, wa, b, wb) == pytest.approx(brute, abs=1e-12)
    assert kolmogorov_smirnov(a, wa, a, 3 * wa) == pytest.approx(0, abs=1e-12)
    assert kolmogorov_smirnov(a, wa, a + 100, wa) == pytest.approx(1)


def test_the_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    draw = np.random.default_rng(4)
    x = draw.integers(0, 20, 60).astype(float)
    y = x + draw.integers(0, 30, 60)
    weights = draw.integers(1, 5, 60)
    expected = spearmanr(np.repeat(x, weights), np.repeat(y, weights)).statistic
    assert rank_correlation(x, y, weights) == pytest.approx(expected, rel=1e-9)
    assert rank_correlation(x, np.exp(x), np.ones(60)) == pytest.approx(1)
    assert rank_correlation(x, -x, np.ones(60)) == pytest.approx(-1)
    assert rank_correlation(x, np.ones(60), np.ones(60)) is None
    assert rank_correlation(x[:1], x[:1], np.ones(1)) is None


def test_a_distribution_joins_equal_values():
    values, shares = distribution(np.array([2.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0]))
    assert (values.tolist(), shares.tolist()) == ([1.0, 2.0], [0.5, 1.0])
