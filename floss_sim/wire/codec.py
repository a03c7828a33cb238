"""Encode and decode one message: a value code, and the smallest index code for positions.

Positions are counted among the entries that the receiver knows to be candidates: all N, or those
of a mask that both ends hold (``known_N``). Where just the known entries are sent, positions cost
nothing.

Shapes: ``values_N`` float32, ``mask_N`` and ``known_N`` bool over a layout of N entries.
"""

from __future__ import annotations

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.layout import Layout
from floss_sim.sparsity import Mask, Vector
from floss_sim.wire import framing
from floss_sim.wire.index_codes import BITMAP, DENSE, INDEX32, INDEX_CODES
from floss_sim.wire.value_codes import BY_CODE, VALUE_CODES, ValueCode


def _choose(universe: int, count: int, values: ValueCode, keep_zeros: bool) -> tuple[int, int]:
    """Return (bytes of both sections, index code) of the smallest message; ties: lowest code.

    A dense message fills gaps with zeros, which would lose a mask that is information itself.
    """
    hides_mask = keep_zeros and count < universe
    sizes = [
        (
            INDEX_CODES[code].nbytes(universe, count)
            + values.nbytes(universe if code == DENSE else count),
            code,
        )
        for code in (DENSE, BITMAP, INDEX32)
        if code != DENSE or not hides_mask
    ]
    return min(sizes)


def predict_nbytes(
    universe: int, count: int, values: str = "fp32", keep_zeros: bool = False
) -> int:
    """Return the bytes of a message that sends ``count`` non-zero values of ``universe`` entries.

    Exact for the encoder below; fewer non-zero values never make a message larger, so it is an
    upper bound for a selection of ``count`` entries that holds exact zeros.

    Args:
        universe: Entries among which the receiver looks: all, or those of a known mask.
        count: Entries that are sent.
        values: A key of ``VALUE_CODES``.
        keep_zeros: As in :func:`encode`; the size is then exact whatever the values.
    """
    sections, _ = _choose(universe, count, VALUE_CODES[values], keep_zeros)
    return framing.OVERHEAD_BYTES + sections


def encode(
    layout: Layout,
    values_N: Vector,
    mask_N: Mask,
    *,
    values: str = "fp32",
    known_N: Mask | None = None,
    keep_zeros: bool = False,
    draw: np.random.Generator | None = None,
) -> bytes:
    """Return the message that carries the values under a mask.

    Args:
        layout: Names the entries.
        values_N: The values.
        mask_N: The entries to be sent.
        values: A key of ``VALUE_CODES``.
        known_N: A mask that the receiver holds and that contains ``mask_N``.
        keep_zeros: Send exact zeros too, because the mask itself is information; otherwise they
            (and -0.0) are dropped.
        draw: Draws the stochastic rounding of a lossy value code.

    Raises:
        ValueError: Shapes differ from the layout's, the mask leaves the known one, a selected
            value is not finite, or a lossy code lacks its draw.
    """
    if values_N.shape != (layout.entries,) or mask_N.shape != (layout.entries,):
        raise ValueError(f"expected {layout.entries} values and mask entries")
    code = VALUE_CODES[values]
    if draw is None and not code.lossless:
        raise ValueError(f"value code {values!r} rounds at random and needs a draw")
    if known_N is not None:
        if (mask_N & ~known_N).any():
            raise ValueError("an entry to be sent is outside the known mask")
        values_N, mask_N = values_N[known_N], mask_N[known_N]
    sent_U = mask_N if keep_zeros else mask_N & (values_N != 0)
    sent = values_N[sent_U]
    if not np.isfinite(sent).all():
        raise ValueError("a value to be sent is not finite")
    _, index = _choose(values_N.size, sent.size, code, keep_zeros)
    if index == DENSE:
        sent_U, sent = np.ones_like(sent_U), np.where(sent_U, values_N, np.float32(0))
    body = INDEX_CODES[index].write(sent_U) + code.write(sent, draw or np.random.default_rng(0))
    return framing.pack(index, code.code, layout.digest, sent.size, body, known_N)


def decode(layout: Layout, blob: bytes, known_N: Mask | None = None) -> tuple[Vector, Mask]:
    """Return (values_N, mask_N) of a message; entries that were not sent are zero.

    Args:
        layout: Names the entries.
        blob: The message.
        known_N: The mask that it was written against, if it was.

    Raises:
        PayloadError: The bytes are not a message of this layout and known mask, whatever they are.
    """
    frame = framing.unpack(blob, layout.digest, known_N)
    index, values = INDEX_CODES.get(frame.index_code), BY_CODE.get(frame.value_code)
    if index is None or values is None:
        what = "index" if index is None else "value"
        raise PayloadError(f"unknown {what} code in a message of layout {layout.digest.hex()}")
    candidates = None if known_N is None else np.flatnonzero(known_N)
    universe = layout.entries if candidates is None else candidates.size
    if frame.count > universe:
        raise PayloadError(f"message of {frame.count} values among {universe} entries")
    split = index.nbytes(universe, frame.count)
    if len(frame.body) != split + values.nbytes(frame.count):
        raise PayloadError(f"body of {len(frame.body)} bytes does not hold {frame.count} values")
    positions = index.read(frame.body[:split], universe, frame.count)
    with np.errstate(over="ignore", invalid="ignore"):
        sent = values.read(frame.body[split:], frame.count).astype(np.float32)
    if not np.isfinite(sent).all():
        raise PayloadError("message holds a value that is not finite")
    if candidates is not None:
        positions = candidates[positions]
    values_N = np.zeros(layout.entries, dtype=np.float32)
    mask_N = np.zeros(layout.entries, dtype=bool)
    values_N[positions] = sent
    mask_N[positions] = True
    return values_N, mask_N


def sent_entries(layout: Layout, blob: bytes, known_N: Mask | None = None) -> int:
    """Return how many entries a message of this layout and known mask carries.

    Raises:
        PayloadError: The frame is not one of them.
    """
    return framing.unpack(blob, layout.digest, known_N).count
