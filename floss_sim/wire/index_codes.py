"""How the positions of the sent entries are written.

=======  ====  =======================================================  ======================
name     code  index section                                            bytes
=======  ====  =======================================================  ======================
none     0     nothing: all of the universe is sent, or none of it      0
bitmap   1     one bit an entry, lowest bit first                       ceil(U / 8)
rice     2     gaps, Rice-coded: for very few entries                   about log2 C(U, k) / 8
range    3     bits of density k / U, range-coded                       log2 C(U, k) / 8 + 3
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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError
from floss_sim.wire.bits import (
    COARSE,
    FINE,
    Counts,
    Scale,
    SymbolReader,
    SymbolWriter,
    bytes_of_density,
    weighted,
)
from floss_sim.wire.universe import Cells, Positions, Universe

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
_CODER_BYTES = 2  # what a range coder takes beyond the information, about


@dataclass(frozen=True)
class _Partition:
    """How a range code by cells is made.

    ``weighs``: levels are written by how often each occurs, otherwise as if all between the lowest
    and the highest occurred alike.
    """

    cells: str
    scale: Scale
    weighs: bool


_PARTITIONS: Mapping[int, _Partition] = {
    TENSORS: _Partition("tensors", FINE, weighs=False),
    ROWS: _Partition("rows", COARSE, weighs=True),
    HELD: _Partition("held", FINE, weighs=False),
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
    plans = _plans(universe, positions_K)
    lengths = {BITMAP: -(-size // 8), RANGE: range_bytes(size, count)}
    lengths |= {code: plan.nbytes for code, plan in plans.items()}
    if count <= MOST_RICE:
        lengths[RICE] = _rice_bytes(positions_K)
    code = min(lengths, key=lambda code: (lengths[code], code)) if code is None else code
    if code in plans:
        return code, plans[code].section()
    if code == RANGE:
        return code, _write_range(size, positions_K)
    return code, {BITMAP: _write_bitmap, RICE: _write_rice}[code](size, positions_K)


def read(universe: Universe, code: int, section: memoryview, count: int) -> Positions:
    """Return the positions of an index section, in increasing order.

    Raises:
        PayloadError: It is not the section of ``count`` positions in this universe.
    """
    size = universe.size
    if code in _PARTITIONS:
        if code == HELD and universe.held is None:
            raise PayloadError("message was written with a mask that this reader does not hold")
        positions = _read_cells(universe, _PARTITIONS[code], section)
    elif code in _READERS:
        positions = _READERS[code](size, section, count)
    else:
        raise PayloadError(f"unknown index code {code}")
    if positions.size != count or (count and positions[-1] >= size):
        raise PayloadError(f"index section does not mark {count} of {size} entries")
    return positions


def _plans(universe: Universe, positions_K: Positions) -> dict[int, _Plan]:
    codes = [TENSORS, ROWS] if universe.held is None else [TENSORS, ROWS, HELD]
    return {
        code: _Plan(_PARTITIONS[code], universe.cells(_PARTITIONS[code].cells), positions_K)
        for code in codes
    }


class _Plan:
    """A range code of positions by cells, before its bytes are made."""

    def __init__(self, partition: _Partition, cells: Cells, positions_K: Positions) -> None:
        scale = partition.scale
        self._partition, self._cells = partition, cells
        self._positions_K = positions_K
        self._counts_C = cells.counts(positions_K)
        self._levels_C = scale.levels_of(self._counts_C, cells.sizes)
        self._lowest = int(self._levels_C.min())
        often = np.bincount(self._levels_C - self._lowest)
        self._nibbles = _nibbles(often) if partition.weighs else None
        self._weights = _weights(self._nibbles, often.size)
        bits = scale.cost_bits(self._counts_C, cells.sizes, self._levels_C)
        bits -= float(often @ np.log2(np.maximum(self._weights / self._weights.sum(), 2.0**-24)))
        header = 2 if self._nibbles is None else 2 + -(-often.size // 2)
        self.nbytes = header + math.ceil(bits / 8) + _CODER_BYTES  # but for one or two

    def section(self) -> bytes:
        """Return the bytes."""
        writer = SymbolWriter()
        if self._weights.size > 1:
            writer.write(self._levels_C - self._lowest, weighted(self._weights))
        stretch = _Stretch(self._partition.scale, self._cells, self._levels_C)
        places_K = self._cells.places(self._positions_K)
        packed, start = stretch.pack(places_K, self._counts_C).astype(np.int32), 0
        for level, length in stretch.runs:
            writer.write(packed[start : start + length], self._partition.scale.model(level))
            start += length
        header = bytes([self._lowest, self._weights.size])
        if self._nibbles is not None:
            even = np.zeros(-(-self._nibbles.size // 2) * 2, dtype=np.uint8)
            even[: self._nibbles.size] = self._nibbles
            header += (even[0::2] | even[1::2] << 4).tobytes()
        return header + writer.done()


def _nibbles(often: Counts) -> Counts:
    """Return how often each level occurs in half octaves: 15 of the most frequent, 0 of none."""
    below = np.rint(2 * np.log2(often.max() / np.maximum(often, 1)))
    nibbles: Counts = np.where(often > 0, np.maximum(15 - below, 1), 0).astype(np.int64)
    return nibbles


def _weights(nibbles: Counts | None, levels: int) -> NDArray[np.float64]:
    if nibbles is None:
        return np.ones(levels)
    octaves = np.ldexp(np.where(nibbles % 2, 1.0, 181 / 256), nibbles // 2 + 1)
    return np.where(nibbles > 0, octaves, 0.0)


def _read_cells(universe: Universe, partition: _Partition, section: memoryview) -> Positions:
    cells, scale = universe.cells(partition.cells), partition.scale
    if len(section) < 2:
        raise PayloadError("index section lacks its levels")
    lowest, span = section[0], section[1]
    start = 2 + (-(-span // 2) if partition.weighs else 0)
    if not span or lowest + span - 1 > scale.last or len(section) < start:
        raise PayloadError("index section has levels beyond its scale")
    nibbles = None
    if partition.weighs:
        pairs = np.frombuffer(section[2:start], np.uint8).astype(np.int64)
        nibbles = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()
        if not nibbles[:span].any() or nibbles[span:].any():
            raise PayloadError("index section weighs no level, or one beyond the last")
        nibbles = nibbles[:span]
    reader = SymbolReader(section[start:])
    levels_C = np.full(cells.sizes.size, lowest)
    if span > 1:
        levels_C += reader.read(levels_C.size, weighted(_weights(nibbles, span)))
    stretch = _Stretch(scale, cells, levels_C)
    parts = [reader.read(length, scale.model(level)) for level, length in stretch.runs]
    reader.done()
    symbols = np.concatenate([*parts, np.zeros(0, np.int32)]).astype(np.uint8)
    return cells.positions(stretch.unpack(symbols))


class _Stretch:
    """The bits of all cells, each from a byte of its own on; those that are sent, by their levels.

    Cells of the first and of the last level are not sent. ``runs``: how many bytes of each level.
    """

    def __init__(self, scale: Scale, cells: Cells, levels_C: Counts) -> None:
        self._cells = cells
        self._full_C = levels_C == scale.last
        self._lengths_C = (cells.sizes + 7) >> 3
        self._begins_C = self._lengths_C.cumsum() - self._lengths_C
        self._pads_C = 8 * self._begins_C - cells.starts  # bits between cells, up to each one
        self._padded = bool((cells.sizes & 7).any())
        sent_C = self._lengths_C * ((levels_C > 0) & ~self._full_C)
        by_level = np.bincount(levels_C, weights=sent_C).astype(np.int64)
        self.runs = [(int(level), int(by_level[level])) for level in by_level.nonzero()[0]]
        order_C = levels_C.argsort(kind="stable")
        lengths, begins = sent_C[order_C], self._begins_C[order_C]
        self._sent = (begins - (lengths.cumsum() - lengths)).repeat(lengths)
        self._sent += np.arange(self._sent.size)

    def pack(self, places_K: Positions, counts_C: Counts) -> NDArray[np.uint8]:
        """Return the bits of the places that are sent, as bytes."""
        bits = np.zeros(8 * int(self._lengths_C.sum()), dtype=bool)
        bits[places_K + self._pads_C.repeat(counts_C) if self._padded else places_K] = True
        packed: NDArray[np.uint8] = np.packbits(bits, bitorder="little")[self._sent]
        return packed

    def unpack(self, packed: NDArray[np.uint8]) -> Positions:
        """Return the places of all ones in increasing order, those of full cells included.

        Raises:
            PayloadError: A bit beyond the end of a cell is set.
        """
        cell_bytes = np.zeros(int(self._lengths_C.sum()), dtype=np.uint8)
        cell_bytes[self._sent] = packed
        bits = np.unpackbits(cell_bytes, bitorder="little")
        for begin, size in zip(
            8 * self._begins_C[self._full_C], self._cells.sizes[self._full_C], strict=True
        ):
            bits[begin : begin + size] = 1
        ones: Positions = bits.nonzero()[0]
        if not self._padded:
            return ones
        counts_C = ones.searchsorted(8 * (self._begins_C + self._lengths_C))
        counts_C[1:] -= counts_C[:-1].copy()
        places_K: Positions = ones - self._pads_C.repeat(counts_C)
        if (places_K >= (self._cells.starts + self._cells.sizes).repeat(counts_C)).any():
            raise PayloadError("a bit beyond the end of its cell is set")
        return places_K


def _write_bitmap(size: int, positions_K: Positions) -> bytes:
    return np.packbits(_mask(size, positions_K), bitorder="little").tobytes()


def _mask(size: int, positions_K: Positions) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    mask[positions_K] = True
    return mask


def _read_bitmap(size: int, section: memoryview, count: int) -> Positions:
    if len(section) != -(-size // 8):
        raise PayloadError(f"bitmap of {len(section)} bytes for {size} entries")
    return np.flatnonzero(np.unpackbits(np.frombuffer(section, np.uint8), bitorder="little"))


def _write_range(size: int, positions_K: Positions) -> bytes:
    writer = SymbolWriter()
    packed = np.packbits(_mask(size, positions_K), bitorder="little")
    writer.write(packed, bytes_of_density(positions_K.size / size))
    return writer.done()


def _read_range(size: int, section: memoryview, count: int) -> Positions:
    if not size:
        raise PayloadError("range-coded positions among no entries")
    reader = SymbolReader(section)
    symbols = reader.read(-(-size // 8), bytes_of_density(count / size))
    reader.done()
    return np.flatnonzero(np.unpackbits(symbols.astype(np.uint8), bitorder="little"))


def _read_none(size: int, section: memoryview, count: int) -> Positions:
    if len(section) or count not in (0, size):
        raise PayloadError(f"message without positions has {count} of {size} entries")
    return np.arange(count)


def _gaps(positions_K: Positions) -> Positions:
    return np.diff(positions_K, prepend=-1) - 1


def _rice_width(gaps_K: Positions) -> int:
    """Return how many low bits of each gap are written as they are: the fewest bits in all."""
    middle = max(0, int(np.log2(gaps_K.mean() + 1)))
    return min((max(0, middle - 1), middle, middle + 1), key=lambda w: _rice_bits(gaps_K, w))


def _rice_bits(gaps_K: Positions, width: int) -> int:
    return int((gaps_K >> width).sum()) + gaps_K.size * (1 + width)


def _rice_bytes(positions_K: Positions) -> int:
    gaps_K = _gaps(positions_K)
    width = _rice_width(gaps_K)
    return 1 + -(-_rice_bits(gaps_K, width) // 8)


def _write_rice(size: int, positions_K: Positions) -> bytes:
    gaps_K = _gaps(positions_K)
    width = _rice_width(gaps_K)
    low = (gaps_K[:, None] >> np.arange(width)) & 1
    ends = np.cumsum((gaps_K >> width) + 1) - 1
    unary = _mask(int(ends[-1]) + 1, ends)
    bits = np.concatenate([low.ravel().astype(bool), unary])
    return bytes([width]) + np.packbits(bits, bitorder="little").tobytes()


def _read_rice(size: int, section: memoryview, count: int) -> Positions:
    """Read the low bits of all gaps, then their rests in unary, each ended by a one."""
    width = section[0] if len(section) else 0
    most = count * (1 + width) + (size >> width)
    if (
        not count
        or len(section) < 2
        or width >= 32
        or count << width > 2 * size
        or 8 * (len(section) - 2) >= most
    ):
        raise PayloadError(f"gaps of {count} entries in {len(section)} bytes")
    bits = np.unpackbits(np.frombuffer(section[1:], np.uint8), bitorder="little")
    low, unary = bits[: count * width], np.flatnonzero(bits[count * width :])
    if low.size != count * width or unary.size != count or len(bits) - unary[-1] - low.size > 8:
        raise PayloadError(f"gaps do not belong to {count} entries")
    gaps_K = _gaps(unary) << width | low.reshape(count, width) @ (1 << np.arange(width))
    positions: Positions = np.cumsum(gaps_K + 1) - 1
    return positions


_READERS: Mapping[int, Callable[[int, memoryview, int], Positions]] = {
    NONE: _read_none,
    BITMAP: _read_bitmap,
    RICE: _read_rice,
    RANGE: _read_range,
}


def range_bytes(size: int, count: int) -> int:
    """Return the bytes of a range code of ``count`` of ``size`` entries, but for one or two."""
    if count in (0, size):
        return _CODER_BYTES
    share = count / size
    bits = -count * math.log2(share) - (size - count) * math.log2(1 - share)
    return math.ceil(bits / 8) + _CODER_BYTES
