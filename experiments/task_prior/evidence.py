"""The prior over tasks, learned from recorded grids by marginal likelihood.

Of each grid, the accuracies at some log-spaced rounds (means over seeds) are the observations:
log-odds less those of chance. A candidate's deviation from its task's polynomial is correlated over
rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
from grids import SETTINGS, Grid, candidate_of
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from planner.forecasts.prior_terms import TERMS, Point, term_values
from planner.forecasts.task_prior import GridEvidence, GridPrior

ROUNDS = (1, 3, 10, 20, 40, 80, 150, 400)
TIME_LENGTH = 1.0  # log rounds over which a candidate's deviation is correlated
Array = NDArray[np.float64]

# Groups of terms that share two variances, and the medians of these variances before any grid is
# seen: of the common mean, and between tasks.
GROUPS = {
    "level": (4.0, 2.0),
    "pace": (4.0, 1.0),
    "first order": (0.3, 0.3),
    "depth": (0.3, 0.1),
    "square": (0.1, 0.1),
    "product": (0.1, 0.03),
    "first order * pace": (0.3, 0.3),
    "depth * pace": (0.3, 0.1),
    "square * pace": (0.1, 0.03),
    "product * pace": (0.1, 0.03),
}
RESIDUALS = (0.05, 0.05, 0.02)  # medians: a candidate's own, its drift over rounds, each point's


def group_of(term: str) -> str:
    """Return the group of a term."""
    if term in ("level", "depth", "depth * pace"):
        return term
    if term in ("pace", "pace * pace"):
        return "pace"
    factors = [factor for factor in term.split(" * ") if factor != "pace"]
    kind = "first order" if len(factors) == 1 else "square" if len(set(factors)) == 1 else "product"
    return kind + " * pace" * term.endswith("pace")


GROUP_T = np.array([list(GROUPS).index(group_of(term)) for term in TERMS])


@dataclass(frozen=True, eq=False)
class Observations:
    """Log-odds above chance of a grid, with their terms and the variance of their noise.

    Shapes: ``terms`` (N, T), ``values`` and ``noise`` (N,).
    """

    points: Sequence[Point]
    terms: Array
    values: Array
    noise: Array

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        """1 for two points of one candidate, else 0; and the same falling with distance in time."""
        number = {c: n for n, c in enumerate(dict.fromkeys(c for c, _ in self.points))}
        at_N = np.array([number[c] for c, _ in self.points])
        time_N = np.log([rounds for _, rounds in self.points])
        same_NN = (at_N[:, None] == at_N[None, :]).astype(float)
        apart_NN = (time_N[:, None] - time_N[None, :]) / TIME_LENGTH
        return same_NN, same_NN * np.exp(-(apart_NN**2) / 2)

    def evidence(self, residuals: tuple[float, ...]) -> tuple[Array, Array, float]:
        """Return precision and pull of the coefficients, and the rest of the log likelihood."""
        same_NN, near_NN = self.correlations
        total_NN = residuals[0] * same_NN + residuals[1] * near_NN
        total_NN[np.diag_indices_from(total_NN)] += residuals[2] + self.noise
        factor = cho_factor(total_NN, lower=True)
        solved_NT = cho_solve(factor, self.terms)
        rest = self.values @ cho_solve(factor, self.values) + 2 * np.log(np.diag(factor[0])).sum()
        return self.terms.T @ solved_NT, solved_NT.T @ self.values, float(rest)


@cache
def observations_of(grid: Grid) -> Observations:
    """Return the accuracies of a grid that the prior is learned from."""
    rows = grid.rows[grid.rows["round"].isin(ROUNDS)]
    means = rows.groupby([*SETTINGS, "round"])["accuracy"].mean().reset_index()
    candidates = [candidate_of(row) for row in means[SETTINGS].to_numpy()]
    right_N = (means["accuracy"].to_numpy() * grid.examples + 0.5) / (grid.examples + 1)
    y_N = np.log(right_N / (1 - right_N)) - np.log(grid.chance / (1 - grid.chance))
    noise_N = 1 / (grid.examples * right_N * (1 - right_N))
    points = list(zip(candidates, means["round"].tolist(), strict=True))
    return Observations(points, term_values(points, grid.layers), y_N, noise_N)


@lru_cache(maxsize=256)  # most steps of the search for variances leave the residuals as they are
def evidence_of(grid: Grid, residuals: tuple[float, ...]) -> tuple[Array, Array, float]:
    """Return what a grid says of its coefficients, by the variances of residuals."""
    return observations_of(grid).evidence(residuals)


def _prior_of_variances() -> tuple[Array, Array]:
    """Return mean and standard deviation of the logarithms of all variances."""
    medians = [*(g for g, _ in GROUPS.values()), *(b for _, b in GROUPS.values()), *RESIDUALS]
    return np.log(medians), np.array([1.0] * len(GROUPS) + [0.7] * len(GROUPS) + [1.0] * 3)


def _loss(log_H: Array, grids: Sequence[Grid], shares: Sequence[float]) -> float:
    """Return the negative log posterior of the variances, up to a constant.

    A grid's own coefficients are integrated out, then their common mean. ``shares`` are the weights
    of the grids: those of one family count as one.
    """
    count = len(GROUPS)
    variance_H = np.exp(log_H)
    common_T, between_T = variance_H[:count][GROUP_T], variance_H[count : 2 * count][GROUP_T]
    value, precision_TT, pull_T = 0.0, np.diag(1 / common_T), np.zeros(len(TERMS))
    for grid, share in zip(grids, shares, strict=True):
        own_TT, own_T, rest = evidence_of(grid, tuple(variance_H[2 * count :]))
        summed_TT = own_TT + np.diag(1 / between_T)
        lower_TT = np.linalg.cholesky(summed_TT)
        shrunk_T = np.linalg.solve(summed_TT, own_T)
        value += share * (
            (rest - own_T @ shrunk_T) / 2
            + np.log(np.diag(lower_TT)).sum()
            + np.log(between_T).sum() / 2
        )
        precision_TT += share * (own_TT - own_TT @ np.linalg.solve(summed_TT, own_TT))
        pull_T += share * (own_T - own_TT @ shrunk_T)
    lower_TT = np.linalg.cholesky(precision_TT)
    value += np.log(np.diag(lower_TT)).sum() + np.log(common_T).sum() / 2
    value -= pull_T @ np.linalg.solve(precision_TT, pull_T) / 2
    mean_H, sd_H = _prior_of_variances()
    off_H = (log_H - mean_H) / sd_H
    return float(value + off_H @ off_H / 2)


def learn(grids: Sequence[Grid], weight_sd: float = 0.5) -> GridPrior:
    """Return the prior over tasks by some grids, at least one."""
    families = [grid.backbone for grid in grids]
    shares = [1 / families.count(family) for family in families]
    start_H, _ = _prior_of_variances()
    found = minimize(
        _loss, start_H, args=(grids, shares), method="L-BFGS-B", options={"maxiter": 30}
    )
    count, variance_H = len(GROUPS), np.exp(found.x)
    evidence = tuple(
        GridEvidence(
            grid.name,
            grid.mark,
            grid.backbone,
            len(dict.fromkeys(c for c, _ in observations_of(grid).points)),
            *evidence_of(grid, tuple(variance_H[2 * count :]))[:2],
        )
        for grid in grids
    )
    common_T, between_T = variance_H[:count][GROUP_T], variance_H[count : 2 * count][GROUP_T]
    own = float(variance_H[2 * count :].sum())
    return GridPrior(evidence, common_T, between_T, own, weight_sd)
