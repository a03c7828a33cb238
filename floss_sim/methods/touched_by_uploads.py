"""Touched share by version, of any method: from what its uploads select.

===========================  ==================================================================
uploads                      touched share
===========================  ==================================================================
all entries of a turn        1 once that turn has been
drawn entries or ranks       1 - (1 - drawn part)^uploads: those of FedKSeed's steps, of FSLoRA
segments                     likewise, each upload with its segment's number and density
largest entries              :func:`floss_sim.methods.touched_entries.touched_shares`
largest ranks                the same of ranks
===========================  ==================================================================

A server step on products has a share of its own: it moves entries that no upload carried. FedSVD's
new basis of B touches whole rows; constants that are fitted to its runs stand for that, too.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from floss_sim.methods.method import Method
from floss_sim.methods.part_selectors import PartSelector
from floss_sim.methods.rank_selectors import Ranks, TopRanks
from floss_sim.methods.rebasing_step import RebasingStep
from floss_sim.methods.schedules import Moment
from floss_sim.methods.segment_selectors import Segments
from floss_sim.methods.selectors import SameMask, Selector
from floss_sim.methods.tensor_kinds import Turns
from floss_sim.methods.top_k_selectors import RandomK, TopK
from floss_sim.methods.touched_entries import (
    Floats,
    TouchConstants,
    anchor_rounds,
    start_groups,
    touched_shares,
)
from floss_sim.methods.zero_entries import zero_layout
from floss_sim.methods.zeroth_order import SteppedSeeds
from floss_sim.vectors.density import kept_count
from floss_sim.vectors.layout import LORA_A, LORA_B, Layout

_FEW = 1e-3  # untouched share that is not followed any further
Pool = tuple[tuple[int, int, int], int]  # groups that are ranked together, and how many are kept


@lru_cache(maxsize=1 << 14)
def touched_share(
    method: Method, layout: Layout, cohort: int, version: int, constants: TouchConstants
) -> float:
    """Return the expected touched share of the entries that start at zero, 0 at version 0.

    Args:
        method: Method of the run.
        layout: Layout of the N entries.
        cohort: Uploads that the server receives for each version.
        version: Version of the global adapter.
        constants: Constants of the model of largest entries, or ranks.
    """
    zeros = zero_layout(layout)
    if version == 0 or not zeros.entries:
        return float(version > 0)
    if method.product_step and not isinstance(method.product_step, RebasingStep):
        return method.product_step.changed_entries(zeros, 0, version) / zeros.entries
    schedule = method.tiers[0].upload
    if method.persistent:
        return 1.0
    if isinstance(schedule, Segments):
        return _share_of_segments(schedule, cohort, version)
    first, each = _turn(schedule)
    turns = max(0, math.ceil((version - first) / each))
    selectors = [_upload(method, tier, first) for tier in range(len(method.tiers))]
    drawn = [_drawn_part(selector, layout) for selector in selectors]
    numbers = [cohort * tier.share for tier in method.tiers]
    if None not in drawn:
        parts = [part for part in drawn if part is not None]
        uploads = [number * turns for number in numbers]
        untouched: float = math.prod((1 - p) ** n for p, n in zip(parts, uploads, strict=True))
        return 1 - untouched
    pools = [_pools(selector, layout) for selector in selectors]
    if len({len(of_tier) for of_tier in pools}) > 1:
        pools = [[(start_groups(layout), selector.count(layout))] for selector in selectors]
    if not any(groups[2] for of_tier in pools for groups, _ in of_tier):
        return 0.0  # uploads carry nothing that starts at zero: FedSA-LoRA's without a head
    shares_J = _mean_shares(tuple(zip(*pools, strict=True)), tuple(numbers), constants)
    return float(np.interp(math.log(turns + 1), np.log(anchor_rounds()), shares_J))


@lru_cache(maxsize=64)
def touched_unit(method: Method, layout: Layout) -> int:
    """Return how many entries of B uploads touch together: those of a rank, in the mean, or 1."""
    selector = _upload(method, 0, _turn(method.tiers[0].upload)[0])
    while isinstance(selector, PartSelector):
        selector = selector.pick
    by_rank = isinstance(selector, TopRanks) or (
        isinstance(selector, Ranks) and selector.by_dispatch
    )
    b = [tensor for tensor in layout.tensors if tensor.kind == LORA_B]
    if not (by_rank and b):
        return 1
    return sum(t.size for t in b) // sum(t.rows for t in b)


def _turn(schedule: object) -> tuple[int, int]:
    """Return the first version whose uploads carry B, and the versions from one to the next."""
    if not isinstance(schedule, Turns):
        return 0, 1
    with_b = [place for place, kinds in enumerate(schedule.turns) if LORA_B in kinds]
    return (with_b or [0])[0], len(schedule.turns)


def _upload(method: Method, tier: int, version: int) -> Selector:
    """Return the selector of a tier's uploads; the same mask is what trains or is downloaded."""
    selector = method.upload_selector(tier, Moment(version))
    if not isinstance(selector, SameMask):
        return selector
    return method.trained_selector(tier, version) or method.download_selector(tier, version)


def _drawn_part(selector: Selector, layout: Layout) -> float | None:
    """Return the part of the entries that an upload draws, 1 of all; None if it ranks them."""
    if isinstance(selector, PartSelector):
        return _drawn_part(selector.pick, selector.part(layout)[0])
    if isinstance(selector, SteppedSeeds):
        return selector.count(layout) / layout.entries
    if isinstance(selector, RandomK):
        return selector.density
    if isinstance(selector, Ranks) and selector.by_dispatch:
        b = Layout(tuple(tensor for tensor in layout.tensors if tensor.kind == LORA_B))
        return selector.count(b) / b.entries
    return 1.0 if selector.shared or selector.density == 1 else None


def _pools(selector: Selector, layout: Layout) -> list[Pool]:
    """Return the pools that an upload ranks apart and that have entries which start at zero."""
    if isinstance(selector, PartSelector):
        return _pools(selector.pick, selector.part(layout)[0])
    if isinstance(selector, TopRanks):
        a, b = (sum(t.rows for t in layout.tensors if t.kind == k) for k in (LORA_A, LORA_B))
        return [((a, 0, b), kept_count(a + b, selector.density))]
    if isinstance(selector, TopK):
        found = (
            (start_groups(Layout(tensors)), count)
            for tensors, count in selector.tensor_groups(layout)
        )
        return [(groups, count) for groups, count in found if groups[2]]
    return [(start_groups(layout), selector.count(layout))]


@lru_cache(maxsize=256)
def _mean_shares(
    pools: tuple[tuple[Pool, ...], ...], numbers: tuple[float, ...], constants: TouchConstants
) -> Floats:
    """Return the mean touched share over the entries of all pools, by anchor round.

    Args:
        pools: Pools, each as the tiers rank it.
        numbers: Uploads of a round, by tier.
        constants: Constants of the model.
    """
    sizes = [tiers[0][0][2] for tiers in pools]
    shares_PJ = [_pool_shares(tiers, numbers, constants) for tiers in pools]
    mean_J: Floats = np.average(shares_PJ, axis=0, weights=sizes)
    return mean_J


@lru_cache(maxsize=256)
def _pool_shares(
    tiers: tuple[Pool, ...], numbers: tuple[float, ...], constants: TouchConstants
) -> Floats:
    uploads = [(number, count) for number, (_, count) in zip(numbers, tiers, strict=True)]
    return touched_shares(tiers[0][0], uploads, constants, anchor_rounds())


def _share_of_segments(schedule: Segments, cohort: int, version: int) -> float:
    """Return the touched share where each upload of a round has another segment."""
    untouched_S = np.ones(schedule.segments)
    for before in range(version):
        for sequence in range(before * cohort, (before + 1) * cohort):
            segment = schedule.at(Moment(before, sequence))
            untouched_S[segment.number] *= 1 - segment.density
        if untouched_S.max() < _FEW:
            break
    return 1 - float(untouched_S.mean())
