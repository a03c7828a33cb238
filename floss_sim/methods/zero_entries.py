"""Entries that start at zero, and what a download carries of a selection while some still are.

LoRA's B, biases and offsets of pretrained weights start at exactly zero, and exact zeros are never
sent. The first download therefore carries the selected entries of A and of the head's weight alone.
Later ones also carry what uploads have touched (:mod:`floss_sim.methods.touched_by_uploads`).

Nothing here draws or builds a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from floss_sim.methods.part_selectors import PartSelector
from floss_sim.methods.selectors import Selector
from floss_sim.methods.top_k_selectors import TopK
from floss_sim.methods.touched_entries import STARTED
from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.wire.prediction import index_bytes, rows_index_bytes, tensor_index_bytes


@lru_cache(maxsize=64)
def started_layout(layout: Layout) -> Layout:
    """Return the layout of the tensors that do not start at zero."""
    return Layout(tuple(tensor for tensor in layout.tensors if tensor.kind in STARTED))


@lru_cache(maxsize=64)
def zero_layout(layout: Layout) -> Layout:
    """Return the layout of the tensors that start at zero."""
    return Layout(tuple(tensor for tensor in layout.tensors if tensor.kind not in STARTED))


@dataclass(frozen=True)
class SentPart:
    """Part of a selection that is not zero.

    Attributes:
        started: Sent entries of tensors that do not start at zero.
        of_started: Entries of these tensors among which they are chosen.
        touched: Sent entries of tensors that start at zero.
        of_zeros: Entries of these tensors among which they are chosen.
        tensors: Tensors of the layout.
    """

    started: int
    of_started: int
    touched: int
    of_zeros: int
    tensors: int

    @property
    def count(self) -> int:
        """Number of sent entries."""
        return self.started + self.touched

    def index_bytes(self, universe: int, unit: int) -> int:
        """Return the predicted bytes of the positions.

        They are uniform among all, or apart among tensors that start at zero and others.

        Args:
            universe: Entries among which positions are counted.
            unit: Entries that start at zero and are touched together: 1, or those of a rank.
        """
        apart = index_bytes(self.of_started, self.started)
        if unit == 1:
            apart += tensor_index_bytes(self.tensors) + index_bytes(self.of_zeros, self.touched)
        else:
            apart += rows_index_bytes(self.of_zeros // unit, self.touched // unit)
        return min(index_bytes(universe, self.count), apart)


def sent_part(selector: Selector, layout: Layout, share: float) -> SentPart:
    """Return the expected part of a selection that is not zero; it is exact at share 0.

    Args:
        selector: Selector of a download.
        layout: Layout of the N entries.
        share: Touched share of the entries that start at zero.
    """
    if isinstance(selector, PartSelector):
        return sent_part(selector.pick, selector.part(layout)[0], share)
    if isinstance(selector, TopK):
        return _largest(selector, layout, share)
    started = selector.count(started_layout(layout))
    zeros = selector.count(layout) - started
    return SentPart(started, started, round(share * zeros), zeros, len(layout.tensors))


def _largest(selector: TopK, layout: Layout, share: float) -> SentPart:
    """Return the part of the largest entries, in equal shares of those that are not zero."""
    parts_G4 = []
    for tensors, count in selector.tensor_groups(layout):
        own = started_entries(tensors)
        zeros = sum(tensor.size for tensor in tensors) - own
        nonzero = own + round(share * zeros)
        sent = min(count, nonzero)
        started = sent * own // max(1, nonzero)
        parts_G4.append((started, own, sent - started, zeros))
    started, own, touched, zeros = (sum(column) for column in zip(*parts_G4, strict=True))
    return SentPart(started, own, touched, zeros, len(layout.tensors))


def started_entries(tensors: Sequence[TensorSpec]) -> int:
    """Return the number of entries that do not start at zero."""
    return sum(tensor.size for tensor in tensors if tensor.kind in STARTED)
