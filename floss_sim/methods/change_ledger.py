"""Ledger of changes: a download carries only what has changed since the client's last reply.

Where a server's step leaves entries as they are, a client that keeps what it decoded needs only the
others. The server knows the version that a client replied to, and when each entry changed last.
Version 0 is known to all clients: it is drawn from the seed.

Shapes: vectors float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from floss_sim.methods.method import Method
from floss_sim.methods.selectors import Bounded, Selector
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector

_MOST_STEPS = 64  # of which schedules are looked up; they repeat, or are about the same


class ChangeHistory:
    """Version at which each entry of the server's vector changed last.

    ``changed_at_N`` is int32 of shape (N,); 0 for entries that have their initial value.

    Args:
        entries: Number of entries, N.
    """

    def __init__(self, entries: int) -> None:
        self.changed_at_N: NDArray[np.int32] = np.zeros(entries, dtype=np.int32)

    def record(self, before_N: Vector, after_N: Vector, version: int) -> None:
        """Record the changes of the step to a version."""
        self.changed_at_N[before_N != after_N] = version

    def since(self, version: int) -> Mask:
        """Return the mask of the entries that have changed since a version."""
        changed_N: Mask = self.changed_at_N > version
        return changed_N


@lru_cache(maxsize=4096)
def changed_entries(method: Method, layout: Layout, held: int, version: int) -> int:
    """Return the expected number of entries that steps change between two versions.

    Of freezing layers the most is returned: it does not know which layers freeze.

    Args:
        method: Method with a change ledger.
        layout: Layout of the N entries.
        held: Version that the client holds.
        version: Version that is downloaded.
    """
    if version <= held:
        return 0
    if method.product_step:
        return method.product_step.changed_entries(layout, held, version)
    first = max(held, version - _MOST_STEPS)
    selectors = {method.trained_selector(0, v) for v in range(first, version)}
    return _union([s for s in selectors if s is not None], layout)


def _union(selectors: list[Selector], layout: Layout) -> int:
    bounds = [s.bounds(layout) for s in selectors if isinstance(s, Bounded)]
    if len(bounds) < len(selectors):
        return max(selector.count(layout) for selector in selectors)
    return int(np.count_nonzero(np.any(bounds, axis=0)))
