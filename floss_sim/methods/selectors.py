"""Selectors: pure functions from a vector to the mask of the entries that are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from floss_sim.sparsity import Mask, Vector, kept_count, parse_density, top_k_mask


class Selector(Protocol):
    """Chooses the entries of a vector that travel."""

    @property
    def density(self) -> float:
        """The fraction of entries that is kept."""

    def count(self, entries: int) -> int:
        """Return how many of ``entries`` are selected, before exact zeros are dropped."""

    def mask(self, values_N: Vector) -> Mask:
        """Return the mask of the selected entries."""


@dataclass(frozen=True)
class Everything:
    """All entries."""

    @property
    def density(self) -> float:
        """One."""
        return 1.0

    def count(self, entries: int) -> int:
        """Return ``entries``."""
        return entries

    def mask(self, values_N: Vector) -> Mask:
        """Return a mask of ones."""
        return np.ones(values_N.size, dtype=bool)


@dataclass(frozen=True)
class TopK:
    """The largest magnitudes over the whole vector, head included (the published setting).

    Raises:
        DensityError: A density outside (0, 1].
    """

    density: float

    def __post_init__(self) -> None:
        # Always a float, so that equal densities make equal fingerprints: 1 is 1.0.
        object.__setattr__(self, "density", parse_density(self.density))

    def count(self, entries: int) -> int:
        """Return ``max(1, floor(density * entries))``."""
        return kept_count(entries, self.density)

    def mask(self, values_N: Vector) -> Mask:
        """Return the mask of the :meth:`count` largest magnitudes, ties to the lowest index."""
        return top_k_mask(values_N, self.count(values_N.size))
