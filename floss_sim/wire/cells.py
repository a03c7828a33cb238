"""Universe (the entries that a message can address) and its partitions into cells.

A message states positions as numbers within a set of entries, the *universe*. This is either all
entries of a layout, or the entries of the *known* mask, a mask that sender and receiver both have.
A *partition* divides the universe into cells. Each cell is coded with its own density, the fraction
of its entries that are sent. The partition also puts the entries in an order in which each cell is
contiguous; the index of an entry in this order is its *place*:

=========  ==================================================  ==========================
partition  one cell for                                        order of the entries
=========  ==================================================  ==========================
tensors    each tensor                                         as in the layout
rows       each rank of each adapter tensor; each class of     by tensor, then by rank or
           the head; each remaining tensor                     class
held       the entries of the *held* mask (a second mask that  as in the layout, within
           both ends have), and one for all other entries      each cell
=========  ==================================================  ==========================

Shapes: masks are bool arrays over the layout's N entries, or over the universe's U entries where
their names end in U. C is the number of cells, K the number of sent positions.
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
    """Partition of a universe into cells; converts masks over the universe to packed bytes.

    A packed mask has one bit for each place, and each cell starts at a new byte.

    Attributes:
        sizes: Number of entries of each cell, shape (C,).
        order: Index in the universe of the entry at each place, shape (U,); None if the order of
            places is that of the universe.
    """

    sizes: Positions
    order: Positions | None = None

    @cached_property
    def starts(self) -> Positions:
        """First place of each cell."""
        starts: Positions = self.sizes.cumsum() - self.sizes
        return starts

    @cached_property
    def lengths(self) -> Positions:
        """Number of bytes of each cell."""
        return (self.sizes + 7) >> 3

    @cached_property
    def full_bytes(self) -> Bytes:
        """Packed bytes with the bits of all entries set; other bits are padding."""
        full = np.full(int(self.lengths.sum()), 255, dtype=np.uint8)
        partly = (self.sizes & 7).nonzero()[0]
        full[self._ends[partly] - 1] = (1 << (self.sizes[partly] & 7)) - 1
        return full

    @cached_property
    def is_padded(self) -> bool:
        """Whether there are padding bits, which belong to no entry."""
        return bool((self.sizes & 7).any())

    def counts_and_bytes(self, positions_K: Positions) -> tuple[Positions, Callable[[], Bytes]]:
        """Return the number of sent entries per cell, and a function that packs all bits.

        Args:
            positions_K: Positions of the sent entries, in increasing order.
        """
        if self._bit is None:
            counts_C = _counts_up_to(self.starts + self.sizes, positions_K)
            return counts_C, lambda: self._bytes(self._translate(positions_K, counts_C))
        packed = self._bytes(self._bit.take(positions_K))
        return self._counts_of(packed), lambda: packed

    def positions(self, packed: Bytes) -> Positions:
        """Return the positions of the set bits, in increasing order."""
        bits = np.unpackbits(packed, bitorder="little").view(bool)  # numpy finds true bools faster
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
        """Return the bits of places or, with ``back``, the places of bits.

        Args:
            sorted_K: Places or bits, in increasing order.
            counts_C: Number of them in each cell.
            back: Whether to translate bits to places.
        """
        if not self.is_padded:
            return sorted_K
        shifts_K = self._shifts.repeat(counts_C)
        return sorted_K - shifts_K if back else sorted_K + shifts_K

    @cached_property
    def _ends(self) -> Positions:
        """End of each cell: the index of the byte after its last one."""
        return self.lengths.cumsum()

    @cached_property
    def _filled_cells(self) -> tuple[Positions, Positions]:
        """Cells that are not empty, and the first byte of each; in a layout no cell is empty."""
        filled = self.lengths.nonzero()[0]
        return filled, (self._ends - self.lengths)[filled]

    @cached_property
    def _shifts(self) -> Positions:
        """Offset from place to bit in each cell, caused by padding."""
        return 8 * (self._ends - self.lengths) - self.starts

    @cached_property
    def _bit(self) -> Positions | None:
        """Bit of each entry; None if bits are in the order of entries."""
        if self.order is None:
            return None
        bit = np.empty_like(self.order)
        bit[self.order] = np.arange(self.order.size) + self._shifts.repeat(self.sizes)
        return bit


def _counts_up_to(ends_C: Positions, sorted_K: Positions) -> Positions:
    """Return the count of sorted numbers in each interval between consecutive ends."""
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
    """Set of entries within which a message's positions are numbered.

    Attributes:
        layout: Layout of the N entries.
        known: Mask of shape (N,) that sender and receiver both have; every sent entry is inside it.
            None: the universe is all N entries.
        held: Mask of shape (N,) that both have and that is similar to the mask of the sent entries,
            such as that of an earlier message; None if there is none.
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
        """Return the cells of a partition: ``"tensors"``, ``"rows"`` or ``"held"``."""
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
            raise ValueError("partition 'held' needs a held mask; this universe has none")
        held_U = self.held if self.known is None else self.held[self.known]
        held, others = np.flatnonzero(held_U), np.flatnonzero(~held_U)
        return Cells(np.array([held.size, others.size]), np.concatenate([held, others]))
