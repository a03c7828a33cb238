"""Falls of learning curves: how far a run's accuracy fell, and the round at which it should end."""

from __future__ import annotations

import math
from functools import lru_cache

from planner.curves import Curve
from planner.forecasts.smoothing import difference_error, smoothed_accuracy

# Standard errors of a difference: smaller falls may be noise.
_FALL_ERRORS = 2.5  # from the highest smoothed accuracy to the last one
_DROP_ERRORS = 4.0  # from the highest smoothed accuracy to the last evaluation


def curve_fall(curve: Curve, examples: int) -> float:
    """Return the fall from a curve's highest smoothed accuracy to its end, 0 to 1.

    The end is the last smoothed accuracy. If that is not clearly lower, it is the last evaluation,
    since a run that collapses at its very end has a high average. The fall is 0 if it may be noise:
    at most ``_FALL_ERRORS`` or ``_DROP_ERRORS`` standard errors of a difference.

    Args:
        curve: The curve.
        examples: Validation examples of every accuracy.
    """
    return _peak_and_fall(curve, examples)[1]


def peak_round(curve: Curve, examples: int) -> int | None:
    """Return the round of a fallen curve's highest smoothed accuracy; None if it did not fall.

    Of equal accuracies the first counts. The arguments are those of :func:`curve_fall`.
    """
    peak, fall = _peak_and_fall(curve, examples)
    return peak if fall else None


@lru_cache(maxsize=4096)
def _peak_and_fall(curve: Curve, examples: int) -> tuple[int, float]:
    """Return the round of the highest smoothed accuracy, and the fall from it to the end."""
    if not curve.evaluated:
        return 0, 0.0
    smoothed = {r: smoothed_accuracy(curve.evaluated, curve.accuracies, r) for r in curve.evaluated}
    peak = max(smoothed, key=smoothed.__getitem__)
    top, end, last = smoothed[peak], smoothed[curve.evaluated[-1]], curve.accuracies[-1]
    if top - end > _FALL_ERRORS * _difference_error(top, end, examples):
        return peak, top - end
    drops = end < top and top - last > _DROP_ERRORS * _difference_error(top, last, examples)
    return peak, top - last if drops else 0.0


def _difference_error(one: float, other: float, examples: int) -> float:
    """Return the standard error of the difference of two accuracies of single evaluations."""
    errors = (difference_error(accuracy, examples) for accuracy in (one, other))
    return math.hypot(*errors) / math.sqrt(2)
