"""Contents of a message: its codes, its bytes, and the bytes that each part alone would take.

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
    HEAD_BIAS,
    HEAD_WEIGHT,
    LORA_A,
    LORA_B,
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
    "head": (HEAD_WEIGHT, HEAD_BIAS),
    "adapter": (LORA_A, LORA_B),
    "A": (LORA_A,),
    "B": (LORA_B,),
    "biases": (BIAS,),
    "weights": (WEIGHT,),
}


@dataclass(frozen=True)
class Contents:
    """What a message says of itself.

    Attributes:
        version: Of the format.
        index: Name of its index code.
        values: Name of its value code.
        packed: Whether values are packed.
        needs: The masks without which it cannot be read: ``"known"``, ``"held"``.
        digest: Of its layout.
        entries: How many it carries.
        index_bytes: Of its positions.
        value_bytes: Of its values, scales included.
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
        """``"lossless"``, ``"unbiased"`` or ``"biased"``: how values are decoded."""
        return VALUE_CODES[self.values].kind

    @property
    def payload_bytes(self) -> int:
        """Positions and values."""
        return self.index_bytes + self.value_bytes

    @property
    def nbytes(self) -> int:
        """The payload in its frame: what an encoder returns."""
        return self.payload_bytes + framing.OVERHEAD_BYTES


@dataclass(frozen=True)
class MessagePart:
    """A part of a layout, and the message that would carry what is sent of it alone.

    Attributes:
        name: Such as ``"head"`` or ``"A"``.
        universe: Its entries.
        alone: The message, whose positions are counted in the part.
    """

    name: str
    universe: int
    alone: Contents


def contents(blob: bytes) -> Contents:
    """Return what is in a message; the checksum is verified where it covers no mask.

    Raises:
        PayloadError: The bytes are not a message, or a damaged one.
    """
    frame, flags = framing.fields(blob)
    if frame.index_code not in _INDEX_NAMES or frame.value_code not in _VALUE_NAMES:
        raise PayloadError(f"unknown codes {frame.index_code} and {frame.value_code}")
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
    """Return what a message that needs no mask carries of head, adapter, A and B.

    Each part is really encoded alone, in the message's value code and the smallest index code.

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
            keep_zeros=True,  # what was sent is sent again
            draw=stream(0, "wire", "parts"),
        )
        found.append(MessagePart(name, part.entries, contents(alone)))
    return found
