"""Rice code (Rice and Plaunt 1971) of the gaps between positions, for very few positions.

The low bits of each gap are written in binary, its high bits in unary.
"""

from __future__ import annotations

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.wire.cells import Positions


def _gaps(positions_K: Positions) -> Positions:
    return np.diff(positions_K, prepend=-1) - 1


def _rice_width(gaps_K: Positions) -> int:
    """Return the number of low bits per gap that minimizes the total bits."""
    middle = max(0, int(np.log2(gaps_K.mean() + 1)))
    return min((max(0, middle - 1), middle, middle + 1), key=lambda w: _rice_bits(gaps_K, w))


def _rice_bits(gaps_K: Positions, width: int) -> int:
    return int((gaps_K >> width).sum()) + gaps_K.size * (1 + width)


def rice_bytes(positions_K: Positions) -> int:
    """Return the size in bytes of the Rice section of some positions."""
    gaps_K = _gaps(positions_K)
    width = _rice_width(gaps_K)
    return 1 + -(-_rice_bits(gaps_K, width) // 8)


def write_rice(size: int, positions_K: Positions) -> bytes:
    """Return the Rice section: the width, then all low bits, then all high bits in unary."""
    gaps_K = _gaps(positions_K)
    width = _rice_width(gaps_K)
    low = (gaps_K[:, None] >> np.arange(width)) & 1
    ends = np.cumsum((gaps_K >> width) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1, dtype=bool)
    unary[ends] = True
    bits = np.concatenate([low.ravel().astype(bool), unary])
    return bytes([width]) + np.packbits(bits, bitorder="little").tobytes()


def read_rice(size: int, section: memoryview, count: int) -> Positions:
    """Return the positions of a Rice section, in increasing order.

    Raises:
        PayloadError: The section is not one of ``count`` among ``size`` entries, or its width is
            too large.
    """
    width = section[0] if len(section) else 0
    most = count * (1 + width) + (size >> width)
    if (
        not count
        or len(section) < 2
        or width >= 32
        or count << width > 2 * size
        or 8 * (len(section) - 2) >= most
    ):
        raise PayloadError(f"not a Rice section: gaps of {count} entries in {len(section)} bytes")
    bits = np.unpackbits(np.frombuffer(section[1:], np.uint8), bitorder="little")
    low, unary = bits[: count * width], np.flatnonzero(bits[count * width :])
    if low.size != count * width or unary.size != count or len(bits) - unary[-1] - low.size > 8:
        raise PayloadError(f"Rice section does not hold the gaps of {count} entries")
    gaps_K = _gaps(unary) << width | low.reshape(count, width) @ (1 << np.arange(width))
    positions: Positions = np.cumsum(gaps_K + 1) - 1
    return positions
