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
TopK and RandomK are in :mod:`floss_sim.methods.top_k_selectors`, Ranks in
:mod:`floss_sim.methods.rank_selectors`.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector


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
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries, all of them inside ``within_N`` if given.

        Args:
            layout: Names the entries.
            values_N: What is ranked.
            draw: Gives the stream of a random selection.
            within_N: What may be selected.
        """

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
        draw: LazyStream,
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
