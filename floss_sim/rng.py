"""Named, independent random streams.

``stream(3, "client", 7, "dispatch", 21)`` gives the same random numbers in every process and on
every machine. Draws from one stream do not affect another stream. The 256-bit seed of a stream is
the SHA-256 of the run's seed and the names, so different names give independent streams.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache, partial
from typing import TypeAlias

import numpy as np

LazyStream: TypeAlias = Callable[[], np.random.Generator]  # every call returns the same generator


def _digest(seed: int, names: tuple[str | int, ...]) -> int:
    text = json.dumps([seed, *names], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return a new generator (PCG64) for a seed and a path of names."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_digest(seed, names))))


def lazy_stream(seed: int, *names: str | int) -> LazyStream:
    """Return a function that creates the named stream on its first call.

    Most selectors are deterministic and draw no random numbers, so most streams are never created.
    """
    return cache(partial(stream, seed, *names))


def stream_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit integer seed of the named stream, for libraries such as torch."""
    return _digest(seed, names) >> 193
