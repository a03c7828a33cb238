"""Forecasts of learning curves by BoTorch's LatentKroneckerGP, an optional dependency.

The model is a Gaussian process over candidates times rounds whose covariance is a product of two
Matern-5/2 kernels, fitted by maximum likelihood on curves of any lengths (Lin et al., Scaling
Gaussian Processes for Learning Curve Prediction via Latent Kronecker Structure, 2024). As there,
features and log rounds are scaled to [0, 1], and of the values, here log-odds of accuracies,
the highest is subtracted, so that forecasts far from all points tend towards it. Each curve is
averaged in the bins of :mod:`planner.forecasts.forecast`: with all evaluations, a fit takes a
minute instead of a second and forecasts no better.

Legend: C known curves, T bins, M requested candidates.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.curves import Curve
from planner.forecasts.falls import peak_round
from planner.forecasts.features import features, varying_columns
from planner.forecasts.forecast import boundaries, curve_bins
from planner.forecasts.gaussian_process import use_one_thread

Array = NDArray[np.float64]
_STEPS = 15  # iterations of L-BFGS-B; 50 take twice the time and forecast no better


def check_botorch() -> Any:
    """Return the module of the model.

    Raises:
        ConfigError: BoTorch is not installed.
    """
    try:
        from botorch.models import latent_kronecker_gp
    except ImportError as error:
        raise ConfigError(
            f"forecasts by LatentKroneckerGP need BoTorch, which cannot be imported ({error}): "
            "pip install botorch"
        ) from None
    return latent_kronecker_gp


def kronecker_log_odds(
    history: Mapping[Candidate, Curve],
    points: Sequence[tuple[Candidate, int]],
    examples: int,
    longest: int,
) -> tuple[Array, Array]:
    """Return mean and deviation of the log-odds of each point's accuracy, shape (points,).

    Args:
        history: Known learning curves, at least one of them evaluated and not diverged; a fallen
            one counts up to its best smoothed round.
        points: Candidates and rounds.
        examples: Validation examples of every accuracy.
        longest: The most rounds of any candidate.

    Raises:
        ConfigError: BoTorch is not installed.
    """
    known = {
        c: curve.until(peak_round(curve, examples) or curve.rounds)
        for c, curve in history.items()
        if curve.evaluated and not curve.failed
    }
    order = sorted(known)
    time_T, values_CT = _binned_log_odds([known[c] for c in order], examples, longest)
    scaled = _scaled_features([*order, *(c for c, _ in points)])
    highest, sd = np.nanmax(values_CT), max(float(np.nanstd(values_CT)), 1e-2)
    rounds, at_M = np.unique([r for _, r in points], return_inverse=True)
    span = math.log(longest)
    mean_MR, sd_MR = _posterior(
        scaled[: len(order)],
        time_T / span,
        (values_CT - highest) / sd,
        scaled[len(order) :],
        np.log(rounds) / span,
    )
    row_M = np.arange(len(points))
    return highest + sd * mean_MR[row_M, at_M], sd * sd_MR[row_M, at_M]


def _binned_log_odds(curves: Sequence[Curve], examples: int, longest: int) -> tuple[Array, Array]:
    """Return the mean log round of each bin that some curve reaches, and the curves' log-odds.

    Shapes (T,) and (C, T). Log-odds are NaN where a curve has no evaluation.
    """
    edges = boundaries(longest)
    time_CT = np.full((len(curves), len(edges) - 1), np.nan)
    values_CT = time_CT.copy()
    for row, curve in enumerate(curves):
        for time, accuracy, _ in curve_bins(curve, longest):
            right = (accuracy * examples + 0.5) / (examples + 1)  # keeps log-odds finite
            at = np.searchsorted(edges[1:-1], math.exp(time), side="right")
            time_CT[row, at], values_CT[row, at] = time, math.log(right / (1 - right))
    used_T = np.isfinite(time_CT).any(axis=0)
    return np.nanmean(time_CT[:, used_T], axis=0), values_CT[:, used_T]


def _scaled_features(candidates: Sequence[Candidate]) -> Array:
    """Return the features that vary, each scaled to [0, 1]."""
    columns = varying_columns(candidates)
    x_MD = np.array([features(c) for c in candidates])[:, columns]
    scaled: Array = (x_MD - x_MD.min(axis=0)) / np.maximum(np.ptp(x_MD, axis=0), 1.0)
    return scaled


def _posterior(
    x_CD: Array, time_T: Array, y_CT: Array, x_MD: Array, asked_R: Array
) -> tuple[Array, Array]:
    """Return mean and deviation of the model without noise, shape (M, R) each."""
    made = check_botorch()
    import torch
    from botorch.exceptions.errors import ModelFittingError
    from botorch.fit import fit_gpytorch_mll
    from gpytorch.mlls import ExactMarginalLogLikelihood

    x, time, y, asked_x, asked = (
        torch.from_numpy(array) for array in (x_CD, time_T[:, None], y_CT, x_MD, asked_R[:, None])
    )
    with warnings.catch_warnings(), use_one_thread():
        warnings.simplefilter("ignore")  # of fits that stop early
        model = made.LatentKroneckerGP(x, time, y, outcome_transform=None)
        likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
        with suppress(ModelFittingError):  # leaves the hyper-parameters as they were
            fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": _STEPS}})
        likelihood.eval()
        with torch.no_grad():
            posterior = model.posterior(asked_x, asked)
            shape = len(x_MD), len(asked_R)
            mean, variance = (
                v.reshape(shape).numpy() for v in (posterior.mean, posterior.variance)
            )
    return mean, np.sqrt(np.maximum(variance, 0))
