"""Copies of client vectors to a device, and of their updates back to the host.

A vector that several clients share is copied to the device once. If only the top-k of an update is
uploaded, only the top-k is copied back. On a CPU the full update is returned and the wire code
selects the top-k.

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
    """A client's update, start minus trained values: full, or only the top-k of the upload.

    A full update and its top-k have the same top-k mask, exact zeros included, so both are handled
    in the same way.

    Args:
        values: The update, float32 of shape (N,); zero outside ``chosen`` if there is a mask.
        chosen: The top-k mask computed on the device, bool of shape (N,); None: a full update.
    """

    values: Vector
    chosen: Mask | None = None


def rows_of(vectors: Sequence[NDArray[Any]], device: torch.device) -> torch.Tensor:
    """Return vectors as rows on a device, (C, N); an array that is repeated is copied once."""
    distinct = {id(vector): vector for vector in vectors}
    table = torch.from_numpy(np.stack(list(distinct.values()))).to(device)
    if len(distinct) == len(vectors):
        return table
    place = {key: row for row, key in enumerate(distinct)}
    rows = torch.tensor([place[id(vector)] for vector in vectors], device=device)
    return table.index_select(0, rows)


def full_updates(works: Sequence[Work], values: Iterable[Vector]) -> list[Update]:
    """Return full updates, start minus trained values, computed on the host.

    Args:
        works: The clients' work.
        values: The clients' values after training, float32 of shape (N,) each.
    """
    return [Update(work.start - value_N) for work, value_N in zip(works, values, strict=True)]


def top_k_updates(works: Sequence[Work], values_CN: torch.Tensor, layout: Layout) -> list[Update]:
    """Return updates computed on the device; only the top-k where nothing else is uploaded.

    Args:
        works: The clients' work; those with ``ranked`` upload only the top-k of this update.
        values_CN: The clients' values after training, float32 of shape (C, N), on the device.
        layout: The layout of a vector.
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
    """Yield each row with zeros outside its mask; only masked entries are copied to the host."""
    row, column = masks_CN.nonzero(as_tuple=True)
    values, columns = update_CN[row, column].cpu().numpy(), column.int().cpu().numpy()
    ends = masks_CN.sum(dim=1).cumsum(dim=0).tolist()[:-1]
    for values_K, columns_K in zip(np.split(values, ends), np.split(columns, ends), strict=True):
        cut_N = np.zeros(update_CN.shape[1], dtype=np.float32)
        chosen_N = np.zeros(update_CN.shape[1], dtype=bool)
        cut_N[columns_K], chosen_N[columns_K] = values_K, True
        yield Update(cut_N, chosen_N)
