"""Where candidates lie, and orders of them that are spread over that space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from floss_sim.rng import stream
from planner.space import Candidate

_PLASTIC = 1.2207440846057596  # its powers are a low-discrepancy lattice of three dimensions


def features(candidate: Candidate) -> tuple[float, float, float]:
    """Return log2 of the rank and the densities."""
    values = candidate.rank, candidate.down_density, candidate.up_density
    rank, down, up = (math.log2(value) for value in values)
    return rank, down, up


def space_filling(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return candidates in an order whose every beginning is spread over ranks and densities.

    Points of a low-discrepancy lattice, shifted by the seed, each take the nearest candidate that
    is left; on each axis the different values lie evenly.
    """
    x_ND = np.array([features(c) for c in candidates])
    places = [np.unique(x_N, return_inverse=True) for x_N in x_ND.T]
    unit_ND = np.stack([(at + 0.5) / len(values) for values, at in places], axis=1)
    shift_D = stream(seed, "starters").random(3)
    step_D = _PLASTIC ** -np.arange(1.0, 4.0)
    left = list(range(len(candidates)))
    order = []
    for number in range(len(candidates)):
        away = ((unit_ND[left] - (shift_D + number * step_D) % 1) ** 2).sum(axis=1)
        order.append(candidates[left.pop(int(np.argmin(away)))])
    return order
