"""Learning curves of synthetic worlds without noise: one array for each family.

Legend: C candidates, R rounds 1 to ``CAP``.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from planner.candidates import grid

Array = NDArray[np.float64]
RANKS = (2, 4, 8, 16, 32)
DENSITIES = tuple(2.0**-i for i in range(7))
SPACE = tuple(grid(RANKS, DENSITIES, DENSITIES))
CAP, CHANCE = 400, 0.1
PLATEAUS, DECAYS, COLLAPSES = 1 / 4, 1 / 6, 1 / 12  # shares of ill-behaved curves
LATE_COLLAPSES = 1 / 10  # share of crossing curves
_KNOBS_C3 = np.array(
    [(math.log2(c.rank), -math.log2(c.down_density), -math.log2(c.up_density)) for c in SPACE]
)
SPARSITY_C = _KNOBS_C3[:, 1:].sum(axis=1) / _KNOBS_C3[:, 1:].sum(axis=1).max()  # 0 to 1


def regular_curves(draw: np.random.Generator) -> Array:
    """Return power laws over the space, shape (candidates, rounds)."""
    rank_C, down_C, up_C = _KNOBS_C3.T
    count = len(SPACE)
    top, starved, shape = draw.uniform(0.94, 0.99), draw.uniform(0.02, 0.08), draw.uniform(0.9, 1.7)
    loss_C = starved * 2.0 ** (-draw.uniform(0.6, 1.2) * (rank_C - 1))
    _add_sparsity_loss(loss_C, draw)
    slow_C = draw.uniform(0.0, 0.3) * down_C + draw.uniform(0.1, 0.4) * up_C
    slow_C += 0.15 * draw.standard_normal(count) - draw.uniform(0, 0.2) * rank_C
    pace_C = draw.uniform(2, 8) * 2.0**slow_C
    risen_CR = 1 - (1 + np.arange(1, CAP + 1) / pace_C[:, None]) ** -shape
    best_C = np.clip(top - loss_C, CHANCE, 0.995)
    made: Array = CHANCE + (best_C - CHANCE)[:, None] * risen_CR
    return made


def _add_sparsity_loss(loss_C: Array, draw: np.random.Generator) -> None:
    """Add to the final losses of all candidates the parts of sparsity and of a candidate's own."""
    rank_C, down_C, up_C = _KNOBS_C3.T
    for sparse_C, most in ((down_C, 0.014), (up_C, 0.008)):
        few_C = np.maximum(0, sparse_C - draw.uniform(0, 4) - 0.3 * (rank_C - 3))
        loss_C += draw.uniform(0.2, 1) * most * few_C**1.5
    loss_C += 0.009 * _field(draw) + 0.003 * draw.standard_normal(len(SPACE))


@cache
def _smooth() -> Array:
    """Return the Cholesky factor of a smooth field over the space."""
    apart = ((_KNOBS_C3[:, None] - _KNOBS_C3[None]) ** 2).sum(axis=2)
    factor: Array = np.linalg.cholesky(np.exp(-apart / (2 * 2.0**2)) + 1e-6 * np.eye(len(SPACE)))
    return factor


def _field(draw: np.random.Generator) -> Array:
    made: Array = _smooth() @ draw.standard_normal(len(SPACE))
    return made


def ill_curves(
    regular_CR: Array, horizons_C: NDArray[np.int64], draw: np.random.Generator
) -> Array:
    """Return curves with plateaus, late decay and collapses."""
    made_CR = regular_CR.copy()
    rounds_R = np.arange(1, CAP + 1)
    for row, end in enumerate(horizons_C):
        kind, starts = draw.random(), draw.uniform(1 / 3, 1) * end
        pause, lost, start = draw.uniform(0.1, 0.4) * end, draw.uniform(0.02, 0.15), 0.0
        if kind < PLATEAUS:
            start = draw.uniform(0.02, 0.4) * end
            played_R = np.where(rounds_R < start, rounds_R, np.maximum(start, rounds_R - pause))
            made_CR[row] = np.interp(played_R, rounds_R, regular_CR[row])
        elif kind < PLATEAUS + DECAYS:
            made_CR[row] -= lost * np.clip((rounds_R - starts) / (end / 3), 0, None)
        elif kind < PLATEAUS + DECAYS + COLLAPSES:
            fallen_R = np.clip((rounds_R - starts) / (0.03 * end), 0, 1)
            made_CR[row] += (CHANCE - made_CR[row]) * fallen_R
    return np.clip(made_CR, 0.02, 1.0)


def crossing_curves(horizons_C: NDArray[np.int64], draw: np.random.Generator) -> Array:
    """Return curves whose large ranks are slower and end higher; a tenth collapses late."""
    rank_C, down_C, up_C = _KNOBS_C3.T
    top, starved, shape = draw.uniform(0.9, 0.97), draw.uniform(0.12, 0.3), draw.uniform(0.9, 1.7)
    loss_C = starved * 2.0 ** (-draw.uniform(0.4, 0.8) * (rank_C - 1))
    _add_sparsity_loss(loss_C, draw)
    slow_C = draw.uniform(0.8, 1.1) * (rank_C - 1) + draw.uniform(0, 0.15) * (down_C + up_C)
    slow_C += 0.15 * draw.standard_normal(len(SPACE))
    pace_C = draw.uniform(1.5, 3) * 2.0**slow_C
    rounds_R = np.arange(1, CAP + 1)
    risen_CR = 1 - (1 + rounds_R / pace_C[:, None]) ** -shape
    made_CR = CHANCE + (np.clip(top - loss_C, CHANCE, 0.995) - CHANCE)[:, None] * risen_CR
    for row, end in enumerate(horizons_C):
        collapses, starts = draw.random() < LATE_COLLAPSES, draw.uniform(0.6, 1) * end
        fallen_R = np.clip((rounds_R - starts) / (draw.uniform(0.02, 0.15) * end), 0, 1)
        if collapses:
            made_CR[row] += (CHANCE - made_CR[row]) * fallen_R
    return made_CR
