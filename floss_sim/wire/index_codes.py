"""How the positions of the sent entries are written.

=======  ==========================================  ==================
code     index section                               bytes
=======  ==========================================  ==================
DENSE    nothing: all N entries are sent             0
BITMAP   one bit an entry, lowest bit first          ceil(N / 8)
INDEX32  k increasing uint32 positions               4 k
=======  ==========================================  ==================

An encoder takes the code whose message is smallest; DENSE sends exact zeros as values, the others
drop them. A decoder never allocates more than the layout's N entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError
from floss_sim.sparsity import Mask

DENSE, BITMAP, INDEX32 = 0, 1, 2
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class IndexCode:
    """One way of writing positions: its size, its writer and its reader."""

    nbytes: Callable[[int, int], int]  # (entries N, sent k)
    write: Callable[[Mask], bytes]
    read: Callable[[memoryview, int, int], Positions]  # (section, N, k)


def _read_dense(_section: memoryview, entries: int, count: int) -> Positions:
    if count != entries:
        raise PayloadError(f"dense message of {count} values in a layout of {entries}")
    return np.arange(entries)


def _read_bitmap(section: memoryview, entries: int, count: int) -> Positions:
    bits = np.unpackbits(np.frombuffer(section, np.uint8), bitorder="little")
    positions = np.flatnonzero(bits)
    if positions.size != count or (count and positions[-1] >= entries):
        raise PayloadError(f"bitmap does not mark {count} of {entries} entries")
    return positions


def _read_index32(section: memoryview, entries: int, count: int) -> Positions:
    positions = np.frombuffer(section, "<u4").astype(np.intp)
    if count and (positions[-1] >= entries or np.any(np.diff(positions) <= 0)):
        raise PayloadError(f"positions are not increasing below {entries}")
    return positions


INDEX_CODES: Mapping[int, IndexCode] = {
    DENSE: IndexCode(lambda n, k: 0, lambda mask: b"", _read_dense),
    BITMAP: IndexCode(
        lambda n, k: -(-n // 8),
        lambda mask: np.packbits(mask, bitorder="little").tobytes(),
        _read_bitmap,
    ),
    INDEX32: IndexCode(
        lambda n, k: 4 * k,
        lambda mask: np.flatnonzero(mask).astype("<u4").tobytes(),
        _read_index32,
    ),
}
