"""Gaussian noise from the operating system's random bytes, in whole steps of a grid.

Noise from a run's seed can be repeated, by everybody who knows the seed: it protects nobody. A sum
of floating-point numbers, moreover, has low bits that depend on its terms, from which an update can
be read in spite of the noise (Mironov, CCS 2012). Here the update is cut to a grid, towards zero,
and the noise is rounded to it. Which sums are possible is then the same for all updates. The result
is the Gaussian mechanism's, rounded: whoever sees less learns no more. Cutting makes no norm
longer; it moves a mean of updates by less than a step in each entry.

Shapes: vectors float32 and masks bool over a layout of N entries; D draws.
"""

from __future__ import annotations

import math
import os

import numpy as np
from numpy.typing import NDArray

from floss_sim.vectors.top_k import Mask, Vector

_STEP_BITS = 32  # a step is at most this power of 1/2 of a standard deviation
_DRAW_BITS = 53  # of a uniform number, as many as a float64 holds


def with_system_noise(values_N: Vector, deviation: float, where_N: Mask) -> Vector:
    """Return values on a grid with noise in the entries of a mask; the others are unchanged.

    Args:
        values_N: The values.
        deviation: Standard deviation of an entry's noise, above 0.
        where_N: Mask of the entries.
    """
    step = 2.0 ** (math.floor(math.log2(deviation)) - _STEP_BITS)
    noise_D = np.rint(deviation / step * normal_draws(int(np.count_nonzero(where_N))))
    noisy_N = values_N.copy()
    noisy_N[where_N] = step * (np.trunc(values_N[where_N].astype(np.float64) / step) + noise_D)
    return noisy_N


def normal_draws(count: int) -> NDArray[np.float64]:
    """Return standard normal numbers from the system's random bytes (Box and Muller 1958).

    Args:
        count: Number of draws, D.
    """
    bits_2D = np.frombuffer(os.urandom(16 * count), dtype=np.uint64).reshape(2, count)
    uniform_2D = (bits_2D >> np.uint64(64 - _DRAW_BITS)) * 2.0**-_DRAW_BITS
    draws_D: NDArray[np.float64] = np.sqrt(-2 * np.log1p(-uniform_2D[0])) * np.cos(
        2 * math.pi * uniform_2D[1]
    )
    return draws_D
