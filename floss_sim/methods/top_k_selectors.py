"""Top-k and random-k selectors, over the whole vector or in each tensor.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError
from floss_sim.rng import LazyStream
from floss_sim.vectors.density import format_density, kept_count, parse_density
from floss_sim.vectors.layout import HEAD_KINDS, Layout, TensorSpec
from floss_sim.vectors.top_k import (
    Mask,
    Vector,
    random_k_mask,
    top_k_mask,
)

Scope = Literal["global", "tensor"]
SCOPES: tuple[Scope, ...] = ("global", "tensor")
EntryIndices = NDArray[np.intp]
Tensors = tuple[TensorSpec, ...]


@dataclass(frozen=True)
class _FractionSelector:
    """Base class of selectors of a fraction of the entries.

    Args:
        density: Fraction of entries kept, in (0, 1].
        scope: Range of the ranking: ``"global"`` ranks the whole vector, head included (as
            published); ``"tensor"`` ranks each tensor separately.
        dense_head: Whether the whole task head is kept, and the fraction only of the other entries.

    Raises:
        DensityError: A density outside (0, 1].
    """

    density: float
    scope: Scope = "global"
    dense_head: bool = False

    def __post_init__(self) -> None:
        # Always a float, so that densities 1 and 1.0 have the same fingerprint.
        object.__setattr__(self, "density", parse_density(self.density))

    def count(self, layout: Layout) -> int:
        """Return the number of kept entries, before exact zeros are dropped.

        A group that is ranked keeps ``max(1, floor(density * entries))``, a dense head everything.
        """
        return sum(count for _, count in self.tensor_groups(layout))

    def groups(self, layout: Layout) -> Iterator[tuple[EntryIndices | slice, int]]:
        """Yield (positions, number of them kept) of each group that is ranked separately."""
        places = _places(layout, self.scope, self.dense_head)
        for where, (_, count) in zip(places, self.tensor_groups(layout), strict=True):
            yield where, count

    def tensor_groups(self, layout: Layout) -> Iterator[tuple[Tensors, int]]:
        """Yield (tensors, number of entries kept) of each group that is ranked separately."""
        for tensors, is_head in _groups(layout, self.scope, self.dense_head):
            entries = sum(tensor.size for tensor in tensors)
            yield tensors, entries if is_head else kept_count(entries, self.density)

    def _choose(self, values: Vector, count: int, draw: LazyStream) -> Mask:
        raise NotImplementedError

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries; the result depends on the arguments alone."""
        mask_N = np.zeros(layout.entries, dtype=bool)
        for where, count in self.groups(layout):
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
        """Return the density and the options that differ from a global top-k, as plain values."""
        chosen = {field: getattr(self, field.name) for field in fields(self)}
        return {field.name: value for field, value in chosen.items() if value != field.default}

    def describe(self) -> str:
        """Return a description of the density, the scope and the head."""
        words = [format_density(self.density)]
        words += ["of each tensor"] if self.scope == "tensor" else []
        words += ["and the head"] if self.dense_head else []
        return " ".join(words)


@dataclass(frozen=True)
class TopK(_FractionSelector):
    """Selector of the largest magnitudes; ties go to the lowest index."""

    shared: ClassVar[bool] = False

    def _choose(self, values: Vector, count: int, draw: LazyStream) -> Mask:
        return top_k_mask(values, count)


@dataclass(frozen=True)
class RandomK(_FractionSelector):
    """Selector of entries drawn uniformly without replacement; values are not scaled up."""

    shared: ClassVar[bool] = True

    def _choose(self, values: Vector, count: int, draw: LazyStream) -> Mask:
        return random_k_mask(values.size, count, draw())

    def settings(self) -> dict[str, Any]:
        """Return the density and the options that differ from a global top-k, as plain values."""
        return {**super().settings(), "pick": "random"}

    def describe(self) -> str:
        """Return a description such as ``1/4 at random``."""
        return f"{super().describe()} at random"


@lru_cache(maxsize=64)
def _groups(layout: Layout, scope: Scope, dense_head: bool) -> tuple[tuple[Tensors, bool], ...]:
    """Return (tensors, kept whole) of each separately ranked group."""
    heads = tuple(t for t in layout.tensors if dense_head and t.kind in HEAD_KINDS)
    rest = tuple(t for t in layout.tensors if t not in heads)
    whole = tuple(((t,), True) for t in heads)
    if scope == "tensor":
        return (*whole, *(((t,), False) for t in rest))
    # A layout without entries is FLoRA's download where a model has no new head.
    return (*whole, (rest, False)) if rest else whole


@lru_cache(maxsize=64)
def _places(layout: Layout, scope: Scope, dense_head: bool) -> tuple[EntryIndices | slice, ...]:
    """Return the positions of each separately ranked group."""
    found: list[EntryIndices | slice] = []
    for tensors, _ in _groups(layout, scope, dense_head):
        if len(tensors) == len(layout.tensors):
            found.append(slice(0, layout.entries))
        elif len(tensors) == 1:
            found.append(layout.slices[tensors[0].name])
        else:
            parts = [np.arange(layout.entries)[layout.slices[t.name]] for t in tensors]
            found.append(np.concatenate(parts))
    return tuple(found)


Pick = Literal["largest", "random"]
_PICKS: Mapping[str, type[TopK] | type[RandomK]] = {"largest": TopK, "random": RandomK}


def density_selector(density: float, scope: Scope, pick: Pick, dense_head: bool) -> TopK | RandomK:
    """Return the selector of a density.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown scope or pick.
    """
    if scope not in SCOPES:
        raise ConfigError(f"unknown scope {scope!r}; valid: {', '.join(SCOPES)}")
    if pick not in _PICKS:
        raise ConfigError(f"unknown pick {pick!r}; valid: {', '.join(_PICKS)}")
    return _PICKS[pick](density, scope, dense_head)
