"""Index codes: the positions of the k sent entries in a universe of U entries.

=======  ====  =======================================================  ======================
name     code  index section                                            bytes
=======  ====  =======================================================  ======================
none     0     empty: all of the universe is sent, or none of it        0
bitmap   1     one bit per entry, lowest bit first                      ceil(U / 8)
rice     2     Rice-coded gaps, for very few entries                    about log2 C(U, k) / 8
range    3     bitmap, range-coded with density k / U                   log2 C(U, k) / 8 + 1
tensors  4     bitmap, range-coded with a density for each tensor       depends on the mask
rows     5     bitmap, range-coded with a density for each row          depends on the mask
held     6     bitmap, range-coded with one density inside and one      depends on the mask
               outside the held mask
=======  ====  =======================================================  ======================

An encoder takes the code with the smallest section. The size of a range-coded section is computed
from counts, to a byte or two; long runs of ones make the section smaller, which this ignores. A
decoder's memory is bounded by the universe's U entries, and a section has exactly one valid length.
``FORMAT.md`` defines the bytes.
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
MOST_RICE = 1000  # entries; for more, the Rice code is never the smallest
_PARTITIONS: Mapping[int, Partition] = {
    TENSORS: Partition("tensors", FINE, weighs=False),
    ROWS: Partition("rows", COARSE, weighs=True),
    HELD: Partition("held", FINE, weighs=False),
}


def write(universe: Universe, positions_K: Positions, code: int | None = None) -> tuple[int, bytes]:
    """Return the number of the index code, and the index section.

    Args:
        universe: Entries in which positions are counted.
        positions_K: Positions of the sent entries, in increasing order.
        code: Number of the index code; by default the one of the smallest section.

    Raises:
        ValueError: The code cannot write these positions.
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
    """Return the code with the smallest section; of equal sizes, the lowest code."""
    count = positions_K.size
    lengths = [(-(-size // 8), BITMAP), (range_bytes(size, count), RANGE)]
    lengths += [(plan.nbytes, code) for code, plan in plans.items()]
    if count <= MOST_RICE:
        lengths.append((rice_bytes(positions_K), RICE))
    return min(lengths)[1]


def read(universe: Universe, code: int, section: memoryview, count: int) -> Positions:
    """Return the positions of an index section, in increasing order.

    Args:
        universe: Entries in which positions are counted.
        code: Number of the index code.
        section: Bytes of the index section.
        count: Number of positions.

    Raises:
        PayloadError: The bytes are not a section of ``count`` positions in this universe.
    """
    size = universe.size
    if code in _PARTITIONS:
        if code == HELD and universe.held is None:
            raise PayloadError("message needs a held mask, which this reader does not hold")
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
    # A view as bools, because numpy finds true bools eight times as fast as nonzero integers.
    return np.unpackbits(packed, bitorder="little").view(bool).nonzero()[0]


def _write_range(size: int, positions_K: Positions) -> bytes:
    writer = SymbolWriter()
    packed = np.packbits(_mask(size, positions_K), bitorder="little")
    writer.write(packed, byte_model(positions_K.size / size))
    return writer.finish()


def _read_range(size: int, section: memoryview, count: int) -> Positions:
    if not size:
        raise PayloadError("range-coded positions in a universe of 0 entries")
    reader = SymbolReader(section)
    symbols = reader.read(-(-size // 8), byte_model(count / size))
    reader.check_end()
    return _ones(symbols.astype(np.uint8))


def _read_none(size: int, section: memoryview, count: int) -> Positions:
    if len(section) or count not in (0, size):
        raise PayloadError(f"message without positions has {count} of {size} entries, not 0 or all")
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
    """Return the bytes of the range code of ``count`` of ``size`` entries, to one or two bytes."""
    if count in (0, size):
        return 1
    share = count / size
    bits = LOST_BITS * -(-size // 8)
    bits += -count * math.log2(share) - (size - count) * math.log2(1 - share)
    return math.ceil(bits / 8)
