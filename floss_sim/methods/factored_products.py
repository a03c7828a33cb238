"""Best factors of a product: B with orthogonal columns, A with orthonormal rows, by the SVD.

The product comes as two stacked factors. The QR decompositions of both leave a small core, whose
SVD is that of the product (LoRA's matrices are never multiplied out). Of U S V^T the leading ranks
are kept.

:func:`leading_factors` gives B = U S and A = V^T. A then has about the size that it has at the
start (rows of norm 1, at first 0.58), so that the gradient of B keeps its size. Divided evenly,
B = U sqrt(S) and A = sqrt(S) V^T, both would be as small as the product is in the first rounds, and
with them the gradients of both.

A rank without a singular value has B = 0. Its row of A has no effect but trains B's column: it is a
unit vector in the span of the old A, orthogonal to the other rows. Thus no direction dies out. Of a
product that is zero the old A stays.

Shapes: left (O, M), right (M, I), A (R, I), B (O, R).
"""

from __future__ import annotations

import numpy as np

from floss_sim.methods.product_steps import Factors, Floats

_LEAST = 1e-6  # of the largest singular value: smaller ones are rounding errors of float32


def leading_factors(left: Floats, right: Floats, old_a: Floats) -> Factors:
    """Return the factors of the best approximation of a product by R ranks.

    Signs are those that make the largest entry of a row of A positive, the first one of equals.

    Args:
        left: Left stacked factor.
        right: Right stacked factor.
        old_a: A before; its ranks are those of the result.
    """
    u, s, v = product_svd(left, right, _LEAST, len(old_a))
    kept = len(s)
    b = np.zeros((len(left), len(old_a)))
    if not kept:
        return Factors(old_a, b)
    rows, signs = _signed(v)
    b[:, :kept] = u * (s * signs)
    spare = old_a - (old_a @ rows.T) @ rows
    rest, _ = _signed(np.linalg.svd(spare, full_matrices=False)[2][: len(old_a) - kept])
    return Factors(np.vstack([rows, rest]), b)


def product_svd(
    left: Floats, right: Floats, least: float, most: int | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return U (O, K), S (K,) and V^T (K, I) of a product's K leading singular values.

    Args:
        left: Left stacked factor.
        right: Right stacked factor.
        least: Part of the largest singular value; values up to it count as zero.
        most: Most singular values to keep; None: all.
    """
    q_left, core_left = np.linalg.qr(left)
    q_right, core_right = np.linalg.qr(right.T)
    u, s, v = np.linalg.svd(core_left @ core_right.T)
    kept = int(np.count_nonzero(s[:most] > least * s[0]))
    return q_left @ u[:, :kept], s[:kept], v[:kept] @ q_right.T


def _signed(rows: Floats) -> tuple[Floats, Floats]:
    """Return rows whose largest entries are positive, and the signs that they were given."""
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
    return rows * signs[:, None], signs
