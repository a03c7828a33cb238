"""Features of candidates, and space-filling orders of candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from floss_sim.methods.search_axes import default_number, number_axes, searched_methods
from floss_sim.rng import stream
from floss_sim.wire import VALUE_CODES
from planner.candidates import FLOSS, MAX_CANDIDATES, PLAIN_VALUES, Candidate

_ALWAYS = 3  # features: the first ones, used even if all candidates agree in them


@lru_cache(maxsize=2 * MAX_CANDIDATES)
def features(candidate: Candidate) -> tuple[float, ...]:
    """Return log2 of rank, densities, cohort, epochs, depth and rates, 0/1 indicators, own numbers.

    The indicators are one for each value code and each method except the defaults. An axis with
    the task's value counts as log2 of 1. A number that only some methods have counts as log2 of
    (1 + number) over (1 + the method's default), which is 0 for the other methods; where the
    default is 0, as log2 of the number.
    """
    scales = candidate.rank, candidate.down_density, candidate.up_density
    others = (candidate.cohort_size or 1, candidate.epochs or 1, candidate.depth or 1)
    rates = candidate.client_lr or 1.0, candidate.server_lr or 1.0
    codes = (code == candidate.values for code in VALUE_CODES if code != PLAIN_VALUES)
    methods = (method == candidate.method for method in searched_methods() if method != FLOSS)
    logs = (math.log2(value) for value in (*scales, *others, *rates))
    return (*logs, *map(float, (*codes, *methods)), *_own_numbers(candidate))


def _own_numbers(candidate: Candidate) -> list[float]:
    """Return a feature for each number that only some methods have."""
    if not candidate.options:
        return [0.0] * len(number_axes())
    own = candidate.own
    defaults = {name: default_number(candidate.method, name) for name in own}
    logs = {name: _log_share(own[name], defaults[name]) for name in own}
    return [logs.get(name, 0.0) for name in number_axes()]


def _log_share(number: float, default: float) -> float:
    """Return log2 of a number over its default; of the number itself where the default is 0."""
    return math.log2((1 + number) / (1 + default) if default else number or 1)


def varying_columns(candidates: Iterable[Candidate]) -> tuple[int, ...]:
    """Return the indices of features that differ between candidates, and of the first three."""
    columns = zip(*(features(c) for c in candidates), strict=True)
    return tuple(i for i, column in enumerate(columns) if i < _ALWAYS or len(set(column)) > 1)


def space_filling_order(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return candidates in an order of which every prefix covers the space evenly.

    Each point of a low-discrepancy lattice takes the nearest remaining candidate. The lattice is
    shifted by the seed. On each axis the distinct values are equally spaced. The first candidate of
    every method comes before all others, so that a short prefix has begun each method.
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
    first = {candidate.method: candidate for candidate in reversed(order)}
    leaders = [c for c in order if first[c.method] == c]
    return [*leaders, *(c for c in order if first[c.method] != c)] if len(leaders) > 1 else order


def _plastic_number(dimensions: int) -> float:
    """Return the root of x^(D + 1) = x + 1; its powers are the steps of the lattice."""
    root = 1.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    return root
