"""Where positions are counted, and the cells in which their density is alike.

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

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from floss_sim.layout import Layout
from floss_sim.sparsity import Mask

Positions = NDArray[np.int64]


def counts_up_to(ends_C: Positions, sorted_K: Positions) -> Positions:
    """Return how many of some increasing numbers lie before each end and not before the last."""
    counts_C = sorted_K.searchsorted(ends_C)
    counts_C[1:] -= counts_C[:-1].copy()
    return counts_C


@dataclass(frozen=True, eq=False)
class Cells:
    """A partition: how many entries each cell has, and which entry is at each place.

    ``order`` is None where places are entries.
    """

    sizes: Positions
    order: Positions | None = None

    @cached_property
    def starts(self) -> Positions:
        """The first place of each cell."""
        starts: Positions = np.cumsum(self.sizes) - self.sizes
        return starts

    def counts(self, positions_K: Positions) -> Positions:
        """Return how many of these entries each cell has."""
        if self.order is None:
            return counts_up_to(self.starts + self.sizes, positions_K)
        return np.bincount(self._cell[positions_K], minlength=self.sizes.size)

    def places(self, positions_K: Positions) -> Positions:
        """Return the places of entries, in increasing order."""
        if self.order is None:
            return positions_K
        places: Positions = np.sort(self._place[positions_K])
        return places

    def positions(self, places_K: Positions) -> Positions:
        """Return the entries at places, in increasing order."""
        if self.order is None:
            return places_K
        positions: Positions = np.sort(self.order[places_K])
        return positions

    @cached_property
    def _cell(self) -> NDArray[np.int32]:
        """The cell of each entry."""
        cell = np.empty(self._place.size, dtype=np.int32)
        cell[self.order] = np.repeat(np.arange(self.sizes.size, dtype=np.int32), self.sizes)
        return cell

    @cached_property
    def _place(self) -> Positions:
        order = np.arange(0) if self.order is None else self.order
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        return place


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
            return self._held()
        cells = _cells_of(self.layout, partition)
        return cells if self.known is None else self._known_part(cells, self.known)

    def _known_part(self, cells: Cells, known_N: Mask) -> Cells:
        if cells.order is None:
            return Cells(np.add.reduceat(known_N, cells.starts, dtype=np.int64))
        known_P = known_N[cells.order]
        entry_N = np.cumsum(known_N) - 1
        sizes = np.add.reduceat(known_P, cells.starts, dtype=np.int64)
        return Cells(sizes, entry_N[cells.order[known_P]])

    def _held(self) -> Cells:
        if self.held is None:
            raise ValueError("there is no mask that both ends hold")
        held_U = self.held if self.known is None else self.held[self.known]
        held, others = np.flatnonzero(held_U), np.flatnonzero(~held_U)
        return Cells(np.array([held.size, others.size]), np.concatenate([held, others]))
