"""Named, independent random streams.

``stream(3, "client", 7, "dispatch", 21)`` is the same generator in every process and on every
machine, whatever was drawn before: no draw can shift another. The 256-bit seed is the SHA-256 of
the names, so that streams differ wherever a name differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache, partial
from typing import TypeAlias

import numpy as np

LazyStream: TypeAlias = Callable[
    [], np.random.Generator
]  # gives the same one whenever it is called


def _digest(seed: int, names: tuple[str | int, ...]) -> int:
    text = json.dumps([seed, *names], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to a seed and a path of names."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_digest(seed, names))))


def lazy_stream(seed: int, *names: str | int) -> LazyStream:
    """Return what makes the named stream when it is first called; few selections draw."""
    return cache(partial(stream, seed, *names))


def stream_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed of the named stream, for libraries that take an integer."""
    return _digest(seed, names) >> 193
