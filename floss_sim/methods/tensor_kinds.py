"""Selection by kind of tensor: LoRA's A or B, the same in all rounds or in turns.

RoLoRA (Chen et al., NeurIPS 2025; arXiv 2409.02346, section 3) trains B and A in turns. The mean of
products of clients is then the product of means, because all clients hold the same other factor.

Shapes: masks bool over a layout of N entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from floss_sim.methods.part_selectors import PartSelector
from floss_sim.methods.schedules import Moment
from floss_sim.methods.selectors import Selector
from floss_sim.vectors.layout import HEAD_KINDS, LORA_A, LORA_B, Layout
from floss_sim.vectors.top_k import Mask

Kinds = tuple[str, ...]
B_THEN_A: tuple[Kinds, ...] = ((LORA_B,), (LORA_A,))
_LETTERS = {LORA_A: "A", LORA_B: "B"}


@dataclass(frozen=True)
class OfKinds(PartSelector):
    """Selector of entries of some kinds of tensors.

    Args:
        pick: Selector among the entries of these kinds.
        kinds: Kinds of tensors, such as ``("lora_B", "head_weight")``.
    """

    kinds: Kinds

    def part(self, layout: Layout) -> tuple[Layout, Mask]:
        """Return the layout of the tensors of these kinds, and the mask of their entries."""
        return _part(layout, self.kinds)

    def settings(self) -> dict[str, Any]:
        """Return the selector among the entries, and the kinds, as plain values."""
        return {**self.pick.settings(), "kinds": list(self.kinds)}

    def describe(self) -> str:
        """Return a description such as ``1/4 of B``."""
        return f"{self.pick.describe()} of {_letters(self.kinds)}"


@dataclass(frozen=True)
class Turns:
    """Schedule of kinds of tensors in turns; the task head takes part in every turn.

    Args:
        pick: Selector among the entries of a turn.
        turns: Kinds of LoRA's tensors of each turn. Version v has turn v modulo their number, so
            that round 1 has the first turn.
    """

    pick: Selector
    turns: tuple[Kinds, ...] = B_THEN_A

    @property
    def density(self) -> float | None:
        """Fraction of the entries of a turn that is kept."""
        return self.pick.density

    def at(self, moment: Moment) -> OfKinds:
        """Return the selector of a version's turn."""
        return OfKinds(self.pick, (*self.turns[moment.version % len(self.turns)], *HEAD_KINDS))

    def settings(self) -> dict[str, Any]:
        """Return the selector among the entries, and the turns, as plain values."""
        return {**self.pick.settings(), "turns": [list(kinds) for kinds in self.turns]}

    def describe(self) -> str:
        """Return a description such as ``1/4 of B and A in turns``, or ``1/4 of B``."""
        turns = " in turns" if len(self.turns) > 1 else ""
        return f"{self.pick.describe()} of {' and '.join(map(_letters, self.turns))}{turns}"


def kinds_mask(layout: Layout, kinds: Kinds) -> Mask:
    """Return the mask of all entries of some kinds, bool of shape (N,)."""
    return np.repeat([tensor.kind in kinds for tensor in layout.tensors], layout.tensor_sizes)


def _letters(kinds: Kinds) -> str:
    return "".join(_LETTERS[kind] for kind in kinds if kind in _LETTERS)


@lru_cache(maxsize=64)
def _part(layout: Layout, kinds: Kinds) -> tuple[Layout, Mask]:
    """Return the layout of the tensors of some kinds, and the mask of their entries."""
    tensors = tuple(tensor for tensor in layout.tensors if tensor.kind in kinds)
    inside_N = kinds_mask(layout, kinds)
    inside_N.setflags(write=False)
    return Layout(tensors), inside_N
