"""Exact Gaussian process over candidates and rounds.

The covariance of two points is::

    S * (level + slope * L + bend * T + wander * W) + common * L + shape * T
    + same * (own + drift * T) + told * told

S is a Matern-5/2 kernel over a candidate's features. L, T and W are kernels over time (log rounds):
linear, Matern-5/2, and the covariance of a random walk. ``same`` is 1 for points of one candidate,
else 0. ``told`` is a known term of each point whose coefficient is standard normal, or absent. So
similar candidates have similar curves, all curves share a trend, and each has its own deviation.
Without the random walk, long forecasts would return to the mean of all points, early rounds
included. Each point has a known noise variance, scaled by a fitted factor. Hyper-parameters
maximise marginal likelihood times weak log-normal priors, by gradients from fixed starting points;
nothing is random.

Shapes: N points, M requested points, D features, H hyper-parameters (logarithms of the
``Amplitudes``, of D length scales of features, and of the length scale of time).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FITTED_POINTS = 120  # points used to fit hyper-parameters, at most; the posterior uses all
Array = NDArray[np.float64]


class Amplitudes(NamedTuple):
    """Variances of the parts of the covariance, and the factor of the noise variance."""

    level: float
    slope: float
    bend: float
    wander: float
    common: float
    shape: float
    own: float
    drift: float
    noise: float


_COUNT = len(Amplitudes._fields)
_LIKELY_AMPLITUDES = Amplitudes(1.0, 0.5, 0.2, 0.1, 1.0, 0.3, 0.05, 0.02, 1.0)
_LENGTH, _TIME_LENGTH = 1.0, 0.5  # prior medians of length scales, in scaled units
_STARTS = (0.0, -1.0)  # starting points of the fit: offsets from the prior mean, in log
_STEPS = 40  # iterations of L-BFGS-B from each starting point
_JITTER = 1e-6  # variance added to the diagonal, for a stable Cholesky factor
_BOUND = 4.0  # largest offset of a log hyper-parameter from its prior mean


@contextmanager
def use_one_thread() -> Iterator[None]:
    """Restrict linear algebra to one thread within the block.

    The matrices are small: several threads are slower, by a factor of 100 on busy cores. One thread
    also gives the same sums on any number of cores.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> Any:
    """Return the handle of the loaded BLAS libraries; to find them takes some milliseconds."""
    import scipy.linalg  # type: ignore[import-untyped]  # noqa: F401  # loads its own BLAS
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


@dataclass(frozen=True)
class Points:
    """Observations of the process.

    Attributes:
        x: Features, shape (N, D).
        time: Log rounds, shape (N,).
        y: Observed values, shape (N,).
        variance: Noise variance of each value, shape (N,).
        told: Term of each point whose coefficient is standard normal, in units of y, shape (N,);
            None for none.
    """

    x: Array
    time: Array
    y: Array
    variance: Array
    told: Array | None = None

    def with_scales(self, width_D: Array, span: float, mean: float, sd: float) -> Points:
        """Return the points divided by ``width_D``, ``span`` and ``sd``, ``mean`` subtracted."""
        x_ND, time_N = self.x / width_D, self.time / span
        told_N = None if self.told is None else self.told / sd
        return Points(x_ND, time_N, (self.y - mean) / sd, self.variance / sd**2, told_N)

    def subset(self, count: int) -> Points:
        """Return at most ``count`` of the points, evenly spaced by index."""
        chosen = np.linspace(0, len(self.y) - 1, min(count, len(self.y))).round().astype(int)
        told_N = None if self.told is None else self.told[chosen]
        return Points(
            self.x[chosen], self.time[chosen], self.y[chosen], self.variance[chosen], told_N
        )


@dataclass(frozen=True)
class Process:
    """Gaussian process conditioned on points.

    Attributes:
        points: The points, scaled to values of about one.
        log_hyper: Logarithms of the hyper-parameters, shape (H,).
        width: Units of the features, shape (D,).
        span: Unit of time, in log rounds.
        mean: Mean of the unscaled values.
        sd: Unit of the values: their standard deviation.
        chol: Lower Cholesky factor of the points' covariance with noise, shape (N, N).
        alpha: Inverse of that covariance times the scaled values, shape (N,).
    """

    points: Points
    log_hyper: Array
    width: Array
    span: float
    mean: float
    sd: float
    chol: Array
    alpha: Array

    @classmethod
    def fit(cls, points: Points, span: float) -> Process:
        """Return the process with the most probable hyper-parameters for the points.

        Args:
            points: One or more points, not scaled.
            span: Length of the time axis, in log rounds.
        """
        width_D = np.maximum(np.ptp(points.x, axis=0), 1.0)
        mean, sd = float(points.y.mean()), max(float(points.y.std()), 1e-2)
        log_H = _likeliest_hyper(points.with_scales(width_D, span, mean, sd).subset(FITTED_POINTS))
        return cls.from_hyper(points, log_H, width_D, span, mean, sd)

    @classmethod
    def from_hyper(
        cls, points: Points, log_H: Array, width_D: Array, span: float, mean: float, sd: float
    ) -> Process:
        """Return the process with given hyper-parameters and scales, conditioned on points."""
        scaled = points.with_scales(width_D, span, mean, sd)
        chol_NN = _cholesky(_noisy_covariance(log_H, _Pairs.of(scaled, scaled), scaled))
        alpha_N = _solve(chol_NN, scaled.y)
        return cls(scaled, log_H, width_D, span, mean, sd, chol_NN, alpha_N)

    def conditioned_on(self, points: Points) -> Process:
        """Return a process with these hyper-parameters and scales, conditioned on other points."""
        return self.from_hyper(points, self.log_hyper, self.width, self.span, self.mean, self.sd)

    @property
    def own_sd(self) -> float:
        """Standard deviation of a candidate's curve about those of similar candidates."""
        own = Amplitudes._fields.index("own")
        return self.sd * float(np.exp(self.log_hyper[own] / 2))

    @property
    def coefficient(self) -> float:
        """Expected coefficient of the term ``told``, by the points; 0 without the term."""
        return 0.0 if self.points.told is None else float(self.points.told @ self.alpha)

    def predict(
        self, x_MD: Array, time_M: Array, told_M: Array | None = None
    ) -> tuple[Array, Array]:
        """Return mean and standard deviation, shape (M,) each, of the process without noise.

        Args:
            x_MD: Features of the requested points, not scaled.
            time_M: Log rounds of the requested points.
            told_M: Term ``told`` of the requested points; None if the known points have none.
        """
        from scipy.linalg import solve_triangular

        empty_M = np.zeros(len(time_M))
        scaled_M = None if told_M is None else told_M / self.sd
        asked = Points(x_MD / self.width, time_M / self.span, empty_M, empty_M, scaled_M)
        cross_MN = _covariance(self.log_hyper, _Pairs.of(asked, self.points))
        cross_MN += _told_covariance(asked, self.points)
        half_NM = solve_triangular(self.chol, cross_MN.T, lower=True, check_finite=False)
        variance_M = np.maximum(_variance(self.log_hyper, asked) - (half_NM**2).sum(axis=0), 0.0)
        return self.mean + self.sd * (cross_MN @ self.alpha), self.sd * np.sqrt(variance_M)


@dataclass(frozen=True)
class _Pairs:
    """Quantities of all pairs of points, from which the covariance is computed.

    Attributes:
        square: Squared distance in each feature, shape (D, N, M).
        apart: Absolute difference of the times, shape (N, M).
        product: Product of the times, shape (N, M).
        walk: Earlier of the two times, the covariance of a random walk, shape (N, M).
        same: 1.0 for two points of one candidate, else 0.0, shape (N, M).
    """

    square: Array
    apart: Array
    product: Array
    walk: Array
    same: Array

    @classmethod
    def of(cls, a: Points, b: Points) -> _Pairs:
        square_DNM = (a.x.T[:, :, None] - b.x.T[:, None, :]) ** 2
        apart_NM = np.abs(a.time[:, None] - b.time[None, :])
        same_NM = (square_DNM.sum(axis=0) < 1e-12).astype(np.float64)
        products = np.outer(a.time, b.time), np.minimum.outer(a.time, b.time)
        return cls(square_DNM, apart_NM, *products, same_NM)

    def space_distances(self, log_H: Array) -> Array:
        """Return distances of candidates, in units of the features' length scales."""
        inverse_D = np.exp(-2 * log_H[_COUNT:-1])
        distance: Array = np.sqrt(np.tensordot(inverse_D, self.square, axes=1))
        return distance

    def time_distances(self, log_H: Array) -> Array:
        distance: Array = self.apart / np.exp(log_H[-1])
        return distance

    def parts(self, space: Array, time: Array) -> list[Array]:
        """Return the parts of the covariance, in the order of their amplitudes."""
        product, walk, same = self.product, self.walk, self.same
        near = [space, space * product, space * time, space * walk]
        return [*near, product, time, same, same * time]


def _matern(distance: Array) -> Array:
    root = np.sqrt(5) * distance
    value: Array = (1 + root + root**2 / 3) * np.exp(-root)
    return value


def _matern_slope(distance: Array) -> Array:
    """Return the derivative by a log length scale, per squared distance that the scale divides."""
    root = np.sqrt(5) * distance
    value: Array = 5 / 3 * (1 + root) * np.exp(-root)
    return value


def _covariance(log_H: Array, pairs: _Pairs) -> Array:
    parts = pairs.parts(_matern(pairs.space_distances(log_H)), _matern(pairs.time_distances(log_H)))
    total: Array = np.tensordot(np.exp(log_H[: len(parts)]), np.stack(parts), axes=1)
    return total


def _noisy_covariance(log_H: Array, pairs: _Pairs, points: Points) -> Array:
    """Return the covariance of the points' values, noise included."""
    total = _covariance(log_H, pairs)
    noise = np.exp(log_H[_COUNT - 1])
    total[np.diag_indices_from(total)] += noise * points.variance + _JITTER
    total += _told_covariance(points, points)
    return total


def _told_covariance(a: Points, b: Points) -> Array | float:
    """Return the covariance by the term ``told``; 0 without it."""
    return 0.0 if a.told is None or b.told is None else np.outer(a.told, b.told)


def _variance(log_H: Array, asked: Points) -> Array:
    a = Amplitudes(*np.exp(log_H[:_COUNT]))
    still = a.level + a.bend + a.shape + a.own + a.drift
    told: Array | float = 0.0 if asked.told is None else asked.told**2
    total: Array = still + a.wander * asked.time + (a.slope + a.common) * asked.time**2 + told
    return total


def _cholesky(covariance_NN: Array) -> Array:
    lower_NN: Array = np.linalg.cholesky(covariance_NN).astype(np.float64, copy=False)
    return lower_NN


def _solve(chol_NN: Array, right: Array) -> Array:
    from scipy.linalg import cho_solve

    solved: Array = cho_solve((chol_NN, True), right, check_finite=False)
    return solved


def _prior(features: int) -> tuple[Array, Array]:
    """Return mean and standard deviation of the log hyper-parameters."""
    mean_H = np.log([*_LIKELY_AMPLITUDES, *[_LENGTH] * features, _TIME_LENGTH])
    sd_H = np.array([*[1.0] * (_COUNT - 1), 0.5, *[0.7] * features, 0.5])
    return mean_H, sd_H


def _likeliest_hyper(points: Points) -> Array:
    """Return the log hyper-parameters with the lowest loss over all starting points."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    mean_H, _ = _prior(points.x.shape[1])
    pairs = _Pairs.of(points, points)
    found = [
        minimize(
            loss,
            mean_H + shift,
            args=(points, pairs),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(mean_H - _BOUND, mean_H + _BOUND, strict=True)),
            options={"maxiter": _STEPS},
        )
        for shift in _STARTS
    ]
    best: Array = min(found, key=lambda result: float(result.fun)).x
    return best


def loss(log_H: Array, points: Points, pairs: _Pairs) -> tuple[float, Array]:
    """Return the negative log posterior of hyper-parameters, up to a constant, and its gradient."""
    chol_NN = _cholesky(_noisy_covariance(log_H, pairs, points))
    inverse_NN = _solve(chol_NN, np.eye(len(chol_NN)))
    alpha_N = inverse_NN @ points.y
    mean_H, sd_H = _prior(points.x.shape[1])
    off_H = (log_H - mean_H) / sd_H
    value = 0.5 * points.y @ alpha_N + np.log(np.diag(chol_NN)).sum() + 0.5 * off_H @ off_H
    gradient_H = _gradient(log_H, points, pairs, inverse_NN - np.outer(alpha_N, alpha_N))
    return float(value), 0.5 * gradient_H + off_H / sd_H


def _gradient(log_H: Array, points: Points, pairs: _Pairs, weight_NN: Array) -> Array:
    """Return trace(weight * derivative of the covariance) for each log hyper-parameter."""
    space, time = pairs.space_distances(log_H), pairs.time_distances(log_H)
    space_NN, time_NN = _matern(space), _matern(time)
    a = Amplitudes(*np.exp(log_H[:_COUNT]))
    found: list[float] = [
        float(amplitude * np.vdot(weight_NN, part))
        for amplitude, part in zip(a, pairs.parts(space_NN, time_NN), strict=False)
    ]
    found.append(float(a.noise * np.diag(weight_NN) @ points.variance))
    near_NN = a.level + a.slope * pairs.product + a.bend * time_NN
    near_NN += a.wander * pairs.walk
    near_NN *= weight_NN * _matern_slope(space)
    found += [float(np.vdot(near_NN, square)) for square in pairs.square]
    moving_NN = a.bend * space_NN + a.shape + a.drift * pairs.same
    moving_NN *= weight_NN * _matern_slope(time)
    found.append(float(np.vdot(moving_NN, pairs.apart**2)))
    scale_H = np.concatenate([np.ones(_COUNT), np.exp(-2 * log_H[_COUNT:])])
    gradient_H: Array = scale_H * np.array(found)
    return gradient_H
