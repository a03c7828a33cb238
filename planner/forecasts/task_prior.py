"""Prior over tasks: what grids recorded on other tasks say of a task before it is trained.

The log-odds of an accuracy, less those of chance, are a polynomial in a candidate's settings and
its rounds (:mod:`planner.forecasts.prior_terms`). Every task has its own coefficients, normal about
a common mean; what a polynomial misses of a candidate is normal, too. The recorded grids determine
the common mean, as far as they agree, so that a new task's coefficients have the posterior variance
of the mean plus the variance between tasks (a linear mixed model, Laird & Ware, Biometrics 1982).
Variances are learned by marginal likelihood, in ``experiments/task_prior``. They rest on a few
tasks, so that intervals have the quantiles of Student's t with one degree of freedom per family of
tasks, and at least two (grids with one backbone are one family).

A task's own grids, and others with its backbone, do not count: :meth:`GridPrior.for_task` leaves
them out.

Shapes: N points, T terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np

from planner.candidates import FLOSS, Candidate
from planner.forecasts.prior_terms import TIME_TERMS, Array, Point, term_values

_LOWER_END = NormalDist().inv_cdf(0.95)  # standard deviations from a mean to the end of 90 %
_SHAPE = slice(len(TIME_TERMS), None)  # the terms that differ between candidates


@dataclass(frozen=True, eq=False)
class GridEvidence:
    """What a recorded grid says of the coefficients of its task.

    Attributes:
        name: Name of the grid.
        mark: Fingerprint of the recipe of the recorded grid.
        backbone: Hash of the task's backbone, which tells the family of tasks.
        runs: Number of recorded runs.
        precision: Precision matrix of the coefficients by this grid alone, (T, T).
        pull: The precision matrix times the likeliest coefficients, (T,).
    """

    name: str
    mark: str
    backbone: str
    runs: int
    precision: Array
    pull: Array


@dataclass(frozen=True)
class LeftOut:
    """Regret on recorded tasks of whose families the prior had no grid.

    Attributes:
        effort: Rounds of the search, as a fraction of those that a budget affords all candidates;
            0 for the prior's favourite.
        mean: Accuracy by which the recommendation was off the best, in points; mean over tasks.
        worst: The same of the worst task, which is a mean over budgets, networks and seeds.
    """

    effort: float
    mean: float
    worst: float


@dataclass(frozen=True, eq=False)
class GridPrior:
    """Prior over tasks, learned from recorded grids.

    Attributes:
        grids: The grids.
        common: Variance of the common mean of each coefficient, before a grid is seen, (T,).
        between: Variance of each coefficient between tasks, (T,).
        own: Variance of a candidate about its task's polynomial, in log-odds.
        weight_sd: Standard deviation of the weight of a prior on a new task; its mean is 1.
        replays: What searches with such a prior reached on tasks that it left out.
    """

    grids: tuple[GridEvidence, ...]
    common: Array
    between: Array
    own: float
    weight_sd: float
    replays: tuple[LeftOut, ...] = ()

    def for_task(self, backbone: str, chance: float, layers: int) -> TaskPrior | None:
        """Return the prior of a task by the grids of other families; None if there is none.

        Args:
            backbone: Hash of the task's backbone.
            chance: Accuracy of always predicting the most frequent class, 0 to 1.
            layers: Layers with adapters of a candidate that names no depth.
        """
        others = tuple(grid for grid in self.grids if grid.backbone != backbone)
        return TaskPrior(replace(self, grids=others), chance, layers) if others else None

    @cached_property
    def coefficients(self) -> tuple[Array, Array]:
        """Mean, shape (T,), and covariance, shape (T, T), of a new task's coefficients.

        The grids of one family together count as one grid.
        """
        precision_TT, pull_T = np.diag(1 / self.common), np.zeros_like(self.common)
        size = Counter(grid.backbone for grid in self.grids)
        for grid in self.grids:
            # By this grid, the common mean has the covariance inv(grid.precision) + between.
            shrunk_TT = np.linalg.inv(np.eye(len(pull_T)) + grid.precision * self.between[None, :])
            precision_TT = precision_TT + shrunk_TT @ grid.precision / size[grid.backbone]
            pull_T = pull_T + shrunk_TT @ grid.pull / size[grid.backbone]
        common_TT: Array = np.linalg.inv((precision_TT + precision_TT.T) / 2).astype(np.float64)
        return common_TT @ pull_T, common_TT + np.diag(self.between)

    def regret_at(self, effort: float) -> tuple[float, float] | None:
        """Return mean and worst regret at an effort, in points; None if no replays are known.

        Between two replayed efforts it is interpolated, beyond the largest it is that of it.
        """
        if not self.replays:
            return None
        efforts, means, worst = np.array([(r.effort, r.mean, r.worst) for r in self.replays]).T
        return float(np.interp(effort, efforts, means)), float(np.interp(effort, efforts, worst))

    @property
    def families(self) -> int:
        """Number of families of tasks, which is that of different backbones."""
        return len({grid.backbone for grid in self.grids})


@dataclass(frozen=True, eq=False)
class TaskPrior:
    """Prior of one task, whose own grids and those of its backbone are left out.

    Attributes:
        grids: The prior by the grids of other families, at least one.
        chance: Accuracy of always predicting the most frequent class, 0 to 1.
        layers: Layers with adapters of a candidate that names no depth.
    """

    grids: GridPrior
    chance: float
    layers: int

    def differences(self, points: Sequence[Point]) -> Array:
        """Return by how much log-odds at each point are expected to differ from a middling run's.

        The run has rank 8 and densities 1/4, and is of the same length. The shape is (N,). The
        grids are FLoSS's, and say nothing of other methods: there it is 0.
        """
        mean_T, _ = self.grids.coefficients
        expected_N: Array = term_values(points, self.layers)[:, _SHAPE] @ mean_T[_SHAPE]
        return np.where([candidate.method == FLOSS for candidate, _ in points], expected_N, 0.0)

    def order(self, horizons: Mapping[Candidate, int]) -> list[Candidate]:
        """Return candidates by the lower ends of their 90 % intervals, best first.

        Tasks differ most in what extreme settings and short runs reach: a candidate that is the
        best on the other tasks by a little, and uncertain, comes after a surer one. Methods that
        the grids say nothing of come last.

        Args:
            horizons: Rounds of each candidate.
        """
        mean_N, sd_N = self.log_odds(list(horizons.items()))
        cautious = dict(zip(horizons, (mean_N - _LOWER_END * sd_N).tolist(), strict=True))
        return sorted(horizons, key=lambda c: (c.method != FLOSS, -cautious[c], c))

    def interval(self, point: Point, level: float) -> tuple[float, float, float]:
        """Return low, mean and high of the accuracy at a point, 0 to 1; symmetric in log-odds.

        Args:
            point: A candidate and its rounds.
            level: Fraction of tasks whose accuracy the interval holds, above 0 and below 1.
        """
        (mean,), (sd,) = self.log_odds([point])
        reach = NormalDist().inv_cdf((1 + level) / 2) * sd
        low, middle, high = (1 / (1 + np.exp(-(mean + k * reach))) for k in (-1, 0, 1))
        return float(low), float(middle), float(high)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the grids."""
        return tuple(grid.name for grid in self.grids.grids)

    def log_odds(self, points: Sequence[Point]) -> tuple[Array, Array]:
        """Return mean and standard deviation, shape (N,) each, of the log-odds at each point.

        A normal interval of this deviation is as wide as that of Student's t.
        """
        mean_T, covariance_TT = self.grids.coefficients
        terms_NT = term_values(points, self.layers)
        variance_N = np.einsum("nt,ts,ns->n", terms_NT, covariance_TT, terms_NT) + self.grids.own
        chance = np.log(self.chance / (1 - self.chance))
        return chance + terms_NT @ mean_T, self._t_factor * np.sqrt(variance_N)

    @property
    def weight_sd(self) -> float:
        """Standard deviation of the weight of this prior, whose mean is 1."""
        return self.grids.weight_sd

    @property
    def _t_factor(self) -> float:
        """Ratio of the 95 % quantiles of Student's t and of the normal distribution."""
        from scipy.special import stdtrit  # type: ignore[import-untyped]

        return float(stdtrit(max(2, self.grids.families), 0.95)) / _LOWER_END
