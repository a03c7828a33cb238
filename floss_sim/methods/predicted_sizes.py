"""Predicted sizes of a method's messages, round by round, without training or encoding.

Three things decide a size. The entries that travel: exact zeros are never sent, and with sparse
uploads many entries stay zero (:mod:`floss_sim.methods.touched_entries`). The bytes of their
positions and of their values: those of uniform positions and normal values, times a ratio that
recorded runs have (:mod:`floss_sim.methods.size_statistics`). Methods without recorded ratios
(persistent masks, random or per-tensor selection, ranks, turns, private entries) keep ratio 1;
their zeros follow from what their uploads select (:mod:`floss_sim.methods.touched_by_uploads`).

Shapes: J anchors (rounds), R rounds of a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from floss_sim.methods.change_ledger import changed_entries
from floss_sim.methods.change_sizes import change_size
from floss_sim.methods.method import MessageSize, Method
from floss_sim.methods.persistent_masks import FrozenMask
from floss_sim.methods.schedules import Schedule
from floss_sim.methods.selectors import Everything, SameMask, Selector
from floss_sim.methods.size_statistics import (
    SizeStatistics,
    density_band,
    features,
    size_statistics,
)
from floss_sim.methods.top_k_selectors import TopK
from floss_sim.methods.touched_by_uploads import touched_share, touched_unit
from floss_sim.methods.touched_entries import (
    anchor_rounds,
    start_groups,
    touched_shares,
)
from floss_sim.methods.zero_entries import sent_part
from floss_sim.vectors.layout import SQUARE_LAYOUTS, Layout
from floss_sim.wire import VALUE_CODES, framing
from floss_sim.wire.prediction import index_bytes, value_bytes

SQUARE = "square"  # name of the statistics of all square layouts
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Way = Literal["down", "up"]
WAYS: tuple[Way, Way] = ("down", "up")


@dataclass(frozen=True)
class SizeCourse:
    """Predicted messages of one tier in one direction, at the anchor rounds.

    Attributes:
        nbytes: Bytes of a message, shape (J,).
        counts: Entries that a message carries, shape (J,).
    """

    nbytes: Floats
    counts: Floats

    def at(self, rounds_R: Ints | Sequence[int]) -> tuple[Ints, Ints]:
        """Return the bytes and the entries of a message in some rounds, counted from 1."""
        logs_R, logs_J = np.log(rounds_R), np.log(anchor_rounds())
        nbytes_R, counts_R = (np.interp(logs_R, logs_J, c) for c in (self.nbytes, self.counts))
        return np.rint(nbytes_R).astype(np.int64), np.rint(counts_R).astype(np.int64)


@dataclass(frozen=True)
class SizePredictor:
    """Predicted sizes of the messages of a run.

    Attributes:
        method: Method: selects the entries and has the value codes.
        layout: Layout of the N entries.
        cohort: Uploads that the server receives for each version.
        statistics: Statistics of recorded messages; by default those of the package.

    Example:
        >>> from floss_sim import RunConfig, floss, load_task
        >>> config = RunConfig.of(load_task("digits"), floss(1, 1 / 16), rank=16)
        >>> first, last = (config.sizes.message("down", 0, version)[0] for version in (0, 399))
        >>> first < last < 4 * config.layout.entries
        True
    """

    method: Method
    layout: Layout
    cohort: int
    statistics: SizeStatistics = field(default_factory=size_statistics, repr=False)

    def message(self, way: Way, tier: int, version: int, held: int = 0) -> tuple[int, int]:
        """Return the predicted bytes and entries of a message.

        Args:
            way: ``"down"``, or ``"up"`` for the upload after training from the version.
            tier: Tier of the client.
            version: Version that is downloaded, from 0.
            held: Version that the client is known to hold, or 0.
        """
        if changes_by_round(self.method):
            nbytes_R, counts_R = self.messages(way, tier, version + 1, version + 1)
            return int(nbytes_R[0]), int(counts_R[0])
        if way == "down" and self.method.change_ledger:
            count = changed_entries(self.method, self.layout, held, version)
            size = MessageSize(self.layout.entries, count)
            return size.nbytes(self.method.down_values), count
        if way == "down":
            nbytes, count = self._download(tier, version, held)
            if self.method.backbone_change:
                more, others = change_size(self.method, self.layout, self.cohort, version - held)
                nbytes, count = nbytes + more, count + others
            return nbytes, count
        size = self.method.upload_size(self.layout, tier, version)
        if self.method.zeroth_order:  # all that its steps changed, not the largest of more
            nbytes = index_bytes(size.universe, size.count)
            nbytes += value_bytes(size.count, size.count, self.method.up_values)
            return framing.OVERHEAD_BYTES + nbytes, size.count
        return size.nbytes(self.method.up_values), size.count

    def _download(self, tier: int, version: int, held: int) -> tuple[int, int]:
        """Return the predicted bytes and entries of a download, without entries that are zero."""
        if self._has_course(tier):
            nbytes_R, counts_R = download_course(self, tier).at([version + 1])
            return int(nbytes_R[0]), int(counts_R[0])
        size = self.method.download_size(self.layout, tier, version, held)
        if version or self.method.carries_mask(self.layout, tier, version):
            return size.nbytes(self.method.down_values), size.count
        selector = self.method.download_selector(tier, version)
        return self.nonzero_download(selector, size, share=0.0)

    def _has_course(self, tier: int) -> bool:
        """Return whether the selection of downloads is the same in all rounds."""
        is_scheduled = isinstance(self.method.tiers[tier].download, Schedule)
        return self.method.persistent is None and not is_scheduled

    def nonzero_download(
        self, selector: Selector, size: MessageSize, share: float
    ) -> tuple[int, int]:
        """Return the predicted bytes and entries of a download without its zeros.

        Args:
            selector: Selector of the download.
            size: Size of the download with its zeros.
            share: Touched share of the entries that start at zero.
        """
        if not size.count:
            return size.nbytes(self.method.down_values), 0
        part = sent_part(selector, self.layout, share)
        each = value_bytes(size.universe, size.count, self.method.down_values) / size.count
        nbytes = part.index_bytes(size.universe, touched_unit(self.method, self.layout))
        return framing.OVERHEAD_BYTES + nbytes + math.ceil(part.count * each), part.count

    def touched_share(self, version: int) -> float:
        """Return the expected touched share of entries that start at zero, at a version.

        Only for methods whose sizes do not follow recorded runs.
        """
        touched = self.statistics.touched
        name = statistics_name(self.method, self.layout)
        constants = touched.get(name, touched["floss"])
        return touched_share(self.method, self.layout, self.cohort, version, constants)

    def messages(self, way: Way, tier: int, first: int, last: int) -> tuple[Ints, Ints]:
        """Return the predicted bytes and entries of the messages of some rounds (R, R).

        Args:
            way: ``"down"`` or ``"up"``.
            tier: Tier of the client.
            first: Number of the first round, from 1.
            last: Number of the last round.
        """
        rounds_R = np.arange(first, last + 1)
        if changes_by_round(self.method):
            course = size_course(self.method, self.layout, self.cohort, tier, way, self.statistics)
            return course.at(rounds_R)
        if way == "down" and self._has_course(tier) and not self.method.downloads_changes:
            return download_course(self, tier).at(rounds_R)
        varies = self.method.persistent or self.method.is_scheduled or self.method.downloads_changes
        versions = rounds_R - 1 if varies else [0]
        sizes_VW = np.array([self.message(way, tier, int(v)) for v in versions], dtype=np.int64)
        nbytes_R, counts_R = np.broadcast_to(sizes_VW, (rounds_R.size, 2)).T
        return nbytes_R, counts_R

    def error(self, way: Way, rounds: int) -> float:
        """Return the relative error that predictions of such messages had on recorded runs.

        Nine of ten runs that were held out of the fit were predicted within it. Of several tiers
        the largest error is returned.

        Args:
            way: ``"down"`` or ``"up"``.
            rounds: Rounds of the run whose bytes are predicted.
        """
        return max(self._tier_error(way, tier, rounds) for tier in range(len(self.method.tiers)))

    def _tier_error(self, way: Way, tier: int, rounds: int) -> float:
        values = self.method.down_values if way == "down" else self.method.up_values
        name = statistics_name(self.method, self.layout)
        return self.statistics.error(name, way, values, self.band(way, tier), rounds)

    def band(self, way: Way, tier: int) -> str:
        """Return the band of densities of a tier's messages, by which errors are listed."""
        method, entries = self.method, self.layout.entries
        down = method.download_size(self.layout, tier, 0).count / entries
        up = method.upload_size(self.layout, tier, 0).count / entries
        return density_band(way, down, up)


def changes_by_round(method: Method) -> bool:
    """Return whether the entries of both directions are the largest of the whole vector, or all.

    Then the sizes of messages follow the course of training: zeros are left out, and the values
    and positions of recorded runs tell the rest.
    """
    return method.persistent is None and all(
        _ranks_all(tier.download) and _ranks_all(tier.upload) for tier in method.tiers
    )


def statistics_name(method: Method, layout: Layout) -> str:
    """Return the name by which statistics and errors of a method's messages are listed."""
    if isinstance(method.persistent, FrozenMask) and method.persistent.pick.scope == "global":
        return f"{method.name}, global mask"  # without B, most of which never trains again
    if method.name == "fedsvd" and method.product_step is None:
        return "fedsvd, one basis"
    if not changes_by_round(method):
        return method.name if method.name != "floss" else "floss, other selection"
    if method.trains != "lora":
        return SQUARE if method.trains in SQUARE_LAYOUTS else method.trains
    if method.error_feedback:
        return "floss, error feedback"
    return "floss" if start_groups(layout)[1] else "floss, no head"


def _ranks_all(selector: Selector | Schedule | SameMask) -> bool:
    if isinstance(selector, TopK):
        return selector.scope == "global" and not selector.dense_head
    return isinstance(selector, Everything)


@lru_cache(maxsize=4096)
def size_course(
    method: Method, layout: Layout, cohort: int, tier: int, way: Way, statistics: SizeStatistics
) -> SizeCourse:
    """Return the predicted messages of a method whose sizes change by round.

    Args:
        method: Method for which :func:`changes_by_round` holds.
        layout: Layout of the N entries.
        cohort: Uploads of a round.
        tier: Tier of the client.
        way: ``"down"`` or ``"up"``.
        statistics: Statistics of recorded messages.
    """
    down = method.download_size(layout, tier, 0).count
    up = method.upload_size(layout, tier, 0).count
    selected, other = (down, up) if way == "down" else (up, down)
    counts_J = np.full_like(anchor_rounds(), selected)
    if way == "down":
        counts_J = np.minimum(counts_J, _nonzero_entries(method, layout, cohort, statistics))
    values = method.down_values if way == "down" else method.up_values
    index_J, values_J = simple_sections(start_groups(layout), selected, values, counts_J)
    if method.trains == "lora":
        surface = statistics.surfaces[surface_kind(way, selected, layout.entries)]
        features_FJ = features(
            anchor_rounds(), start_groups(layout), selected, other / layout.entries
        )
        index_J = index_J * surface.ratios("index", features_FJ)
        values_J = values_J * surface.ratios(values, features_FJ)
    code = VALUE_CODES[values]
    plain_J = 4 * code.scales(selected) + counts_J * code.bits / 8
    return SizeCourse(framing.OVERHEAD_BYTES + index_J + np.minimum(values_J, plain_J), counts_J)


@lru_cache(maxsize=4096)
def download_course(sizes: SizePredictor, tier: int) -> SizeCourse:
    """Return the predicted downloads of a method without recorded ratios.

    Args:
        sizes: Predictor of a method whose downloads select alike in all rounds.
        tier: Tier of the client.
    """
    method, layout = sizes.method, sizes.layout
    size, selector = method.download_size(layout, tier, 0), method.download_selector(tier, 0)
    whole = size.nbytes(method.down_values), size.count
    carries_mask = method.carries_mask(layout, tier, 0)
    pairs_J2 = []
    for number in anchor_rounds().astype(int).tolist():
        share = 1.0 if carries_mask else sizes.touched_share(number - 1)
        found = whole if share == 1 else sizes.nonzero_download(selector, size, share)
        pairs_J2.append(found)
    nbytes_J, counts_J = np.array(pairs_J2, dtype=np.float64).T
    return SizeCourse(nbytes_J, counts_J)


def surface_kind(way: str, selected: int, entries: int) -> str:
    """Return the kind of a message of ``selected`` of a layout's entries, a key of surfaces."""
    return f"{way}-{'all' if selected == entries else 'top'}"


def _nonzero_entries(
    method: Method, layout: Layout, cohort: int, statistics: SizeStatistics
) -> Floats:
    """Return the expected entries of the server's vector that are not zero, shape (J,)."""
    uploads = tuple(
        (cohort * tier.share, method.upload_size(layout, number, 0).count)
        for number, tier in enumerate(method.tiers)
    )
    adapter, head, zeros = groups = start_groups(layout)
    constants = statistics.touched[statistics_name(method, layout)]
    return adapter + head + zeros * touched_shares(groups, uploads, constants, anchor_rounds())


def simple_sections(
    groups: tuple[int, int, int], selected: int, values: str, counts_J: Floats
) -> tuple[Floats, Floats]:
    """Return the bytes of uniform positions and of normal values, each of shape (J,).

    Args:
        groups: Entries of A, of the head's weight, and of all other tensors.
        selected: Selected entries, before zeros are dropped.
        values: Value code.
        counts_J: Entries that are sent. If fewer are not zero than are selected, all of A and of
            the head's weight are sent, and the positions among the others are uniform.
    """
    adapter, head, zeros = groups
    entries = adapter + head + zeros

    def nbytes(count: float) -> int:
        if count < selected:
            return index_bytes(zeros, max(0, round(count) - adapter - head))
        return index_bytes(entries, selected)

    index_J = np.array([nbytes(float(count)) for count in counts_J], dtype=np.float64)
    return index_J, counts_J * value_bytes(entries, selected, values) / selected
