"""Top-k and random-k masks over flat vectors.

Shapes: ``values_N`` is a float32 vector over a layout of N entries; ``mask_N`` is boolean, True
for kept entries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Mask = NDArray[np.bool_]


def top_k_mask(values_N: Vector, count: int) -> Mask:
    """Return the mask of the ``count`` entries of largest magnitude.

    Among equal magnitudes at the threshold the lowest indices are kept, so that the mask depends
    on the values alone.

    Raises:
        ValueError: ``count`` is outside 1 .. N, or a value is NaN.
    """
    entries = values_N.size
    if not 1 <= count <= entries:
        raise ValueError(f"cannot keep {count} of {entries} entries")
    magnitude_N = np.abs(values_N)
    if np.isnan(magnitude_N.max()):
        raise ValueError("top-k of a vector that holds NaN")
    if count == entries:
        return np.ones(entries, dtype=bool)
    threshold = np.partition(magnitude_N, entries - count)[entries - count]
    mask_N: Mask = magnitude_N >= threshold
    too_many = np.count_nonzero(mask_N) - count
    if too_many:
        ties = np.flatnonzero(magnitude_N == threshold)
        mask_N[ties[-too_many:]] = False
    return mask_N


def random_k_mask(entries: int, count: int, draw: np.random.Generator) -> Mask:
    """Return a mask of ``count`` random positions out of ``entries``, without replacement.

    Raises:
        ValueError: ``count`` is outside 1 .. entries.
    """
    if not 1 <= count <= entries:
        raise ValueError(f"cannot keep {count} of {entries} entries")
    mask = np.zeros(entries, dtype=bool)
    mask[draw.choice(entries, size=count, replace=False)] = True
    return mask
