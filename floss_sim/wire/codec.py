"""Encoder and decoder of one message: a value code, and the smallest index code for positions.

Positions are counted in the universe: all N entries, or the entries of the *known* mask
(``known_N``), which both ends hold and which contains every sent entry. If the whole universe is
sent, positions cost no bytes. The *held* mask (``held_N``) is another mask that both ends hold; it
need not contain the sent entries. Positions inside and outside the held mask are coded with
separate densities where that takes fewer bytes.

Shapes: ``values_N`` float32, ``mask_N``, ``known_N``, ``held_N`` bool over a layout of N entries.
"""

from __future__ import annotations

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import framing, index_codes
from floss_sim.wire.cells import Universe
from floss_sim.wire.index_codes import INDEX_CODES
from floss_sim.wire.value_codes import VALUE_CODES, VALUE_CODES_BY_NUMBER


def encode(
    layout: Layout,
    values_N: Vector,
    mask_N: Mask,
    *,
    values: str = "fp32",
    index: str | None = None,
    known_N: Mask | None = None,
    held_N: Mask | None = None,
    keep_zeros: bool = False,
    draw: np.random.Generator | None = None,
) -> bytes:
    """Return the message that carries the values selected by a mask.

    Args:
        layout: Layout of the N entries.
        values_N: Values of all entries; only the selected ones are sent.
        mask_N: True for the entries to be sent.
        values: Value code, a key of ``VALUE_CODES``.
        index: Index code, a key of ``INDEX_CODES``; by default the one of the smallest message.
        known_N: Mask that the receiver also holds and that contains ``mask_N``; None for all
            entries.
        held_N: Mask that the receiver also holds and that resembles ``mask_N``; None if there is
            none.
        keep_zeros: Whether exact zeros are sent, because the mask itself is information; by
            default zeros (and -0.0) are dropped.
        draw: Random generator for the stochastic rounding of an unbiased value code; other value
            codes need none.

    Raises:
        ValueError: A shape differs from the layout's, ``mask_N`` has an entry outside
            ``known_N``, a selected value is not finite, an unbiased value code lacks its
            generator, or the index code cannot write this mask.
    """
    if values_N.shape != (layout.entries,) or mask_N.shape != (layout.entries,):
        raise ValueError(f"expected {layout.entries} values and mask entries, as in the layout")
    code = VALUE_CODES[values]
    if draw is None and code.rounds_at_random:
        raise ValueError(f"value code {values!r} rounds at random and needs a generator")
    if known_N is not None:
        if (mask_N & ~known_N).any():
            raise ValueError("an entry to be sent is outside the known mask")
        values_N, mask_N = values_N[known_N], mask_N[known_N]
    positions_K = mask_N.nonzero()[0]
    sent_K = values_N.take(positions_K)
    if not keep_zeros and not sent_K.all():
        positions_K = positions_K[sent_K != 0]
        sent_K = values_N.take(positions_K)
    if not np.isfinite(sent_K).all():
        raise ValueError("a value to be sent is not finite")
    universe = Universe(layout, known_N, held_N)
    chosen, section = index_codes.write(
        universe, positions_K, INDEX_CODES[index] if index else None
    )
    symbols, packed = code.write(sent_K, draw)
    frame = framing.Frame(
        chosen,
        code.code,
        packed,
        layout.digest,
        sent_K.size,
        memoryview(section),
        memoryview(symbols),
    )
    return framing.pack(frame, known_N, held_N)


def decode(
    layout: Layout, blob: bytes, known_N: Mask | None = None, held_N: Mask | None = None
) -> tuple[Vector, Mask]:
    """Return (values_N, mask_N) of a message; entries that were not sent are zero.

    Args:
        layout: Layout of the N entries.
        blob: Bytes of the message.
        known_N: Known mask with which the message was encoded; None if there was none.
        held_N: Held mask that the encoder may have used; None if there was none.

    Raises:
        PayloadError: The bytes are not a message of this layout and these masks. No other error
            is raised, whatever the bytes are.
    """
    frame = framing.unpack(blob, layout.digest, known_N, held_N)
    universe = Universe(layout, known_N, held_N)
    if frame.value_code not in VALUE_CODES_BY_NUMBER:
        raise PayloadError(f"unknown value code {frame.value_code}")
    if frame.count > universe.size:
        raise PayloadError(f"message has {frame.count} values among {universe.size} entries")
    positions_K = index_codes.read(universe, frame.index_code, frame.index, frame.count)
    sent_K = VALUE_CODES_BY_NUMBER[frame.value_code].read(frame.values, frame.count, frame.packed)
    if known_N is not None:
        positions_K = np.flatnonzero(known_N)[positions_K]
    values_N = np.zeros(layout.entries, dtype=np.float32)
    mask_N = np.zeros(layout.entries, dtype=bool)
    values_N[positions_K] = sent_K
    mask_N[positions_K] = True
    return values_N, mask_N


def sent_entries(blob: bytes) -> int:
    """Return the number of entries that a message carries.

    Raises:
        PayloadError: The bytes are not a message.
    """
    return framing.fields(blob)[0].count
