"""Vectors of many clients on their way to a device and back.

What several clients share goes up once; of an update whose top-k alone travels, nothing else comes
back. On a device with the host's memory updates stay whole, and their top-k is the host's affair.

Shapes: C clients, N entries, K entries that are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim.training.bank.device_top_k import select
from floss_sim.training.local_sgd import Work
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector


class Update(NamedTuple):
    """What local training took off a client's values: whole, or cut to what its upload sends.

    Cut, it has the same top-k as before, exact zeros included: it need not be known from where an
    update comes.

    Args:
        values: float32 of shape (N,); if it is cut, zero outside the mask.
        chosen: The mask that was made on the device, if it was.
    """

    values: Vector
    chosen: Mask | None = None


def rows_of(vectors: Sequence[NDArray[Any]], device: torch.device) -> torch.Tensor:
    """Return vectors as rows on a device, (C, N); an array given again and again is copied once."""
    distinct = {id(vector): vector for vector in vectors}
    table = torch.from_numpy(np.stack(list(distinct.values()))).to(device)
    if len(distinct) == len(vectors):
        return table
    place = {key: row for row, key in enumerate(distinct)}
    rows = torch.tensor([place[id(vector)] for vector in vectors], device=device)
    return table.index_select(0, rows)


def full_updates(works: Sequence[Work], values: Iterable[Vector]) -> list[Update]:
    """Return updates as the host takes them off the values that clients have after training."""
    return [Update(work.start - value_N) for work, value_N in zip(works, values, strict=True)]


def top_k_updates(works: Sequence[Work], values_CN: torch.Tensor, layout: Layout) -> list[Update]:
    """Return updates taken off and ranked on the device, cut where their top-k alone travels.

    Args:
        works: What was trained.
        values_CN: The values afterwards, float32, on the device.
        layout: Names the entries.
    """
    update_CN = rows_of([work.start for work in works], values_CN.device) - values_CN
    ranked = [i for i, work in enumerate(works) if work.ranked]
    others = [i for i, work in enumerate(works) if not work.ranked]
    found = dict(zip(others, map(Update, _part(update_CN, others).cpu().numpy()), strict=True))
    if ranked:
        selectors = [work.ranked for work in works if work.ranked]
        masks_CN = select(own := _part(update_CN, ranked), selectors, layout)
        found.update(zip(ranked, _masked_updates(own, masks_CN), strict=True))
    return [found[i] for i in range(len(works))]


def _part(update_CN: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    if len(rows) == len(update_CN):
        return update_CN
    return update_CN.index_select(0, torch.tensor(rows, dtype=torch.long, device=update_CN.device))


def _masked_updates(update_CN: torch.Tensor, masks_CN: torch.Tensor) -> Iterator[Update]:
    """Yield each row as it is inside its mask; nothing but that is copied."""
    row, column = masks_CN.nonzero(as_tuple=True)
    values, columns = update_CN[row, column].cpu().numpy(), column.int().cpu().numpy()
    ends = masks_CN.sum(dim=1).cumsum(dim=0).tolist()[:-1]
    for values_K, columns_K in zip(np.split(values, ends), np.split(columns, ends), strict=True):
        cut_N = np.zeros(update_CN.shape[1], dtype=np.float32)
        chosen_N = np.zeros(update_CN.shape[1], dtype=bool)
        cut_N[columns_K], chosen_N[columns_K] = values_K, True
        yield Update(cut_N, chosen_N)
