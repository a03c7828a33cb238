"""Noise of measured accuracies: how large it is, and what smoothing takes away."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

SMOOTHED_SHARE = 0.15  # of a curve's rounds, its last


def smoothed_accuracy(evaluated: Sequence[int], accuracies: Sequence[float], rounds: int) -> float:
    """Return the mean accuracy over the last ``SMOOTHED_SHARE`` of the first ``rounds`` rounds.

    At least the last evaluation counts, so that short curves answer too.

    Args:
        evaluated: Evaluated rounds, ascending.
        accuracies: Accuracy at each, 0 to 1.
        rounds: Where the curve ends; what is beyond is not looked at.

    Raises:
        ValueError: Nothing was evaluated by then.
    """
    end = bisect_right(evaluated, rounds)
    if not end:
        raise ValueError(f"no evaluation in the first {rounds} rounds")
    start = bisect_right(evaluated, (1 - SMOOTHED_SHARE) * rounds)
    return fmean(accuracies[min(start, end - 1) : end])


def difference_error(accuracy: float, examples: int) -> float:
    """Return the standard error of the difference of two accuracies near ``accuracy``.

    Binomial, on ``examples`` validation examples each, as if independent: sqrt(2 p (1 - p) / n).
    The floor of one example keeps a perfect score from having none.
    """
    return max(math.sqrt(2 * accuracy * (1 - accuracy) / examples), 1 / examples)


def standard_error(evaluated: Sequence[int], accuracy: float, rounds: int, examples: int) -> float:
    """Return the standard error of an accuracy smoothed up to some round.

    Binomial, as if evaluations of a run erred independently; the floor of half an example keeps a
    perfect score from having none.
    """
    count = bisect_right(evaluated, rounds) - bisect_right(evaluated, (1 - SMOOTHED_SHARE) * rounds)
    error = math.sqrt(accuracy * (1 - accuracy) / (examples * max(count, 1)))
    return max(error, 0.5 / examples)
