"""Top-k masks of many clients at once, on the device that holds their updates.

They are those of :func:`floss_sim.vectors.top_k.top_k_mask` to the last bit, so that the place
where they were made is part of no fingerprint. On a CPU numpy is faster, by six times and more,
and is taken.

Shapes: C clients, N entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from floss_sim.methods import TopK
from floss_sim.vectors.layout import Layout

_MAGNITUDE_BITS = 2**31 - 1  # a float32's bits but the sign: as integers in the order of magnitudes


def top_k_masks(values_CN: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Return the mask of each row's entries of largest magnitude, bool of shape (C, N).

    Ties go to the lowest index. NaN is larger than everything: it is in the mask, where who reads
    the values meets it, and spoils no other row.

    Args:
        values_CN: float32.
        counts: How many entries each row keeps.

    Raises:
        ValueError: A count is outside 1 .. N.
    """
    entries = values_CN.shape[1]
    if not 1 <= min(counts) <= max(counts) <= entries:
        raise ValueError(f"cannot keep {min(counts)} to {max(counts)} of {entries} entries")
    magnitude_CN = values_CN.view(torch.int32) & _MAGNITUDE_BITS
    count_C1 = torch.tensor(counts, device=values_CN.device).unsqueeze(1)
    ranked = torch.topk(magnitude_CN, max(counts), dim=1).values
    threshold_C1 = ranked.gather(1, count_C1 - 1)
    above_CN, ties_CN = magnitude_CN > threshold_C1, magnitude_CN == threshold_C1
    room_C1 = count_C1 - above_CN.sum(dim=1, keepdim=True)
    return above_CN | (ties_CN & (ties_CN.cumsum(dim=1, dtype=torch.int32) <= room_C1))


def select(values_CN: torch.Tensor, selectors: Sequence[TopK], layout: Layout) -> torch.Tensor:
    """Return the mask that each row's selector gives of it, bool of shape (C, N).

    Args:
        values_CN: float32, over a layout.
        selectors: One a row; those that rank the same groups of entries are applied at once.
        layout: Names the entries.
    """
    masks_CN = torch.empty_like(values_CN, dtype=torch.bool)
    for kind in {(selector.scope, selector.dense_head) for selector in selectors}:
        alike = [i for i, one in enumerate(selectors) if (one.scope, one.dense_head) == kind]
        rows = torch.tensor(alike, device=values_CN.device)
        own = values_CN.index_select(0, rows)
        masks = torch.zeros_like(own, dtype=torch.bool)
        for groups in zip(*(selectors[i].groups(layout) for i in alike), strict=True):
            place = groups[0][0]
            where = place if isinstance(place, slice) else torch.from_numpy(place).to(own.device)
            masks[:, where] = top_k_masks(own[:, where], [count for _, count in groups])
        masks_CN.index_copy_(0, rows, masks)
    return masks_CN
