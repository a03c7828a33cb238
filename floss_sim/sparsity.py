"""Densities and top-k masks over flat vectors.

Shapes: ``values_N`` is one float32 vector over a layout of N entries; ``mask_N`` is boolean.
A *density* is the fraction of entries that is kept (the thesis writes "sparsity ratio" for it).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import DensityError

Vector = NDArray[np.float32]
Mask = NDArray[np.bool_]


def parse_density(text: str | float) -> float:
    """Return the density of ``"1/4"``, ``"0.25"`` or a number.

    Raises:
        DensityError: Not a number, or outside (0, 1].
    """
    try:
        # float() reads "1e-999999999" at once, where Fraction would build the power of ten.
        density = float(Fraction(text) if isinstance(text, str) and "/" in text else text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise DensityError(f"density {text!r} is not a number or fraction such as 1/4") from None
    if not 0 < density <= 1:
        raise DensityError(f"density {text!r} is outside (0, 1]; 1/4 keeps a quarter")
    return density


def format_density(density: float) -> str:
    """Return a density as a fraction where it is a simple one, such as ``"1/16"``."""
    fraction = Fraction(density).limit_denominator(65536)
    return str(fraction) if float(fraction) == density else f"{density:.6g}"


def kept_count(entries: int, density: float) -> int:
    """Return ``max(1, floor(density * entries))``, the k of top-k (DESIGN, "The algorithm")."""
    return max(1, int(density * entries))


def top_k_mask(values_N: Vector, count: int) -> Mask:
    """Return the mask of the ``count`` entries of largest magnitude.

    Ties at the threshold are broken by lowest index, so that the mask is a pure function of the
    values.

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
    """Return the mask of ``count`` of ``entries`` positions, drawn without replacement.

    Raises:
        ValueError: ``count`` is outside 1 .. entries.
    """
    if not 1 <= count <= entries:
        raise ValueError(f"cannot keep {count} of {entries} entries")
    mask = np.zeros(entries, dtype=bool)
    mask[draw.choice(entries, size=count, replace=False)] = True
    return mask
