"""Terms of the prior over tasks: a polynomial in a candidate's settings and a run's length.

Settings are in steps of a factor of 4 from rank 8 and densities of 1/4, depth in halvings of the
task's layers. A run's length enters as its pace, (rounds / 10) ** -0.5: learning curves approach
their ends about like this, and, unlike a polynomial in log rounds, they do not bend back.

Shapes: N points, T terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from planner.candidates import Candidate

Array = NDArray[np.float64]
Point = tuple[Candidate, float]  # a candidate after some rounds

_RANK, _DENSITY, _ROUNDS = 8, 1 / 4, 10  # where terms are 0, and the pace 1
SETTINGS = ("rank", "down", "up")
_PRODUCTS = tuple(combinations_with_replacement(SETTINGS, 2))
TIME_TERMS = ("level", "pace", "pace * pace")
SHAPE_TERMS = (*SETTINGS, "depth", *(f"{one} * {other}" for one, other in _PRODUCTS))
TERMS = (*TIME_TERMS, *SHAPE_TERMS, *(f"{term} * pace" for term in SHAPE_TERMS))


def term_values(points: Sequence[Point], layers: int) -> Array:
    """Return the values of the terms at each point, shape (N, T).

    The first ``len(TIME_TERMS)`` terms depend on the rounds alone, the others are 0 for a candidate
    of rank 8 and densities 1/4 with adapters in all layers.

    Args:
        points: Candidates and rounds, from 1.
        layers: Layers with adapters of a candidate that names no depth.
    """
    log_N3 = np.log2([[c.rank, c.down_density, c.up_density] for c, _ in points])
    unit_N3 = (log_N3 - np.log2([_RANK, _DENSITY, _DENSITY])) / 2
    depth_N = np.log2([(c.depth or layers) / layers for c, _ in points])
    pace_N = (np.maximum(1.0, [rounds for _, rounds in points]) / _ROUNDS) ** -0.5
    by_name = dict(zip(SETTINGS, unit_N3.T, strict=True))
    products = [by_name[one] * by_name[other] for one, other in _PRODUCTS]
    shape = [*unit_N3.T, depth_N, *products]
    columns = [np.ones_like(pace_N), pace_N, pace_N**2, *shape, *(x * pace_N for x in shape)]
    return np.stack(columns, axis=1)
