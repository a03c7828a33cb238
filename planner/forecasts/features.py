"""Where candidates lie, and orders of them that are spread over that space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from floss_sim.rng import stream
from floss_sim.wire import VALUE_CODES
from planner.candidates import FLOSS, PLAIN_VALUES, SEARCHED_METHODS, Candidate

_ALWAYS = 3  # features that are looked at even where they do not vary


def features(candidate: Candidate) -> tuple[float, ...]:
    """Return log2 of the rank and the densities, then of cohort and epochs, then marks.

    A mark is 1 for the value code or the method that it stands for.
    """
    scales = candidate.rank, candidate.down_density, candidate.up_density
    others = max(1, candidate.cohort_size), max(1, candidate.epochs)
    codes = (code == candidate.values for code in VALUE_CODES if code != PLAIN_VALUES)
    methods = (method == candidate.method for method in SEARCHED_METHODS if method != FLOSS)
    return (*(math.log2(value) for value in (*scales, *others)), *map(float, (*codes, *methods)))


def varying_columns(candidates: Iterable[Candidate]) -> tuple[int, ...]:
    """Return which features tell candidates apart; the first three always count."""
    columns = zip(*(features(c) for c in candidates), strict=True)
    return tuple(i for i, column in enumerate(columns) if i < _ALWAYS or len(set(column)) > 1)


def space_filling_order(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return candidates in an order whose every beginning is spread over what they differ in.

    Points of a low-discrepancy lattice, shifted by the seed, each take the nearest candidate that
    is left; on each axis the different values lie evenly.
    """
    x_ND = np.array([features(c) for c in candidates])[:, varying_columns(candidates)]
    places = [np.unique(x_N, return_inverse=True) for x_N in x_ND.T]
    unit_ND = np.stack([(at + 0.5) / len(values) for values, at in places], axis=1)
    dimensions = unit_ND.shape[1]
    shift_D = stream(seed, "starters").random(dimensions)
    step_D = _plastic_number(dimensions) ** -np.arange(1.0, dimensions + 1)
    left = list(range(len(candidates)))
    order = []
    for number in range(len(candidates)):
        away = ((unit_ND[left] - (shift_D + number * step_D) % 1) ** 2).sum(axis=1)
        order.append(candidates[left.pop(int(np.argmin(away)))])
    return order


def _plastic_number(dimensions: int) -> float:
    """Return the root of x^(D + 1) = x + 1: its powers are a low-discrepancy lattice."""
    root = 1.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    return root
