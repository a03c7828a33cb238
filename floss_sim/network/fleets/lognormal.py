"""Lognormal client links: medians and spreads of rates, round trips and compute times.

A client's link is drawn from standard normal numbers of its own, whatever its class or the size of
the fleet. The draws are made by blocks of 1024 clients, when the first client of a block is asked
for.

Shapes: B clients of a block, K laws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from floss_sim.documents import Duration, Rate, Section
from floss_sim.errors import UnitError
from floss_sim.rng import stream
from floss_sim.units import parse_duration, parse_rate

BLOCK = 1024  # clients per block; the links of a block are drawn together
_BLOCKS = 4096  # blocks in the cache, 32 kB each: a fleet of four million is drawn only once
Sigma = Annotated[float, Field(ge=0, le=5)]
Floats = NDArray[np.float64]


class LogRate(Section):
    """Lognormal rate: median in bits per second, standard deviation of the natural logarithm.

    A text such as ``"20 Mbit/s"`` is a rate without spread.
    """

    model_config = ConfigDict(json_schema_extra={"examples": ["20 Mbit/s"]})

    median: Rate
    sigma: Sigma = 0.0

    @model_validator(mode="before")
    @classmethod
    def _without_spread(cls, given: Any) -> Any:
        return _table(given, parse_rate)


class LogDuration(Section):
    """Lognormal duration: median in seconds, standard deviation of the natural logarithm.

    A text such as ``"50 ms"`` is a duration without spread.
    """

    model_config = ConfigDict(json_schema_extra={"examples": ["50 ms"]})

    median: Duration
    sigma: Sigma = 0.0

    @model_validator(mode="before")
    @classmethod
    def _without_spread(cls, given: Any) -> Any:
        return _table(given, parse_duration)


def _table(given: Any, parse: Callable[[object], float]) -> Any:
    """Return a law as given, or the table of a quantity without spread.

    Raises:
        ValueError: The quantity is not valid; pydantic then names the key of the law.
    """
    if isinstance(given, dict | Section):
        return given
    try:
        parse(given)
    except UnitError as error:
        raise ValueError(str(error)) from None
    return {"median": given}


@dataclass(frozen=True)
class LinkLaw:
    """Law of the links of one class; each quantity is lognormal.

    Attributes:
        medians: Medians of down, up (bits per second), round trip and compute time (seconds).
        sigmas: Standard deviations of their natural logarithms, in the same order.
        correlation: Correlation of log down and log up.
    """

    medians: tuple[float, float, float, float]
    sigmas: tuple[float, float, float, float]
    correlation: float

    @property
    def means(self) -> tuple[float, float, float, float]:
        """Means of the quantities: median times exp(sigma^2 / 2)."""
        down, up, rtt, compute = (
            median * math.exp(sigma**2 / 2)
            for median, sigma in zip(self.medians, self.sigmas, strict=True)
        )
        return down, up, rtt, compute

    @property
    def is_drawn(self) -> bool:
        """Whether clients of this law differ."""
        return any(self.sigmas)


class LinkDraws:
    """Draws of down, up, round trip and compute time of every client.

    Args:
        laws: Law of each class (K).
        class_of: Function from a range of client numbers to their classes (B,), as integers.
        seed: Seed of the network.
    """

    def __init__(
        self, laws: Sequence[LinkLaw], class_of: Callable[[range], NDArray[Any]], seed: int
    ) -> None:
        self._medians_K4 = np.array([law.medians for law in laws])
        self._sigmas_K4 = np.array([law.sigmas for law in laws])
        self._mix_K = np.array([law.correlation for law in laws])
        self._rest_K = np.array([math.sqrt(1 - law.correlation**2) for law in laws])
        self._class_of, self._seed = class_of, seed
        self._drawn_of = client_draws(self._draw)

    def __getitem__(self, client: int) -> tuple[float, float, float, float]:
        """Return down and up in bits per second, round trip and compute time in seconds."""
        down, up, rtt, compute = self._drawn_of(client).tolist()
        return down, up, rtt, compute

    def _draw(self, block: int) -> Floats:
        """Return (down, up, rtt, compute) of each client of a block, shape (1024, 4)."""
        normal = stream(self._seed, "fleet", block).standard_normal((BLOCK, 4))
        class_B = self._class_of(range(block * BLOCK, (block + 1) * BLOCK))
        mix_B, rest_B = self._mix_K[class_B], self._rest_K[class_B]
        normal[:, 1] = mix_B * normal[:, 0] + rest_B * normal[:, 1]
        drawn: Floats = self._medians_K4[class_B] * np.exp(normal * self._sigmas_K4[class_B])
        return drawn


def client_draws(draw: Callable[[int], NDArray[Any]]) -> Callable[[int], Any]:
    """Return a function from a client number to its draw, given a function that draws a block."""
    block_of = lru_cache(maxsize=_BLOCKS)(draw)
    return lambda client: block_of(client // BLOCK)[client % BLOCK]
