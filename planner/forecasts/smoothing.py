"""Smoothed accuracies, and the standard errors of measured and smoothed accuracies."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

from floss_sim.analysis.last_part import SMOOTHED_SHARE, last_part


def smoothed_accuracy(evaluated: Sequence[int], accuracies: Sequence[float], rounds: int) -> float:
    """Return the mean accuracy over the last part of the first ``rounds`` rounds.

    Arguments and errors are those of :func:`floss_sim.analysis.last_part.last_part`.

    Args:
        evaluated: Evaluated rounds, ascending.
        accuracies: Accuracy at each evaluated round, 0 to 1.
        rounds: Length of the curve in rounds; later evaluations are ignored.
    """
    end = bisect_right(evaluated, rounds)
    return fmean(accuracies[end - len(last_part(evaluated, rounds)) : end])


def difference_error(accuracy: float, examples: int) -> float:
    """Return the standard error of the difference of two accuracies near ``accuracy``.

    Both are assumed to be independent and binomial, on ``examples`` validation examples each:
    sqrt(2 p (1 - p) / n). The result is at least one example, 1 / n: the formula gives 0 at p = 1.
    """
    return max(math.sqrt(2 * accuracy * (1 - accuracy) / examples), 1 / examples)


def standard_error(evaluated: Sequence[int], accuracy: float, rounds: int, examples: int) -> float:
    """Return the standard error of a smoothed accuracy.

    The errors of a run's evaluations are assumed to be independent and binomial. The result is at
    least half an example, 0.5 / n: the formula gives 0 for a perfect score.

    Args:
        evaluated: Evaluated rounds, ascending.
        accuracy: The smoothed accuracy, 0 to 1.
        rounds: Length of the curve in rounds; later evaluations are ignored.
        examples: Validation examples of each evaluation, n.
    """
    count = bisect_right(evaluated, rounds) - bisect_right(evaluated, (1 - SMOOTHED_SHARE) * rounds)
    error = math.sqrt(accuracy * (1 - accuracy) / (examples * max(count, 1)))
    return max(error, 0.5 / examples)
