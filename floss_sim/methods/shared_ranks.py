"""Shared and private ranks: an adapter whose first ranks travel, and whose last ranks stay.

Two adapters of one module, B1 A1 + B2 A2, are one adapter [B1 B2][A1; A2] of the sum of their
ranks. FedDPA (Yang et al., NeurIPS 2024) has such a pair: the global adapter is made of the first
ranks, a client's local one of the last. The task head is shared.

Shapes: A (R, I) and B (O, R), R ranks of both adapters; masks bool over a layout of N entries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from floss_sim.methods.part_selectors import PartSelector
from floss_sim.vectors.layout import LORA_A, LORA_B, Layout, TensorSpec
from floss_sim.vectors.top_k import Mask


@dataclass(frozen=True)
class OfSharedRanks(PartSelector):
    """Selector of entries of the shared ranks and of the head.

    Args:
        pick: Selector among these entries.
        private_rank: Number of private ranks of each adapter; None: as many as are shared.
    """

    private_rank: int | None = None

    def part(self, layout: Layout) -> tuple[Layout, Mask]:
        """Return the layout of the shared ranks and the head, and the mask of their entries."""
        return _shared_part(layout, self.private_rank)

    def settings(self) -> dict[str, Any]:
        """Return the selector among the entries, and the private ranks, as plain values."""
        return {**self.pick.settings(), "private_rank": self.private_rank}

    def describe(self) -> str:
        """Return a description such as ``1/4 of the shared ranks``."""
        return f"{self.pick.describe()} of the shared ranks"


@lru_cache(maxsize=64)
def _shared_part(layout: Layout, private_rank: int | None) -> tuple[Layout, Mask]:
    """Return the layout of the shared ranks and the head, and the mask of their entries."""
    pairs = [_shared_of(tensor, private_rank) for tensor in layout.tensors]
    inside_N = np.concatenate([inside for _, inside in pairs])
    inside_N.setflags(write=False)
    return Layout(tuple(tensor for tensor, _ in pairs)), inside_N


def _shared_of(tensor: TensorSpec, private_rank: int | None) -> tuple[TensorSpec, Mask]:
    """Return a tensor without its private ranks, and the flat mask of its shared entries."""
    mask = np.ones(tensor.shape, dtype=bool)
    if tensor.kind not in (LORA_A, LORA_B):
        return tensor, mask.ravel()
    private = tensor.rows // 2 if private_rank is None else private_rank
    shared = tensor.rows - private
    if tensor.kind == LORA_A:
        mask[shared:] = False
        shape = (shared, tensor.shape[1])
    else:
        mask[:, shared:] = False
        shape = (tensor.shape[0], shared)
    return replace(tensor, shape=shape), mask.ravel()
