"""The entries that a message can address, and their partitions into cells of like density.

A *universe* is the entries among which a message's positions are sought: all of a layout, or those
of a mask that both ends hold (*known*). A *partition* divides it into cells, each of them one
stretch of places:

=======  =================================================  ====================
cells    one for                                            places are in order
=======  =================================================  ====================
tensors  each tensor                                        of entries
rows     each rank of an adapter's tensor, each class of    of tensors, rows
         the head, each other tensor
held     the entries of another mask that both ends hold    of entries
         (*held*), and the others
=======  =================================================  ====================

Shapes: masks are bool over N entries or, of a universe, U; cells are C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask

Positions = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Cells:
    """A partition: how many entries each cell has, and which entry is at each place.

    The bits of all places stand in bytes, those of each cell from a byte of its own on. ``order``
    is None where places are entries.
    """

    sizes: Positions
    order: Positions | None = None

    @cached_property
    def starts(self) -> Positions:
        """The first place of each cell."""
        starts: Positions = self.sizes.cumsum() - self.sizes
        return starts

    @cached_property
    def lengths(self) -> Positions:
        """How many bytes each cell has."""
        return (self.sizes + 7) >> 3

    @cached_property
    def full_bytes(self) -> Bytes:
        """The bytes of all entries: a bit that is not set in them belongs to none."""
        full = np.full(int(self.lengths.sum()), 255, dtype=np.uint8)
        partly = (self.sizes & 7).nonzero()[0]
        full[self._ends[partly] - 1] = (1 << (self.sizes[partly] & 7)) - 1
        return full

    @cached_property
    def is_padded(self) -> bool:
        """Whether there are bits that belong to no entry."""
        return bool((self.sizes & 7).any())

    def counts_and_bytes(self, positions_K: Positions) -> tuple[Positions, Callable[[], Bytes]]:
        """Return how many of these entries each cell has, and what makes the bytes of all bits."""
        if self._bit is None:
            counts_C = _counts_up_to(self.starts + self.sizes, positions_K)
            return counts_C, lambda: self._bytes(self._translate(positions_K, counts_C))
        packed = self._bytes(self._bit.take(positions_K))
        return self._counts_of(packed), lambda: packed

    def positions(self, packed: Bytes) -> Positions:
        """Return the entries whose bits are set, in increasing order."""
        bits = np.unpackbits(packed, bitorder="little").view(bool)  # ones of bools are found faster
        if self._bit is not None:
            bits = bits.take(self._bit)
        ones: Positions = bits.nonzero()[0]
        if self._bit is not None or not self.is_padded:
            return ones
        return self._translate(ones, _counts_up_to(8 * self._ends, ones), back=True)

    def _bytes(self, bits_K: Positions) -> Bytes:
        bits = np.zeros(8 * self.full_bytes.size, dtype=bool)
        bits[bits_K] = True
        return np.packbits(bits, bitorder="little")

    def _counts_of(self, packed: Bytes) -> Positions:
        filled, begins = self._filled_cells
        if filled.size == 0:
            return self.sizes
        counts = np.add.reduceat(np.bitwise_count(packed), begins, dtype=np.int64)
        if filled.size == self.sizes.size:
            return counts
        counts_C = np.zeros_like(self.sizes)
        counts_C[filled] = counts
        return counts_C

    def _translate(self, sorted_K: Positions, counts_C: Positions, back: bool = False) -> Positions:
        """Return the bits of places, or the places of bits, of which each cell has so many."""
        if not self.is_padded:
            return sorted_K
        shifts_K = self._shifts.repeat(counts_C)
        return sorted_K - shifts_K if back else sorted_K + shifts_K

    @cached_property
    def _ends(self) -> Positions:
        """The byte after each cell's last one."""
        return self.lengths.cumsum()

    @cached_property
    def _filled_cells(self) -> tuple[Positions, Positions]:
        """Which cells are not empty (of a layout, all), and the first byte of each."""
        filled = self.lengths.nonzero()[0]
        return filled, (self._ends - self.lengths)[filled]

    @cached_property
    def _shifts(self) -> Positions:
        """How far bits are behind places, in each cell."""
        return 8 * (self._ends - self.lengths) - self.starts

    @cached_property
    def _bit(self) -> Positions | None:
        """The bit of each entry; None where bits are in the order of entries."""
        if self.order is None:
            return None
        bit = np.empty_like(self.order)
        bit[self.order] = np.arange(self.order.size) + self._shifts.repeat(self.sizes)
        return bit


def _counts_up_to(ends_C: Positions, sorted_K: Positions) -> Positions:
    """Return how many of some increasing numbers lie before each end and not before the last."""
    counts_C = sorted_K.searchsorted(ends_C)
    counts_C[1:] -= counts_C[:-1].copy()
    return counts_C


@lru_cache(maxsize=8)
def _cells_of(layout: Layout, partition: str) -> Cells:
    if partition == "tensors":
        return Cells(layout.tensor_sizes)
    return Cells(layout.row_sizes, layout.row_order)


@dataclass(frozen=True, eq=False)
class Universe:
    """The entries among which positions are sought.

    Attributes:
        layout: Names the entries.
        known: The mask that both ends hold and that contains what is sent; None for all.
        held: A mask that both ends hold and that resembles what is sent, if there is one.
    """

    layout: Layout
    known: Mask | None = None
    held: Mask | None = None

    @cached_property
    def size(self) -> int:
        """Number of entries, U."""
        known_N = self.known
        return self.layout.entries if known_N is None else int(np.count_nonzero(known_N))

    def cells(self, partition: str) -> Cells:
        """Return the cells of a partition: a key of the table above."""
        if partition == "held":
            return self._held_cells()
        cells = _cells_of(self.layout, partition)
        return cells if self.known is None else self._known_part(cells, self.known)

    def _known_part(self, cells: Cells, known_N: Mask) -> Cells:
        if cells.order is None:
            return Cells(np.add.reduceat(known_N, cells.starts, dtype=np.int64))
        known_P = known_N[cells.order]
        entry_N = np.cumsum(known_N) - 1
        sizes = np.add.reduceat(known_P, cells.starts, dtype=np.int64)
        return Cells(sizes, entry_N[cells.order[known_P]])

    def _held_cells(self) -> Cells:
        if self.held is None:
            raise ValueError("there is no mask that both ends hold")
        held_U = self.held if self.known is None else self.held[self.known]
        held, others = np.flatnonzero(held_U), np.flatnonzero(~held_U)
        return Cells(np.array([held.size, others.size]), np.concatenate([held, others]))
