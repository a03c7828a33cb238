"""Norms of partners: how much a change of one entry of A or B changes the product B A.

The change of B's entry (o, i) by d changes the product by d times row i of A; that of A's entry
(i, j) by column i of B times d. The Frobenius norms of these changes are |d| times the norm of
the partner: FedSRD ranks entries by them (Yan et al. 2025), LoRA-A2 whole ranks (Koo
et al. 2025, section 4.2, equation 4).

Shapes: vectors float32 over a layout of N entries; A (R, I), B (O, R): R ranks, I input features,
O output features.
"""

from __future__ import annotations

import numpy as np

from floss_sim.methods.rank_selectors import adapters
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Vector


def partner_norms(layout: Layout, start_N: Vector, update_N: Vector) -> Vector:
    """Return the norm of each entry's partner, float32 of shape (N,); 1 for the head.

    A client's change of the product is dB A + B' dA, with A from before its training and B' from
    after it. B's partners are therefore rows of the old A, those of A columns of the new B.

    Args:
        layout: Layout of the N entries.
        start_N: The client's values before its training.
        update_N: The values before minus those after the training.
    """
    norms_N = np.ones(layout.entries, dtype=np.float32)
    for a, b in adapters(layout):
        where_a, where_b = layout.slices[a.name], layout.slices[b.name]
        rows_R = np.linalg.norm(start_N[where_a].reshape(a.shape), axis=1)
        after_OR = (start_N[where_b] - update_N[where_b]).reshape(b.shape)
        norms_N[where_a] = np.repeat(np.linalg.norm(after_OR, axis=0), a.shape[1])
        norms_N[where_b] = np.tile(rows_R, b.shape[0])
    return norms_N
