"""Positions by cells: each cell's bits range-coded under the density that is nearest to its own.

The section holds the levels of all cells, then the bits of those that are neither empty nor full,
in the order of their levels. ``FORMAT.md`` has the bytes.

Shapes: C cells, K positions sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError
from floss_sim.wire.bits import CODER_BYTES, Counts, Scale, SymbolReader, SymbolWriter, weighted
from floss_sim.wire.nibbles import nibble_bytes, nibbles_of
from floss_sim.wire.universe import Cells, Positions, Universe, counts_up_to


@dataclass(frozen=True)
class Partition:
    """How a range code by cells is made.

    Attributes:
        cells: The partition of the universe, a key of its table.
        scale: Of the densities of cells.
        weighs: Whether levels are written by how often each occurs, otherwise as if all between
            the lowest and the highest occurred alike.
    """

    cells: str
    scale: Scale
    weighs: bool


class CellPlan:
    """A range code of positions by cells, before its bytes are made."""

    def __init__(self, partition: Partition, cells: Cells, positions_K: Positions) -> None:
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
        self.nbytes = header + math.ceil(bits / 8) + CODER_BYTES  # but for one or two

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
            header += nibble_bytes(self._nibbles)
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


def read_cells(universe: Universe, partition: Partition, section: memoryview) -> Positions:
    """Return the positions of a section, in increasing order.

    Raises:
        PayloadError: It is no section of this partition of the universe.
    """
    cells, scale = universe.cells(partition.cells), partition.scale
    if len(section) < 2:
        raise PayloadError("index section lacks its levels")
    lowest, span = section[0], section[1]
    start = 2 + (-(-span // 2) if partition.weighs else 0)
    if not span or lowest + span - 1 > scale.last or len(section) < start:
        raise PayloadError("index section has levels beyond its scale")
    nibbles = None
    if partition.weighs:
        nibbles = nibbles_of(section[2:start]).astype(np.int64)
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
        counts_C = counts_up_to(8 * (self._begins_C + self._lengths_C), ones)
        places_K: Positions = ones - self._pads_C.repeat(counts_C)
        if (places_K >= (self._cells.starts + self._cells.sizes).repeat(counts_C)).any():
            raise PayloadError("a bit beyond the end of its cell is set")
        return places_K
