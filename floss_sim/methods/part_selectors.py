"""Selection within a part of the entries that both ends know: some kinds of tensors, or some ranks.

Positions of a selected entry are counted within the part.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries, of which P are in the part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from floss_sim.methods.selectors import Selector
from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector


@dataclass(frozen=True)
class PartSelector(ABC):
    """Selector of entries within a part of the layout.

    Args:
        pick: Selector among the entries of the part.
    """

    pick: Selector

    @abstractmethod
    def part(self, layout: Layout) -> tuple[Layout, Mask]:
        """Return the layout of the part, and the mask of its entries, bool of shape (N,)."""

    @property
    def density(self) -> float | None:
        """Fraction of the part's entries that is kept."""
        return self.pick.density

    @property
    def shared(self) -> bool:
        """Whether both ends can build the mask: random entries, or all of the part."""
        return self.pick.shared or self.pick.density == 1

    def count(self, layout: Layout) -> int:
        """Return the number of selected entries, before exact zeros are dropped."""
        return self.pick.count(self.part(layout)[0])

    def bounds(self, layout: Layout) -> Mask:
        """Return the mask of all entries of the part."""
        return self.part(layout)[1]

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries of the part."""
        part, inside_N = self.part(layout)
        within_P = None if within_N is None else within_N[inside_N]
        mask_N = np.zeros(layout.entries, dtype=bool)
        mask_N[inside_N] = self.pick.mask(part, values_N[inside_N], draw, within_P)
        return mask_N

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the selector among the entries, and the part, as plain values."""

    @abstractmethod
    def describe(self) -> str:
        """Return a short description, such as ``1/4 of B``."""
