"""Contents of a message: its codes, its byte counts, and the size of each part encoded alone.

Shapes: ``values_N`` float32 and ``mask_N`` bool over a layout of N entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.rng import stream
from floss_sim.vectors.layout import (
    BIAS,
    HEAD_KINDS,
    LORA_A,
    LORA_B,
    MAGNITUDE,
    SEEDS,
    SQUARE,
    WEIGHT,
    Layout,
)
from floss_sim.wire import framing
from floss_sim.wire.codec import decode, encode
from floss_sim.wire.index_codes import HELD, INDEX_CODES
from floss_sim.wire.value_codes import VALUE_CODES

_INDEX_NAMES = {code: name for name, code in INDEX_CODES.items()}
_VALUE_NAMES = {code.code: name for name, code in VALUE_CODES.items()}
_PARTS: Mapping[str, tuple[str, ...]] = {
    "head": HEAD_KINDS,
    "adapter": (LORA_A, LORA_B, SQUARE, MAGNITUDE),
    "A": (LORA_A,),
    "B": (LORA_B,),
    "R": (SQUARE,),
    "scalars": (SEEDS,),
    "magnitude": (MAGNITUDE,),
    "biases": (BIAS,),
    "weights": (WEIGHT,),
}


@dataclass(frozen=True)
class Contents:
    """Header fields and byte counts of a message.

    Attributes:
        version: Version of the message format.
        index: Name of the index code.
        values: Name of the value code.
        packed: Whether values are packed.
        needs: Masks that a reader needs: ``"known"``, ``"held"``, both or none.
        digest: Digest of the layout.
        entries: Number of entries that the message carries.
        index_bytes: Bytes of the index section (positions).
        value_bytes: Bytes of the value section, scales included.
    """

    version: int
    index: str
    values: str
    packed: bool
    needs: tuple[str, ...]
    digest: bytes
    entries: int
    index_bytes: int
    value_bytes: int

    @property
    def kind(self) -> str:
        """Kind of the value code: ``"lossless"``, ``"unbiased"`` or ``"biased"``."""
        return VALUE_CODES[self.values].kind

    @property
    def payload_bytes(self) -> int:
        """Bytes of positions and values together."""
        return self.index_bytes + self.value_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the whole message: the payload and its frame."""
        return self.payload_bytes + framing.OVERHEAD_BYTES


@dataclass(frozen=True)
class MessagePart:
    """Part of a layout, with the message that would carry only the sent entries of this part.

    Attributes:
        name: Name of the part, such as ``"head"`` or ``"A"``.
        universe: Number of entries of the part.
        alone: Contents of the message; its positions are counted within the part.
    """

    name: str
    universe: int
    alone: Contents


def contents(blob: bytes) -> Contents:
    """Return the contents of a message; the checksum is verified unless it covers a mask.

    Raises:
        PayloadError: The bytes are not a message, or the message is damaged.
    """
    frame, flags = framing.fields(blob)
    if frame.index_code not in _INDEX_NAMES or frame.value_code not in _VALUE_NAMES:
        raise PayloadError(f"unknown index or value code: {frame.index_code}, {frame.value_code}")
    masks = {"known": flags & framing.KNOWN, "held": frame.index_code == HELD}
    needs = tuple(name for name, needed in masks.items() if needed)
    if not needs:
        framing.unpack(blob, frame.digest)
    return Contents(
        framing.FORMAT_VERSION,
        _INDEX_NAMES[frame.index_code],
        _VALUE_NAMES[frame.value_code],
        frame.packed,
        needs,
        frame.digest,
        frame.count,
        len(frame.index),
        len(frame.values),
    )


def parts(layout: Layout, blob: bytes) -> list[MessagePart]:
    """Return the parts of a message that needs no mask: head, adapter, A, B, biases, weights.

    Each part is encoded alone, with the message's value code and the smallest index code. Parts
    that the layout lacks are left out.

    Raises:
        PayloadError: The bytes are not a message of this layout.
    """
    values = contents(blob).values
    values_N, mask_N = decode(layout, blob)
    found = []
    for name, kinds in _PARTS.items():
        chosen = [tensor.kind in kinds for tensor in layout.tensors]
        tensors = tuple(t for t, taken in zip(layout.tensors, chosen, strict=True) if taken)
        if not tensors:
            continue
        part, part_N = Layout(tensors), np.repeat(chosen, layout.tensor_sizes)
        alone = encode(
            part,
            values_N[part_N],
            mask_N[part_N],
            values=values,
            keep_zeros=True,  # lossy codes may decode a sent entry to zero
            draw=stream(0, "wire", "parts"),
        )
        found.append(MessagePart(name, part.entries, contents(alone)))
    return found
