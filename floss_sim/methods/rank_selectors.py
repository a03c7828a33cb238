"""Selector of some ranks of every adapter: rank tiers of HetLoRA, sketches of FSLoRA.

HetLoRA is Cho et al. 2024; FSLoRA, whose clients train ranks drawn at random, Fang et al. 2025.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries; R ranks, I input features,
O output features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from floss_sim.errors import LayoutError
from floss_sim.rng import LazyStream
from floss_sim.vectors.density import format_density, kept_count, parse_density
from floss_sim.vectors.layout import (
    LORA_A,
    LORA_B,
    Layout,
    TensorSpec,
)
from floss_sim.vectors.top_k import Mask, Vector, random_k_mask, top_k_mask


@dataclass(frozen=True)
class Ranks:
    """Selector of some ranks of every adapter and the whole head.

    Args:
        ranks: Number of ranks: a whole number, or a fraction of the run's rank as a float in
            (0, 1].
        which: Ranks to keep: ``"first"``; ``"largest"`` by the product of the norms of A's row and
            B's column, ties to the lowest rank; or ``"random"``, drawn for each adapter and
            dispatch.
    """

    ranks: int | float
    which: Literal["first", "largest", "random"] = "first"
    density: ClassVar[None] = None

    @property
    def shared(self) -> bool:
        """Whether both ends can build the mask, from the configuration or the seed."""
        return self.which != "largest"

    @property
    def by_dispatch(self) -> bool:
        """Whether each dispatch has a mask of its own."""
        return self.which == "random"

    def scale(self, layout: Layout) -> float:
        """Return the factor of LoRA's scale in training: rank / kept ranks if these are random.

        The expected product of the kept ranks, so scaled, is that of all ranks.
        """
        rank = next(_rank(tensor) for tensor in layout.tensors if tensor.kind == LORA_A)
        return rank / self._kept_ranks(rank) if self.which == "random" else 1.0

    def count(self, layout: Layout) -> int:
        """Return the number of entries of the kept ranks and of the head.

        Raises:
            LayoutError: The layout has no adapters of this many ranks.
        """
        return sum(
            self._kept_ranks(_rank(tensor)) * tensor.size // _rank(tensor)
            if tensor.kind in (LORA_A, LORA_B)
            else tensor.size
            for tensor in layout.tensors
        )

    def _kept_ranks(self, rank: int) -> int:
        """Return the number of kept ranks, given the run's rank."""
        if isinstance(self.ranks, float):
            return kept_count(rank, self.ranks)
        if not 1 <= self.ranks <= rank:
            raise LayoutError(f"a tier of {self.ranks} ranks; valid: 1 to the run's rank {rank}")
        return self.ranks

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the kept ranks of every adapter and of the head."""
        mask_N = np.ones(layout.entries, dtype=bool)
        for a, b in adapters(layout):
            where_a, where_b = layout.slices[a.name], layout.slices[b.name]
            kept = self._kept_ranks(_rank(a))
            chosen_R = np.arange(_rank(a)) < kept
            if self.which == "largest":
                a_RI = values_N[where_a].reshape(a.shape)
                b_OR = values_N[where_b].reshape(b.shape)
                norms_R = np.linalg.norm(a_RI, axis=1) * np.linalg.norm(b_OR, axis=0)
                chosen_R = top_k_mask(norms_R, kept)
            elif self.which == "random":
                chosen_R = random_k_mask(_rank(a), kept, draw())
            mask_N[where_a] = np.repeat(chosen_R, a.shape[1])
            mask_N[where_b] = np.tile(chosen_R, b.shape[0])
        return mask_N if within_N is None else mask_N & within_N

    def settings(self) -> dict[str, Any]:
        """Return the number of ranks and the rule that chooses them, as plain values."""
        return {"ranks": self.ranks, "which": self.which}

    def describe(self) -> str:
        """Return a description such as ``first 4 ranks`` or ``first 1/4 of the ranks``."""
        if isinstance(self.ranks, float):
            return f"{self.which} {format_density(self.ranks)} of the ranks"
        return f"{self.which} {self.ranks} rank{'s' if self.ranks > 1 else ''}"


def _rank(tensor: TensorSpec) -> int:
    return tensor.shape[0] if tensor.kind == LORA_A else tensor.shape[1]


def adapters(layout: Layout) -> Iterator[tuple[TensorSpec, TensorSpec]]:
    """Yield the pair of tensors (A, B) of every adapter."""
    by_name = {tensor.name: tensor for tensor in layout.tensors}
    for tensor in layout.tensors:
        if tensor.kind == LORA_A:
            yield tensor, by_name[tensor.name.removesuffix("lora_A") + "lora_B"]


@dataclass(frozen=True)
class TopRanks:
    """Selector of the ranks of largest norm among those of all tensors, and of the whole head.

    A rank is a row of A or a column of B. It is the unit that LoRA-A2 (Koo et al. 2025) selects.

    Args:
        density: Fraction of all ranks that is kept, in (0, 1]; ties go to the lowest.
    """

    density: float
    shared: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", parse_density(self.density))

    def count(self, layout: Layout) -> int:
        """Return the entries of the head and of the kept ranks, if these are the widest."""
        ranked = [t for t in layout.tensors if t.kind in (LORA_A, LORA_B)]
        sizes = sorted((t.size // _rank(t) for t in ranked for _ in range(_rank(t))), reverse=True)
        kept = kept_count(len(sizes), self.density)
        return layout.entries - sum(t.size for t in ranked) + sum(sizes[:kept])

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the kept ranks and of the head."""
        ranked = [t for t in layout.tensors if t.kind in (LORA_A, LORA_B)]
        norms = [_rank_norms(t, values_N[layout.slices[t.name]]) for t in ranked]
        ends = np.cumsum([_rank(t) for t in ranked])
        chosen = top_k_mask(np.concatenate(norms), kept_count(int(ends[-1]), self.density))
        mask_N = np.ones(layout.entries, dtype=bool)
        for tensor, chosen_R in zip(ranked, np.split(chosen, ends[:-1]), strict=True):
            other = tensor.size // _rank(tensor)
            is_a = tensor.kind == LORA_A
            part = np.repeat(chosen_R, other) if is_a else np.tile(chosen_R, other)
            mask_N[layout.slices[tensor.name]] = part
        return mask_N if within_N is None else mask_N & within_N

    def settings(self) -> dict[str, Any]:
        """Return the density and its unit, as plain values."""
        return {"density": self.density, "unit": "ranks"}

    def describe(self) -> str:
        """Return a description such as ``1/4 of the ranks``."""
        return f"{format_density(self.density)} of the ranks"


def _rank_norms(tensor: TensorSpec, values: Vector) -> Vector:
    """Return the norm of each rank of a tensor, shape (R,)."""
    norms_R: Vector = np.linalg.norm(values.reshape(tensor.shape), axis=tensor.kind == LORA_A)
    return norms_R
