"""The Gaussian process against scikit-learn and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from planner.forecasts.gaussian_process import Points, Process, _Pairs, _prior, loss, use_one_thread


def points(count: int, seed: int = 0) -> Points:
    rng = np.random.default_rng(seed)
    x = rng.random((count, 3))
    time = rng.random(count)
    y = np.sin(3 * x[:, 0]) + time + 0.1 * rng.standard_normal(count)
    return Points(x, time, y, rng.uniform(0.01, 0.05, count))


def only_levels(variance: float, lengths: list[float]) -> np.ndarray:
    """Hyper-parameters of a process that knows nothing of time."""
    nothing = [-40.0] * 7
    return np.array([np.log(variance), *nothing, 0.0, *np.log(lengths), 0.0])


def test_the_posterior_is_that_of_scikit_learn():
    data, asked = points(25), points(7, seed=1)
    log = only_levels(1.7, [0.5, 0.9, 1.4])
    ours = Process.from_hyper(data, log, np.ones(3), 1.0, 0.0, 1.0).predict(asked.x, asked.time)
    kernel = ConstantKernel(1.7) * Matern([0.5, 0.9, 1.4], nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=data.variance + 1e-6, optimizer=None)
    expected = theirs.fit(data.x, data.y).predict(asked.x, return_std=True)
    np.testing.assert_allclose(ours, expected, rtol=1e-7)


def test_a_long_forecast_goes_on_from_where_curves_were():
    """Early rounds at chance draw none back down."""
    x = np.repeat(np.random.default_rng(3).random((12, 3)), 8, axis=0)
    time = np.tile(np.linspace(0.05, 0.6, 8), 12)
    risen = 5 / (1 + np.exp(-(time - 0.25 - 0.15 * x[:, 0]) / 0.04)) - 2.5
    data = Points(x, time, risen, np.full(len(time), 0.01))
    mean, _ = Process.fit(data, 1.0).predict(x[::8], np.ones(12))
    assert np.median(mean) > np.median(risen[7::8])


def test_the_loss_is_the_marginal_likelihood_of_scikit_learn():
    data, log = points(25), only_levels(1.7, [0.5, 0.9, 1.4])
    kernel = ConstantKernel(1.7) * Matern([0.5, 0.9, 1.4], nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=data.variance + 1e-6, optimizer=None)
    likelihood = theirs.fit(data.x, data.y).log_marginal_likelihood_value_
    mean, sd = _prior(3)
    prior = 0.5 * np.sum(((log - mean) / sd) ** 2)
    ours = loss(log, data, _Pairs.of(data, data))[0] - prior
    assert ours == pytest.approx(-likelihood - 12.5 * np.log(2 * np.pi), rel=1e-6)


def test_the_gradient_is_that_of_finite_differences():
    data = points(20)
    pairs = _Pairs.of(data, data)
    rng = np.random.default_rng(2)
    for _ in range(3):
        log = _prior(3)[0] + 0.4 * rng.standard_normal(13)
        steps = 1e-6 * np.eye(13)
        numeric = [
            (loss(log + step, data, pairs)[0] - loss(log - step, data, pairs)[0]) / 2e-6
            for step in steps
        ]
        np.testing.assert_allclose(loss(log, data, pairs)[1], numeric, rtol=1e-4, atol=1e-5)


def test_one_point_of_little_noise_is_met_and_far_points_are_unsure():
    one = Points(np.zeros((1, 3)), np.zeros(1), np.array([0.7]), np.array([1e-8]))
    process = Process.from_hyper(one, _prior(3)[0], np.ones(3), 1.0, 0.0, 1.0)
    mean, sd = process.predict(np.array([[0.0] * 3, [30.0] * 3]), np.zeros(2))
    assert mean[0] == pytest.approx(0.7, abs=1e-3)
    assert sd[0] < 0.01 < 0.5 < sd[1]


def test_fitting_more_points_than_hyper_parameters_see_is_deterministic():
    data = points(300)
    with use_one_thread():
        first, again = (Process.fit(data, 1.0) for _ in range(2))
    np.testing.assert_array_equal(first.log_hyper, again.log_hyper)
    assert len(first.points.y) == 300
