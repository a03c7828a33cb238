"""Encode and decode one message: fp32 values under the smallest index code.

Shapes: ``values_N`` float32 and ``mask_N`` bool over a layout of N entries.
"""

from __future__ import annotations

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.layout import Layout
from floss_sim.sparsity import Mask, Vector
from floss_sim.wire import framing
from floss_sim.wire.index_codes import BITMAP, DENSE, INDEX32, INDEX_CODES

_VALUE_BYTES = 4
_VALUES = np.dtype("<f4")


def _choose(entries: int, nonzeros: int) -> tuple[int, int]:
    """Return (bytes of both sections, index code) of the smallest message; ties: lowest code."""
    sizes = [
        (
            INDEX_CODES[code].nbytes(entries, nonzeros)
            + _VALUE_BYTES * (entries if code == DENSE else nonzeros),
            code,
        )
        for code in (DENSE, BITMAP, INDEX32)
    ]
    return min(sizes)


def predict_nbytes(entries: int, count: int) -> int:
    """Return the bytes of a message that sends ``count`` non-zero values of ``entries``.

    Exact for the encoder below; fewer non-zero values never make a message larger, so it is an
    upper bound for a selection of ``count`` entries that holds exact zeros.
    """
    return framing.OVERHEAD_BYTES + _choose(entries, count)[0]


def encode(layout: Layout, values_N: Vector, mask_N: Mask) -> bytes:
    """Return the message that carries the values under a mask; exact zeros (and -0.0) are dropped.

    Raises:
        ValueError: Shapes differ from the layout's, or a selected value is not finite.
    """
    if values_N.shape != (layout.entries,) or mask_N.shape != (layout.entries,):
        raise ValueError(f"expected {layout.entries} values and mask entries")
    sent_N = mask_N & (values_N != 0)
    sent = values_N[sent_N]
    if not np.isfinite(sent).all():
        raise ValueError("a value to be sent is not finite")
    _, code = _choose(layout.entries, sent.size)
    if code == DENSE:
        sent_N, sent = np.ones_like(sent_N), np.where(sent_N, values_N, np.float32(0))
    body = INDEX_CODES[code].write(sent_N) + sent.astype(_VALUES).tobytes()
    return framing.pack(code, layout.digest, sent.size, body)


def decode(layout: Layout, blob: bytes) -> tuple[Vector, Mask]:
    """Return (values_N, mask_N) of a message; entries that were not sent are zero.

    Raises:
        PayloadError: The bytes are not a message of this layout, whatever they are.
    """
    frame = framing.unpack(blob, layout.digest)
    code = INDEX_CODES.get(frame.index_code)
    if code is None:
        raise PayloadError(f"unknown index code {frame.index_code}")
    if frame.count > layout.entries:
        raise PayloadError(f"message of {frame.count} values in a layout of {layout.entries}")
    split = code.nbytes(layout.entries, frame.count)
    if len(frame.body) != split + _VALUE_BYTES * frame.count:
        raise PayloadError(f"body of {len(frame.body)} bytes does not hold {frame.count} values")
    positions = code.read(frame.body[:split], layout.entries, frame.count)
    sent = np.frombuffer(frame.body[split:], _VALUES)
    if not np.isfinite(sent).all():
        raise PayloadError("message holds a value that is not finite")
    values_N = np.zeros(layout.entries, dtype=np.float32)
    mask_N = np.zeros(layout.entries, dtype=bool)
    values_N[positions] = sent
    mask_N[positions] = True
    return values_N, mask_N


def sent_entries(layout: Layout, blob: bytes) -> int:
    """Return how many entries a message of this layout carries.

    Raises:
        PayloadError: The frame is not one of this layout.
    """
    return framing.unpack(blob, layout.digest).count
