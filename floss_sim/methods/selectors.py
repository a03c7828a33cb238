"""Selectors: rules that choose the entries of a vector to be sent.

==============  ==========================================  ======================
selector        keeps                                       both ends can build it
==============  ==========================================  ======================
Everything      all entries                                 yes
TopK            the largest magnitudes                      no
RandomK         entries drawn from a named stream           yes, from the seed
Ranks(first)    the first ranks of every adapter, the head  yes
Ranks(random)   ranks drawn for each dispatch, the head     yes, from the seed
Ranks(largest)  the ranks of largest norm, the head         no
OfKinds         entries of some kinds of tensors            if all or random
OfSharedRanks   entries of the shared ranks, the head       if all or random
Segment         entries of one of several segments          if all
ActiveLayers    all but the layers of smallest B            from the download
TopRanks        the rows of A or columns of B of most norm  no
KurtosisTopK    the largest of each tensor, by kurtosis     no
SameMask        the entries of the download (uploads only)  yes
==============  ==========================================  ======================

A mask that both ends can build costs no bytes; other masks are written into the message.
TopK and RandomK are in :mod:`floss_sim.methods.top_k_selectors`, Ranks and TopRanks in
:mod:`floss_sim.methods.rank_selectors`, OfKinds in :mod:`floss_sim.methods.tensor_kinds`,
OfSharedRanks in :mod:`floss_sim.methods.shared_ranks`,
KurtosisTopK in :mod:`floss_sim.methods.kurtosis_selectors`, Segment in
:mod:`floss_sim.methods.segment_selectors`, ActiveLayers in
:mod:`floss_sim.methods.layer_freezing`. Rules that change from round to round are
in :mod:`floss_sim.methods.schedules`.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector


class Selector(Protocol):
    """Interface of a rule that chooses the entries of a vector to be sent."""

    @property
    def density(self) -> float | None:
        """Fraction of entries kept; None if it depends on the layout."""

    @property
    def shared(self) -> bool:
        """Whether both ends can build the mask without the values."""

    def count(self, layout: Layout) -> int:
        """Return the number of selected entries, before exact zeros are dropped."""

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries, all of them inside ``within_N`` if given.

        Args:
            layout: Layout of the N entries.
            values_N: Values by which entries are ranked.
            draw: Function that returns the random generator of a random selection.
            within_N: Mask of the entries that may be selected; None for all entries.
        """

    def settings(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, as plain values for fingerprints."""

    def describe(self) -> str:
        """Return a short description, such as ``1/4 of each tensor``."""


@runtime_checkable
class Bounded(Protocol):
    """Interface of a selector whose entries all lie in a mask that both ends can build."""

    def bounds(self, layout: Layout) -> Mask:
        """Return the mask that contains every selected entry."""


def known_mask(selector: Selector, layout: Layout, draw: LazyStream) -> Mask | None:
    """Return the mask in which both ends count a selector's positions; None for all entries.

    Args:
        selector: The selector.
        layout: Layout of the N entries.
        draw: Function that returns the random generator of a random selection.
    """
    if selector.shared:
        # The mask does not depend on values, so zeros give the same mask.
        known_N = selector.mask(layout, np.zeros(layout.entries, dtype=np.float32), draw)
    elif isinstance(selector, Bounded):
        known_N = selector.bounds(layout)
    else:
        return None
    return None if known_N.all() else known_N


def addressable_entries(selector: Selector, layout: Layout) -> int:
    """Return the number of entries of the known mask (:func:`known_mask`), without building it."""
    if selector.shared:
        return selector.count(layout)
    if isinstance(selector, Bounded):
        return int(np.count_nonzero(selector.bounds(layout)))
    return layout.entries


@dataclass(frozen=True)
class Everything:
    """Selector of all entries."""

    density: ClassVar[float] = 1.0
    shared: ClassVar[bool] = True

    def count(self, layout: Layout) -> int:
        """Return the number of entries of the layout."""
        return layout.entries

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return a mask of all entries, or of those in ``within_N`` if given."""
        return np.ones(layout.entries, dtype=bool) if within_N is None else within_N.copy()

    def settings(self) -> dict[str, Any]:
        """Return the density alone, as TopK at density 1 does, which selects the same entries."""
        return {"density": 1.0}

    def describe(self) -> str:
        """Return ``1``."""
        return "1"


@dataclass(frozen=True)
class SameMask:
    """Selector of the downloaded entries, for uploads; only these entries are trained."""

    density: ClassVar[None] = None
    shared: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        """Return the name of the mask, as a plain value."""
        return {"mask": "download's"}

    def describe(self) -> str:
        """Return ``the same``."""
        return "the same"
