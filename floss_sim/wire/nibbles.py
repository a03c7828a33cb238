"""Nibbles: numbers from 0 to 15, two per byte, the first one in the lower four bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nibble_bytes(nibbles_K: NDArray[np.integer[Any]]) -> bytes:
    """Return nibbles as bytes; an odd number of nibbles is padded with a zero."""
    even = np.zeros(-(-nibbles_K.size // 2) * 2, dtype=np.uint8)
    even[: nibbles_K.size] = nibbles_K
    return (even[0::2] | even[1::2] << 4).tobytes()


def nibbles_of(section: memoryview) -> NDArray[np.uint8]:
    """Return the nibbles of bytes, two per byte."""
    pairs = np.frombuffer(section, np.uint8)
    return np.stack([pairs & 15, pairs >> 4], axis=1).ravel()
