"""Checks of a plan's document as plain values, without the meaning of their keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

_SAME = 1e-9  # relative difference of equal figures
_NEAR = 1e-6  # relative difference of figures that are computed in different ways
_DIFFERENCES = ("test_differences", "method_gaps")  # sections of differences of accuracies


def first_difference(given: Any, told: Any, place: str = "") -> str:
    """Return the place of the first value that differs from the same value derived anew.

    Args:
        given: Plain values, as a file holds them.
        told: The same document derived from its figures; keys that only it has are not compared.
        place: Dotted key of both.
    """
    if isinstance(given, Mapping) and isinstance(told, Mapping):
        pairs: Iterable[tuple[Any, Any, Any]] = (
            (key, value, told[key]) for key, value in given.items() if key in told
        )
    elif isinstance(given, list | tuple) and isinstance(told, list | tuple):
        if len(given) != len(told):
            return place
        pairs = ((i, one, other) for i, (one, other) in enumerate(zip(given, told, strict=True)))
    else:
        return "" if same(given, told) else place
    places = (
        first_difference(one, other, f"{place}.{key}".lstrip(".")) for key, one, other in pairs
    )
    return next((found for found in places if found), "")


def skewed_interval(given: Any, place: str = "") -> str:
    """Return the place of the first accuracy interval whose mean is not its middle in log-odds.

    Every interval of an accuracy is made on the log-odds scale, those of test accuracies too. Only
    differences (``_DIFFERENCES``) are made on the scale of accuracies.

    Args:
        given: Plain values, as a file holds them.
        place: Dotted key of the values.
    """
    if isinstance(given, Mapping):
        if place.partition(".")[0] in _DIFFERENCES:
            return ""
        if given.keys() >= {"low", "mean", "high"} and not _is_symmetric(given):
            return place
        pairs: Iterable[tuple[Any, Any]] = given.items()
    elif isinstance(given, list | tuple):
        pairs = enumerate(given)
    else:
        return ""
    places = (skewed_interval(value, f"{place}.{key}".lstrip(".")) for key, value in pairs)
    return next((found for found in places if found), "")


def _is_symmetric(told: Mapping[str, Any]) -> bool:
    """Return whether the log-odds of the mean are halfway between those of both ends."""
    low, mean, high = told["low"], told["mean"], told["high"]
    if not _NEAR < low < mean < high < 1 - _NEAR:
        return bool(
            low <= mean <= high
        )  # near 0 and 1, rounding of the ends shows in their log-odds
    distances = [math.log(one / (1 - one) / (mean / (1 - mean))) for one in (low, high)]
    return math.isclose(-distances[0], distances[1], rel_tol=_NEAR)


def same(given: Any, told: Any) -> bool:
    """Return whether two plain values are equal, numbers but for rounding."""
    if isinstance(given, bool) or isinstance(told, bool):
        return given is told  # JSON's true is no number
    if isinstance(given, int | float) and isinstance(told, int | float):
        return math.isclose(given, told, rel_tol=_SAME, abs_tol=1e-12)
    return bool(given == told)
