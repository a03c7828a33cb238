"""Copies of client vectors to a device, and of their updates back to the host.

Shapes: C clients, N entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

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


Updates = Callable[[Sequence[Work], torch.Tensor, Layout], list[Update]]


def rows_of(vectors: Sequence[NDArray[Any]], device: torch.device) -> torch.Tensor:
    """Return vectors as rows on a device, (C, N); an array that is repeated is copied once."""
    distinct = {id(vector): vector for vector in vectors}
    table = torch.from_numpy(np.stack(list(distinct.values()))).to(device)
    if len(distinct) == len(vectors):
        return table
    place = {key: row for row, key in enumerate(distinct)}
    rows = torch.tensor([place[id(vector)] for vector in vectors], device=device)
    return table.index_select(0, rows)


def full_updates(works: Sequence[Work], values_CN: torch.Tensor, layout: Layout) -> list[Update]:
    """Return full updates, computed on the host.

    Args:
        works: The clients' work.
        values_CN: The clients' values after training, float32 of shape (C, N), on the device.
        layout: The layout of a vector.
    """
    trained = values_CN.cpu().numpy()
    return [Update(work.start - value_N) for work, value_N in zip(works, trained, strict=True)]
