"""Range code of positions by cells: each cell is coded with the tabulated density nearest its own.

The section holds the levels of all cells, then the bits of the cells that are neither empty nor
full, in increasing order of level. ``FORMAT.md`` defines the bytes.

Shapes: C cells, K positions sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.wire.cells import Bytes, Cells, Positions, Universe
from floss_sim.wire.nibbles import nibble_bytes, nibbles_of
from floss_sim.wire.range_coder import (
    LOST_BITS,
    Counts,
    Scale,
    SymbolReader,
    Symbols,
    SymbolWriter,
    weight_model,
)

# Weight of each nibble, in steps of half an octave; nibble 0 has weight 0.
_HALF_OCTAVES = [(1.0 if n % 2 else 181 / 256) * 2.0 ** (n // 2 + 1) for n in range(16)]
_NIBBLE_WEIGHTS = [0.0, *_HALF_OCTAVES[1:]]


@dataclass(frozen=True)
class Partition:
    """Parameters of a range code by cells.

    Attributes:
        cells: Name of the partition: ``"tensors"``, ``"rows"`` or ``"held"``.
        scale: Table of the densities that cells can have.
        weighs: Whether levels are coded with weights for their frequencies; otherwise all levels
            from the lowest to the highest are assumed equally likely.
    """

    cells: str
    scale: Scale
    weighs: bool


class CellPlan:
    """Range code of positions by cells: its size is computed at once, its bytes on demand."""

    def __init__(self, partition: Partition, cells: Cells, positions_K: Positions) -> None:
        scale = partition.scale
        self._partition, self._cells = partition, cells
        counts_C, self._packed = cells.counts_and_bytes(positions_K)
        self._levels_C = scale.levels_of(counts_C, cells.sizes)
        self._lowest = int(self._levels_C.min())
        often = np.bincount(self._levels_C)[self._lowest :].tolist()
        self._nibbles = _nibbles(often) if partition.weighs else None
        self._weights = _weights(self._nibbles, len(often))
        bits = scale.cost_bits(counts_C, 8 * cells.lengths, self._levels_C)  # with padding
        bits += _entropy(often, self._weights)
        coded_C = (self._levels_C > 0) & (self._levels_C < scale.last)
        bits += LOST_BITS * (self._levels_C.size + int(cells.lengths[coded_C].sum()))
        header = 2 if self._nibbles is None else 2 + -(-len(often) // 2)
        self.nbytes = header + math.ceil(bits / 8)  # estimate, correct to one or two bytes

    def section(self) -> bytes:
        """Return the bytes of the index section."""
        writer = SymbolWriter()
        if len(self._weights) > 1:
            writer.write(self._levels_C - self._lowest, weight_model(self._weights))
        groups = _LevelGroups(self._partition.scale, self._cells, self._levels_C)
        symbols, start = self._packed()[groups.sent].astype(np.int32), 0
        for level, length in groups.runs:
            writer.write(symbols[start : start + length], self._partition.scale.model(level))
            start += length
        header = bytes([self._lowest, len(self._weights)])
        if self._nibbles is not None:
            header += nibble_bytes(np.array(self._nibbles))
        return header + writer.finish()


def _nibbles(often: Sequence[int]) -> list[int]:
    """Return the frequency of each level in half octaves: 15 for the highest, 0 for none."""
    most = max(often)
    return [max(15 - round(2 * math.log2(most / n)), 1) if n else 0 for n in often]


def _weights(nibbles: Sequence[int] | None, levels: int) -> list[float]:
    return [1.0] * levels if nibbles is None else [_NIBBLE_WEIGHTS[n] for n in nibbles]


def _entropy(often: Sequence[int], weights: Sequence[float]) -> float:
    """Return the bits that coding all levels takes, given their frequencies and weights."""
    total = sum(weights)
    pairs = zip(often, weights, strict=True)
    return sum(n * math.log2(total / weight) for n, weight in pairs if n)


def read_cells(universe: Universe, partition: Partition, section: memoryview) -> Positions:
    """Return the positions of an index section, in increasing order.

    Raises:
        PayloadError: The bytes are not a section of this partition of the universe.
    """
    cells, scale = universe.cells(partition.cells), partition.scale
    if len(section) < 2:
        raise PayloadError("index section lacks its levels")
    lowest, span = section[0], section[1]
    start = 2 + (-(-span // 2) if partition.weighs else 0)
    if not span or lowest + span - 1 > scale.last or len(section) < start:
        raise PayloadError("index section lacks levels or weights, or has levels beyond its scale")
    nibbles = None
    if partition.weighs:
        nibbles = nibbles_of(section[2:start]).tolist()
        if not any(nibbles[:span]) or any(nibbles[span:]):
            raise PayloadError("index section gives weight to no level, or to one beyond the last")
        nibbles = nibbles[:span]
    reader = SymbolReader(section[start:])
    levels_C = np.full(cells.sizes.size, lowest)
    if span > 1:
        levels_C += reader.read(levels_C.size, weight_model(_weights(nibbles, span)))
    groups = _LevelGroups(scale, cells, levels_C)
    parts = [reader.read(length, scale.model(level)) for level, length in groups.runs]
    reader.check_end()
    return cells.positions(groups.join(parts))


class _LevelGroups:
    """Bytes of all cells grouped by level; bytes of the first and the last level are not sent.

    Attributes:
        runs: (level, number of bytes) of each level that is sent.
        sent: Indices of the sent bytes, in increasing order of level.
    """

    def __init__(self, scale: Scale, cells: Cells, levels_C: Counts) -> None:
        self._cells = cells
        # For uint8 numpy's stable sort is a radix sort, which is faster than comparing.
        order = levels_C.astype(np.uint8).repeat(cells.lengths).argsort(kind="stable")
        by_level = np.bincount(levels_C, cells.lengths)
        lengths = {int(level): int(by_level[level]) for level in by_level.nonzero()[0]}
        begin, end = lengths.pop(0, 0), order.size - lengths.pop(scale.last, 0)
        self.runs, self.sent, self._full = lengths.items(), order[begin:end], order[end:]

    def join(self, parts: Sequence[Symbols]) -> Bytes:
        """Return the bytes of all cells, given the sent ones.

        Raises:
            PayloadError: A bit beyond the end of a cell is set.
        """
        cells, packed = self._cells, np.zeros(self._cells.full_bytes.size, dtype=np.uint8)
        if parts:
            packed[self.sent] = np.concatenate(parts)
        packed[self._full] = cells.full_bytes[self._full]
        if cells.is_padded and (packed & ~cells.full_bytes).any():
            raise PayloadError("a bit beyond the end of its cell is set")
        return packed
