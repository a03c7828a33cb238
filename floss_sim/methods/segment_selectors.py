"""Selection of one of several segments of the vector, in round-robin order (EcoLoRA).

EcoLoRA (Liu et al., EMNLP 2025) divides the vector into segments. Each client of a round uploads
another segment, and of it only the largest entries, with densities apart for A and for the rest.
Here the entries of A are divided into S equal parts, and so are all others; a segment is one part
of both. Densities fall from 1 to their ends: after every half-life half of the distance is left.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError, LayoutError
from floss_sim.methods.schedules import Moment
from floss_sim.rng import LazyStream
from floss_sim.vectors.density import format_density, kept_count, parse_density
from floss_sim.vectors.layout import LORA_A, Layout
from floss_sim.vectors.top_k import Mask, Vector, top_k_mask

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """Selector of the largest entries of one segment.

    Args:
        number: Number of the segment, from 0.
        segments: Number of segments of the vector.
        a_density: Density among the segment's entries of A, in (0, 1].
        density: Density among its other entries, in (0, 1].
    """

    number: int
    segments: int
    a_density: float
    density: float

    @property
    def shared(self) -> bool:
        """Whether both ends can build the mask: all of the segment is sent."""
        return self.a_density == self.density == 1

    def count(self, layout: Layout) -> int:
        """Return the number of selected entries, before exact zeros are dropped.

        Parts may differ by one entry. If they are sent whole, the largest are counted.

        Raises:
            LayoutError: A segment would be empty.
        """
        most = max(part.size for part in _parts(layout))
        if self.segments > most:
            raise LayoutError(
                f"{self.segments} segments; valid: 1 to {most}, the larger of A's entries and all "
                "others"
            )
        if self.shared:
            return sum(-(-part.size // self.segments) for part in _parts(layout))
        return sum(count for _, count in self._parts(layout))

    def bounds(self, layout: Layout) -> Mask:
        """Return the mask of the segment."""
        mask_N = np.zeros(layout.entries, dtype=bool)
        for places in self._places(layout):
            mask_N[places] = True
        return mask_N

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries."""
        if self.shared:
            mask_N = self.bounds(layout)
        else:
            mask_N = np.zeros(layout.entries, dtype=bool)
            for places, count in self._parts(layout):
                mask_N[places] = top_k_mask(values_N[places], count)
        return mask_N if within_N is None else mask_N & within_N

    def _places(self, layout: Layout) -> list[Places]:
        """Return the segment's entries of A, and its others; a part without entries is left out."""
        parts = (self._place(part) for part in _parts(layout))
        return [part for part in parts if part.size]

    def _place(self, part: Places) -> Places:
        """Return the segment's share of a part; the first shares have one entry more."""
        size, longer = divmod(part.size, self.segments)
        start = self.number * size + min(self.number, longer)
        return part[start : start + size + (self.number < longer)]

    def _parts(self, layout: Layout) -> list[tuple[Places, int]]:
        """Return the segment's entries of A and its others, and how many of each are kept."""
        densities = (self.a_density, self.density)
        return [
            (
                self._place(part),
                kept_count(part.size // self.segments, density),
            )
            for part, density in zip(_parts(layout), densities, strict=True)
            if part.size >= self.segments
        ]

    def settings(self) -> dict[str, Any]:
        """Return the segment and its densities, as plain values."""
        return dict(vars(self))

    def describe(self) -> str:
        """Return a description such as ``1/2 of segment 2 of 5``."""
        return f"{format_density(self.density)} of segment {self.number + 1} of {self.segments}"


@dataclass(frozen=True)
class Segments:
    """Schedule of segments in round-robin order, with densities that fall from 1.

    The clients of a round have consecutive numbers of dispatches, so that they cover all segments;
    from round to round the segments move on by one client more.

    Args:
        segments: Number of segments, at least 1.
        a_density: Density of A in the end, in (0, 1].
        density: Density of all other entries in the end, in (0, 1].
        half_life: Rounds after which densities have fallen half of the way, above 0.

    Raises:
        ConfigError: A number of segments below 1, or a half-life that is not finite and above 0.
        DensityError: A density outside (0, 1].
    """

    segments: int
    a_density: float
    density: float
    half_life: float = 10.0

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise ConfigError(f"{self.segments} segments; valid: 1 or more")
        if not 0 < self.half_life < math.inf:
            raise ConfigError(f"a half-life of {self.half_life:g} rounds; valid: finite, above 0")
        for name in ("a_density", "density"):
            object.__setattr__(self, name, parse_density(getattr(self, name)))

    def at(self, moment: Moment) -> Segment:
        """Return the segment of a dispatch, with the densities of its version."""
        number = (moment.sequence + moment.version) % self.segments
        left = 0.5 ** (moment.version / self.half_life)
        a, rest = (end + (1 - end) * left for end in (self.a_density, self.density))
        return Segment(number, self.segments, a, rest)

    def settings(self) -> dict[str, Any]:
        """Return the segments, the densities in the end and the half-life, as plain values."""
        return dict(vars(self))

    def describe(self) -> str:
        """Return a description such as ``1 to 1/2 of one of 5 segments``."""
        falls = "" if self.density == 1 else "1 to "
        return f"{falls}{format_density(self.density)} of one of {self.segments} segments"


@lru_cache(maxsize=64)
def _parts(layout: Layout) -> tuple[Places, Places]:
    """Return the places of A's entries, and of all others, in the order of the vector."""
    is_a_N = np.repeat([t.kind == LORA_A for t in layout.tensors], layout.tensor_sizes)
    return np.flatnonzero(is_a_N), np.flatnonzero(~is_a_N)
