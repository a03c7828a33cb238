"""Accuracy on the test split with its interval, and paired differences of two configurations.

Every prediction of a run's last models (:mod:`floss_sim.analysis.last_part`) is right or wrong. Of
each example, the share of right ones is averaged over the models. What is left are one value a seed
and example.

**Variance.** Examples and seeds are both samples: another test set and another seed would give
other values. For S seeds and E examples the variance of the mean is that of a crossed two-way
layout with random effects,

    (MS_examples + MS_seeds - MS_rest) / (S * E),

with the mean squares of the analysis of variance (Searle, Casella, McCulloch, "Variance
Components", 1992, chapter 4; Owen, "The pigeonhole bootstrap", 2007, for the same layout). Its
degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946). One seed shows no variance of
seeds. Then, or wherever a standard deviation over seeds is given from elsewhere, the variance is
that of the example means over E, plus that of the seeds over S.

Differences are paired: the values are subtracted example by example and seed by seed, and the same
formulas hold for what remains.

Shapes: S seeds, R models (rounds) of a run, E examples, M predictions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.analysis.last_part import part_text
from floss_sim.families import NEXT_TOKEN
from floss_sim.records.on_test import ModelOnTest
from floss_sim.tasks import Task

LEVEL = 0.9  # fraction of intervals that are meant to contain the accuracy
Array = NDArray[np.float64]


@dataclass(frozen=True)
class HitsOnTest:
    """Right predictions of one run on the test split.

    Attributes:
        right: Right predictions of each example, as the mean over the run's last models; float64
            of shape (E,).
        models: Number of these models.
    """

    right: Array
    models: int

    @classmethod
    def of(cls, models: Sequence[ModelOnTest], predictions_E: NDArray[np.int64]) -> HitsOnTest:
        """Return the hits of a run's last models.

        Args:
            models: The models, at least one.
            predictions_E: Number of predictions of each example.
        """
        return cls.of_right([model.right for model in models], predictions_E)

    @classmethod
    def of_right(
        cls, rights: Sequence[NDArray[Any]], predictions_E: NDArray[np.int64]
    ) -> HitsOnTest:
        """Return the hits of a run's last models by what each gets right.

        Args:
            rights: By prediction whether it is right, or the weight with which it is; of shape (M,)
                for each model, at least one.
            predictions_E: Number of predictions of each example.
        """
        right_M = np.mean(rights, axis=0)
        example_M = np.repeat(np.arange(len(predictions_E)), predictions_E)
        right_E = np.bincount(example_M, right_M, len(predictions_E)).astype(np.float64)
        return cls(right_E, len(rights))


@dataclass(frozen=True)
class AccuracyOnTest:
    """Test accuracy with its interval.

    Attributes:
        low: Lower end, 0 to 1.
        mean: Accuracy, 0 to 1: the mean over seeds, models and predictions.
        high: Upper end, 0 to 1.
        examples: Number of test examples.
        models: Number of models of a run.
        seeds: Number of runs.
        seed_sd: Standard deviation of accuracy over seeds, in log-odds, that the interval takes
            as known; None if it is measured, or left out because there is one run.
    """

    low: float
    mean: float
    high: float
    examples: int
    models: int
    seeds: int = 1
    seed_sd: float | None = None

    def describe(self) -> str:
        """Return the accuracy in words, with its interval and what it is the mean of."""
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return (
            f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f}; {part_text(self.models)} on "
            f"{self.examples} examples, {seeds})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the accuracy as JSON values, with the level of its interval."""
        ends = {"low": self.low, "mean": self.mean, "high": self.high, "level": LEVEL}
        counts = {"examples": self.examples, "models": self.models, "seeds": self.seeds}
        return {**ends, **counts, "seed_sd": self.seed_sd}


@dataclass(frozen=True)
class DifferenceOnTest:
    """Difference of two test accuracies, paired by example, with its interval.

    Attributes:
        low: Lower end, -1 to 1.
        mean: The difference, -1 to 1.
        high: Upper end, -1 to 1.
        examples: Number of test examples.
        seeds: Number of seeds that both have.
    """

    low: float
    mean: float
    high: float
    examples: int
    seeds: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON values, with the level of its interval."""
        ends = {"low": self.low, "mean": self.mean, "high": self.high, "level": LEVEL}
        return {**ends, "examples": self.examples, "seeds": self.seeds}


def predictions_by_example(task: Task) -> NDArray[np.int64]:
    """Return the number of predictions of each test example, shape (E,): one, or next tokens."""
    x, y = task.content.test
    if task.kind != NEXT_TOKEN:
        return np.ones(len(y), np.int64)
    counts_E: NDArray[np.int64] = (np.asarray(x)[:, 1:] >= 0).sum(axis=1)
    return counts_E


def accuracy_on_test(
    runs: Sequence[HitsOnTest],
    predictions_E: NDArray[np.int64],
    seed_sd: float | None = None,
) -> AccuracyOnTest:
    """Return the test accuracy of a configuration.

    The interval is symmetric in log-odds, so that it stays within 0 and 1.

    Args:
        runs: Hits of its runs, one for each seed.
        predictions_E: Number of predictions of each example.
        seed_sd: Standard deviation of the accuracy over seeds, in log-odds, if it is known. None:
            it is measured from two or more seeds; of one seed the interval is that of this run.
    """
    value_SE = _values(runs, predictions_E)
    seeds, examples = value_SE.shape
    mean = float(value_SE.mean())
    inside = min(max(mean, 0.5 / examples), 1 - 0.5 / examples)
    slope = inside * (1 - inside)
    error, quantile = _error(value_SE, None if seed_sd is None else seed_sd * slope)
    centre, half = math.log(inside / (1 - inside)), quantile * error / slope
    low, high = (1 / (1 + math.exp(-(centre + side * half))) for side in (-1, 1))
    models = min(run.models for run in runs)
    return AccuracyOnTest(min(low, mean), mean, max(high, mean), examples, models, seeds, seed_sd)


def difference_on_test(
    ours: Sequence[HitsOnTest],
    theirs: Sequence[HitsOnTest],
    predictions_E: NDArray[np.int64],
    seed_sd: float | None = None,
) -> DifferenceOnTest:
    """Return how far one configuration is ahead of another on the test split.

    It is the difference of both accuracies, each of which is the mean over its own seeds.

    Args:
        ours: Hits of the runs of one configuration, one for each seed.
        theirs: Hits of the runs of the other one; with the same seeds if ``seed_sd`` is None.
        predictions_E: Number of predictions of each example.
        seed_sd: As of :func:`accuracy_on_test`, of each of both; they are taken as independent.

    Raises:
        ValueError: Different numbers of seeds without a ``seed_sd``.
    """
    one_SE, other_SE = _values(ours, predictions_E), _values(theirs, predictions_E)
    seeds, examples = min(len(one_SE), len(other_SE)), one_SE.shape[1]
    if seed_sd is None:
        value_SE, spread = one_SE - other_SE, None
    else:
        value_SE = one_SE.mean(axis=0, keepdims=True) - other_SE.mean(axis=0, keepdims=True)
        spread = math.hypot(*(_spread(values, seed_sd) for values in (one_SE, other_SE)))
    error, quantile = _error(value_SE, spread)
    mean, half = float(value_SE.mean()), quantile * error
    return DifferenceOnTest(max(mean - half, -1.0), mean, min(mean + half, 1.0), examples, seeds)


def _spread(value_SE: Array, seed_sd: float) -> float:
    """Return the standard deviation of a mean over seeds; ``seed_sd`` is one seed's log-odds."""
    mean = float(value_SE.mean())
    return seed_sd * mean * (1 - mean) / math.sqrt(len(value_SE))


def _values(runs: Sequence[HitsOnTest], predictions_E: NDArray[np.int64]) -> Array:
    """Return one value a seed and example, whose mean is the accuracy.

    Where examples have different numbers of predictions, the accuracy is a ratio of two sums, and
    the values are those of its linearisation: p + (right - p * predictions) / mean predictions.
    """
    right_SE = np.stack([run.right for run in runs])
    mean_predictions = predictions_E.mean()
    p_S1 = right_SE.sum(axis=1, keepdims=True) / predictions_E.sum()
    values_SE: Array = p_S1 + (right_SE - p_S1 * predictions_E) / mean_predictions
    return values_SE


def _error(value_SE: Array, seed_sd: float | None) -> tuple[float, float]:
    """Return the standard error of the mean, and the quantile of its distribution.

    Args:
        value_SE: One value a seed and example.
        seed_sd: Standard deviation of a seed's mean over seeds; None: unknown.
    """
    seeds, examples = value_SE.shape
    least = 0.5 / examples  # the formulas give 0 where all predictions are right
    if seed_sd is not None or seeds == 1 or examples == 1:
        of_examples = _variance(value_SE.mean(axis=0)) / examples
        error = math.sqrt(of_examples + (seed_sd or 0.0) ** 2 / seeds)
        return max(error, least), NormalDist().inv_cdf((1 + LEVEL) / 2)
    of_examples = seeds * _variance(value_SE.mean(axis=0))
    of_seeds = examples * _variance(value_SE.mean(axis=1))
    rest_SE = (
        value_SE - value_SE.mean(axis=0) - value_SE.mean(axis=1, keepdims=True) + value_SE.mean()
    )
    rest = float((rest_SE**2).sum()) / ((seeds - 1) * (examples - 1))
    return _satterthwaite(of_examples, max(of_seeds, rest), rest, seeds, examples, least)


def _satterthwaite(
    of_examples: float, of_seeds: float, rest: float, seeds: int, examples: int, least: float
) -> tuple[float, float]:
    """Return standard error and quantile by the mean squares of both factors and of the rest."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    whole = of_examples + of_seeds - rest
    degrees = (examples - 1, seeds - 1, (examples - 1) * (seeds - 1))
    squares = sum(
        square**2 / freedom
        for square, freedom in zip((of_examples, of_seeds, rest), degrees, strict=True)
    )
    freedom = whole**2 / squares if squares else examples - 1
    error = math.sqrt(whole / (seeds * examples))
    return max(error, least), float(stdtrit(freedom, (1 + LEVEL) / 2))


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
