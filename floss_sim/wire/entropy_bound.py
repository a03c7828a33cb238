"""Information bound log2 C(n, k) for coding k of n positions, all masks equally likely."""

from __future__ import annotations

from math import lgamma, log


def floor_bits(universe: int, count: int) -> float:
    """Return log2 of the number of ways to choose ``count`` of ``universe`` entries, in bits.

    Real masks are not equally likely: a code that uses local densities can take fewer bits.
    """
    ways = lgamma(universe + 1) - lgamma(count + 1) - lgamma(universe - count + 1)
    return max(0.0, ways / log(2))
