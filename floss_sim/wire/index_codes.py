"""How the positions of the sent entries are written.

=======  ====  =======================================================  ======================
name     code  index section                                            bytes
=======  ====  =======================================================  ======================
none     0     nothing: all of the universe is sent, or none of it      0
bitmap   1     one bit an entry, lowest bit first                       ceil(U / 8)
rice     2     gaps, Rice-coded: for very few entries                   about log2 C(U, k) / 8
range    3     bits of density k / U, range-coded                       log2 C(U, k) / 8 + 1
tensors  4     bits of the density of their tensor, range-coded         fewer, as masks allow
rows     5     bits of the density of their row, range-coded            fewer, as masks allow
held     6     bits by whether the entry is in the mask that both ends  fewer, as masks allow
               hold, range-coded
=======  ====  =======================================================  ======================

An encoder takes the code whose section is smallest. What range codes take follows from counts, to a
byte or two; where ones come in long runs it is less, which is not looked at. A decoder never
allocates more than the universe's U entries allow, and every section has one length. ``FORMAT.md``
has the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError
from floss_sim.wire.cell_codes import CellPlan, Partition, read_cells
from floss_sim.wire.cells import Positions, Universe
from floss_sim.wire.range_coder import (
    COARSE,
    FINE,
    LOST_BITS,
    SymbolReader,
    SymbolWriter,
    byte_model,
)
from floss_sim.wire.rice import read_rice, rice_bytes, write_rice

NONE, BITMAP, RICE, RANGE, TENSORS, ROWS, HELD = range(7)
INDEX_CODES: Mapping[str, int] = {
    "none": NONE,
    "bitmap": BITMAP,
    "rice": RICE,
    "range": RANGE,
    "tensors": TENSORS,
    "rows": ROWS,
    "held": HELD,
}
MOST_RICE = 1000  # entries; of more it is never the smallest
_PARTITIONS: Mapping[int, Partition] = {
    TENSORS: Partition("tensors", FINE, weighs=False),
    ROWS: Partition("rows", COARSE, weighs=True),
    HELD: Partition("held", FINE, weighs=False),
}


def write(universe: Universe, positions_K: Positions, code: int | None = None) -> tuple[int, bytes]:
    """Return the code and the index section of positions, in increasing order.

    Args:
        universe: Where they are counted.
        positions_K: Which are sent.
        code: The code to use; by default that of the smallest section.

    Raises:
        ValueError: This code cannot write these positions.
    """
    size, count = universe.size, positions_K.size
    if count in (0, size) and code in (None, NONE):
        return NONE, b""
    if not count or code == NONE or (code == HELD and universe.held is None):
        name = next(name for name, number in INDEX_CODES.items() if number == code)
        raise ValueError(f"index code {name!r} cannot write {count} of {size} positions")
    plans: dict[int, CellPlan] = {}
    if code is None:
        plans = {code: _plan(universe, positions_K, code) for code in _cell_codes(universe)}
        code = _smallest_code(size, positions_K, plans)
    if code in _PARTITIONS:
        plan = plans.get(code) or _plan(universe, positions_K, code)
        return code, plan.section()
    return code, _WRITERS[code](size, positions_K)


def _cell_codes(universe: Universe) -> list[int]:
    return [code for code in _PARTITIONS if code != HELD or universe.held is not None]


def _plan(universe: Universe, positions_K: Positions, code: int) -> CellPlan:
    partition = _PARTITIONS[code]
    return CellPlan(partition, universe.cells(partition.cells), positions_K)


def _smallest_code(size: int, positions_K: Positions, plans: Mapping[int, CellPlan]) -> int:
    """Return the code whose section is smallest; the lowest of equals."""
    count = positions_K.size
    lengths = [(-(-size // 8), BITMAP), (range_bytes(size, count), RANGE)]
    lengths += [(plan.nbytes, code) for code, plan in plans.items()]
    if count <= MOST_RICE:
        lengths.append((rice_bytes(positions_K), RICE))
    return min(lengths)[1]


def read(universe: Universe, code: int, section: memoryview, count: int) -> Positions:
    """Return the positions of an index section, in increasing order.

    Raises:
        PayloadError: It is not the section of ``count`` positions in this universe.
    """
    size = universe.size
    if code in _PARTITIONS:
        if code == HELD and universe.held is None:
            raise PayloadError("message was written with a mask that this reader does not hold")
        positions = read_cells(universe, _PARTITIONS[code], section)
    elif code in _READERS:
        positions = _READERS[code](size, section, count)
    else:
        raise PayloadError(f"unknown index code {code}")
    if positions.size != count or (count and positions[-1] >= size):
        raise PayloadError(f"index section does not mark {count} of {size} entries")
    return positions


def _write_bitmap(size: int, positions_K: Positions) -> bytes:
    return np.packbits(_mask(size, positions_K), bitorder="little").tobytes()


def _mask(size: int, positions_K: Positions) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    mask[positions_K] = True
    return mask


def _read_bitmap(size: int, section: memoryview, count: int) -> Positions:
    if len(section) != -(-size // 8):
        raise PayloadError(f"bitmap of {len(section)} bytes for {size} entries")
    return _ones(np.frombuffer(section, np.uint8))


def _ones(packed: NDArray[np.uint8]) -> Positions:
    # Viewed as bools, of which numpy finds the true ones eight times as fast as other numbers.
    return np.unpackbits(packed, bitorder="little").view(bool).nonzero()[0]


def _write_range(size: int, positions_K: Positions) -> bytes:
    writer = SymbolWriter()
    packed = np.packbits(_mask(size, positions_K), bitorder="little")
    writer.write(packed, byte_model(positions_K.size / size))
    return writer.finish()


def _read_range(size: int, section: memoryview, count: int) -> Positions:
    if not size:
        raise PayloadError("range-coded positions among no entries")
    reader = SymbolReader(section)
    symbols = reader.read(-(-size // 8), byte_model(count / size))
    reader.check_end()
    return _ones(symbols.astype(np.uint8))


def _read_none(size: int, section: memoryview, count: int) -> Positions:
    if len(section) or count not in (0, size):
        raise PayloadError(f"message without positions has {count} of {size} entries")
    return np.arange(count)


_WRITERS: Mapping[int, Callable[[int, Positions], bytes]] = {
    BITMAP: _write_bitmap,
    RICE: write_rice,
    RANGE: _write_range,
}
_READERS: Mapping[int, Callable[[int, memoryview, int], Positions]] = {
    NONE: _read_none,
    BITMAP: _read_bitmap,
    RICE: read_rice,
    RANGE: _read_range,
}


def range_bytes(size: int, count: int) -> int:
    """Return the bytes of a range code of ``count`` of ``size`` entries, but for one or two."""
    if count in (0, size):
        return 1
    share = count / size
    bits = LOST_BITS * -(-size // 8)
    bits += -count * math.log2(share) - (size - count) * math.log2(1 - share)
    return math.ceil(bits / 8)
