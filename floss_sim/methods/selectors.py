"""Selectors: which entries of a vector travel.

==============  ==========================================  ======================
selector        keeps                                       both ends can build it
==============  ==========================================  ======================
Everything      all entries                                 yes
TopK            the largest magnitudes                      no
RandomK         entries drawn from a named stream           yes: they share seeds
Ranks(first)    the first ranks of every adapter, the head  yes
Ranks(largest)  the ranks of largest norm, the head         no
SameMask        the entries of the download (uploads only)  yes
==============  ==========================================  ======================

A mask that both ends can build costs no bytes: only the others are written into a message.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import LayoutError
from floss_sim.layout import HEAD_BIAS, HEAD_WEIGHT, LORA_A, LORA_B, Layout
from floss_sim.sparsity import (
    Mask,
    Vector,
    format_density,
    kept_count,
    parse_density,
    random_k_mask,
    top_k_mask,
)

Scope = Literal["global", "tensor"]
SCOPES: tuple[Scope, ...] = ("global", "tensor")
Positions = NDArray[np.intp]


class Selector(Protocol):
    """Chooses the entries of a vector that travel."""

    @property
    def density(self) -> float | None:
        """The fraction of entries that is kept; None where a layout decides."""

    @property
    def shared(self) -> bool:
        """Whether both ends can build the mask without the values."""

    def count(self, layout: Layout) -> int:
        """Return how many entries are selected, before exact zeros are dropped."""

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: np.random.Generator,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries, all of them inside ``within_N`` if given."""

    def settings(self) -> dict[str, Any]:
        """Return what differs from the defaults, as plain values, for fingerprints."""

    def describe(self) -> str:
        """Return a few words, such as ``1/4 a tensor``."""


@dataclass(frozen=True)
class Everything:
    """All entries."""

    density: ClassVar[float] = 1.0
    shared: ClassVar[bool] = True

    def count(self, layout: Layout) -> int:
        """Return the layout's entries."""
        return layout.entries

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: np.random.Generator,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return a mask of ones, or ``within_N``."""
        return np.ones(layout.entries, dtype=bool) if within_N is None else within_N.copy()

    def settings(self) -> dict[str, Any]:
        """Return the density alone: TopK at density 1 selects the same."""
        return {"density": 1.0}

    def describe(self) -> str:
        """Return ``1``."""
        return "1"


@dataclass(frozen=True)
class _Fraction:
    """A fraction of the entries: over the whole vector (as published) or of each tensor.

    Args:
        density: The fraction kept, in (0, 1].
        scope: ``"global"`` ranks the whole vector, head included; ``"tensor"`` each tensor.
        dense_head: Keep the whole task head, and the fraction of the rest.

    Raises:
        DensityError: A density outside (0, 1].
    """

    density: float
    scope: Scope = "global"
    dense_head: bool = False

    def __post_init__(self) -> None:
        # Always a float, so that equal densities make equal fingerprints: 1 is 1.0.
        object.__setattr__(self, "density", parse_density(self.density))

    def count(self, layout: Layout) -> int:
        """Return the sum of ``max(1, floor(density * entries))`` over what is ranked."""
        return sum(count for _, count in self._groups(layout))

    def _groups(self, layout: Layout) -> Iterator[tuple[Positions | slice, int]]:
        for where, entries, is_head in _groups(layout, self.scope, self.dense_head):
            yield where, entries if is_head else kept_count(entries, self.density)

    def _choose(self, values: Vector, count: int, draw: np.random.Generator) -> Mask:
        raise NotImplementedError

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: np.random.Generator,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries; a pure function of the arguments."""
        mask_N = np.zeros(layout.entries, dtype=bool)
        for where, count in self._groups(layout):
            if within_N is None:
                mask_N[where] = self._choose(values_N[where], count, draw)
                continue
            inside = np.flatnonzero(within_N[where])
            chosen = np.zeros(within_N[where].size, dtype=bool)
            if inside.size:
                values = values_N[where][inside]
                chosen[inside] = self._choose(values, min(count, inside.size), draw)
            mask_N[where] = chosen
        return mask_N

    def settings(self) -> dict[str, Any]:
        """Return the density, and what differs from a global top-k."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {"scope": "global", "dense_head": False}
        return {k: v for k, v in chosen.items() if k not in defaults or v != defaults[k]}

    def describe(self) -> str:
        """Return the density and what differs from a global top-k."""
        words = [format_density(self.density)]
        words += ["of each tensor"] if self.scope == "tensor" else []
        words += ["and the head"] if self.dense_head else []
        return " ".join(words)


@dataclass(frozen=True)
class TopK(_Fraction):
    """The largest magnitudes; ties go to the lowest index."""

    shared: ClassVar[bool] = False

    def _choose(self, values: Vector, count: int, draw: np.random.Generator) -> Mask:
        return top_k_mask(values, count)


@dataclass(frozen=True)
class RandomK(_Fraction):
    """Entries drawn uniformly without replacement, values as they are (not scaled up)."""

    shared: ClassVar[bool] = True

    def _choose(self, values: Vector, count: int, draw: np.random.Generator) -> Mask:
        return random_k_mask(values.size, count, draw)

    def settings(self) -> dict[str, Any]:
        """Return the density, and what differs from a global top-k."""
        return {**super().settings(), "pick": "random"}

    def describe(self) -> str:
        """Return, say, ``1/4 at random``."""
        return f"{super().describe()} at random"


@dataclass(frozen=True)
class Ranks:
    """Some ranks of every adapter, and the whole head (HetLoRA: Cho et al. 2024).

    Args:
        ranks: How many.
        which: ``"first"``, or ``"largest"``: by the product of the norms of A's row and B's
            column, ties to the lowest rank.
    """

    ranks: int
    which: Literal["first", "largest"] = "first"
    density: ClassVar[None] = None

    @property
    def shared(self) -> bool:
        """Whether the mask depends on the configuration alone."""
        return self.which == "first"

    def count(self, layout: Layout) -> int:
        """Return the entries of these ranks and of the head.

        Raises:
            LayoutError: The layout has no adapters of this many ranks.
        """
        return sum(
            self.ranks * tensor.size // self._rank_of(tensor.shape, tensor.kind)
            if tensor.kind in (LORA_A, LORA_B)
            else tensor.size
            for tensor in layout.tensors
        )

    def _rank_of(self, shape: tuple[int, ...], kind: str) -> int:
        rank = shape[0] if kind == LORA_A else shape[1]
        if not 1 <= self.ranks <= rank:
            raise LayoutError(f"a tier of {self.ranks} ranks; valid: 1 to the run's rank {rank}")
        return rank

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: np.random.Generator,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the chosen ranks of every adapter and of the head."""
        mask_N = np.ones(layout.entries, dtype=bool)
        for a, b in _adapters(layout):
            where_a, where_b = layout.slices[a.name], layout.slices[b.name]
            rank = self._rank_of(a.shape, LORA_A)
            chosen_R = np.arange(rank) < self.ranks
            if self.which == "largest":
                a_RI = values_N[where_a].reshape(a.shape)
                b_OR = values_N[where_b].reshape(b.shape)
                norms_R = np.linalg.norm(a_RI, axis=1) * np.linalg.norm(b_OR, axis=0)
                chosen_R = top_k_mask(norms_R, self.ranks)
            mask_N[where_a] = np.repeat(chosen_R, a.shape[1])
            mask_N[where_b] = np.tile(chosen_R, b.shape[0])
        return mask_N if within_N is None else mask_N & within_N

    def settings(self) -> dict[str, Any]:
        """Return the ranks and how they are chosen."""
        return {"ranks": self.ranks, "which": self.which}

    def describe(self) -> str:
        """Return, say, ``first 4 ranks``."""
        return f"{self.which} {self.ranks} rank{'s' if self.ranks > 1 else ''}"


@dataclass(frozen=True)
class SameMask:
    """An upload of just the entries that were downloaded, which are the ones that train."""

    density: ClassVar[None] = None
    shared: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        """Return the name."""
        return {"mask": "download's"}

    def describe(self) -> str:
        """Return ``the same``."""
        return "the same"


def _is_head(kind: str) -> bool:
    return kind in (HEAD_WEIGHT, HEAD_BIAS)


@lru_cache(maxsize=64)
def _groups(
    layout: Layout, scope: Scope, dense_head: bool
) -> tuple[tuple[Positions | slice, int, bool], ...]:
    """Return (positions, entries, kept whole) of each group that is ranked by itself."""
    heads = [t for t in layout.tensors if dense_head and _is_head(t.kind)]
    rest = [t for t in layout.tensors if t not in heads]
    whole = [(layout.slices[t.name], t.size, True) for t in heads]
    if scope == "tensor":
        return (*whole, *((layout.slices[t.name], t.size, False) for t in rest))
    if not heads:
        return ((slice(0, layout.entries), layout.entries, False),)
    if not rest:
        return tuple(whole)
    where = np.concatenate([np.arange(layout.entries)[layout.slices[t.name]] for t in rest])
    return (*whole, (where, where.size, False))


def _adapters(layout: Layout) -> Iterator[tuple[Any, Any]]:
    """Yield the (A, B) tensors of every adapter."""
    by_name = {tensor.name: tensor for tensor in layout.tensors}
    for tensor in layout.tensors:
        if tensor.kind == LORA_A:
            yield tensor, by_name[tensor.name.removesuffix("lora_A") + "lora_B"]
