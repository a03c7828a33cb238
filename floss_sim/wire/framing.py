"""Message frame: header, payload, checksum.

Version 3, little endian::

    offset  bytes  field
    0       4      magic b"FLSS"
    4       1      format version, 3
    5       1      index code (see ``index_codes``)
    6       1      value code (see ``value_codes``)
    7       1      flags: 1 positions are counted in the known mask, which both ends hold;
                   2 values are packed (see ``value_packing``)
    8       8      layout digest
    16      4      entries sent, k (uint32)
    20      4      bytes of the index section (uint32)
    24      ...    index section, then value section: the payload
    end-4   4      CRC-32 of everything before it, then of the packed known mask if there is one,
                   then of the packed held mask if the index code is *held*

A reader refuses any other version, code, flag, digest, length or mask, so that a frame has exactly
one meaning.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.vectors.top_k import Mask
from floss_sim.wire.index_codes import HELD

MAGIC = b"FLSS"
FORMAT_VERSION = 3
_HEADER = struct.Struct("<4sBBBB8sII")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size
KNOWN, _PACKED = 1, 2  # bits of the flags field


@dataclass(frozen=True)
class Frame:
    """Header fields of a message, with its index section and its value section."""

    index_code: int
    value_code: int
    packed: bool
    digest: bytes
    count: int
    index: memoryview
    values: memoryview


def _checksum(parts: Sequence[bytes | memoryview], masks: Sequence[Mask | None]) -> int:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    for mask_N in masks:
        crc = crc if mask_N is None else zlib.crc32(np.packbits(mask_N).tobytes(), crc)
    return crc


def _masks(frame: Frame, known_N: Mask | None, held_N: Mask | None) -> Sequence[Mask | None]:
    return known_N, held_N if frame.index_code == HELD else None


def pack(frame: Frame, known_N: Mask | None = None, held_N: Mask | None = None) -> bytes:
    """Return the bytes of a message.

    Args:
        frame: Fields and sections of the message.
        known_N: Known mask in which positions are counted; None for all entries.
        held_N: Held mask, part of the checksum if the index code is *held*; None if there is none.
    """
    flags = KNOWN * (known_N is not None) | _PACKED * frame.packed
    header = _HEADER.pack(
        MAGIC, FORMAT_VERSION, frame.index_code, frame.value_code, flags, frame.digest,
        frame.count, len(frame.index),
    )  # fmt: skip
    parts = header, frame.index, frame.values
    return b"".join((*parts, _CRC.pack(_checksum(parts, _masks(frame, known_N, held_N)))))


def unpack(
    blob: bytes, digest: bytes, known_N: Mask | None = None, held_N: Mask | None = None
) -> Frame:
    """Return the fields of a message after checking its layout, its masks and its checksum.

    Args:
        blob: Bytes of the message.
        digest: Digest of the reader's layout.
        known_N: Known mask that the reader holds; None if there is none.
        held_N: Held mask that the reader holds; None if there is none.

    Raises:
        PayloadError: The message is truncated or damaged, or has a different format, version,
            layout or mask.
    """
    frame, flags = fields(blob)
    if bool(flags & KNOWN) != (known_N is not None):
        needs = "needs" if flags & KNOWN else "was written without"
        raise PayloadError(f"message {needs} a known mask (one that both ends hold)")
    masks = _masks(frame, known_N, held_N)
    view = memoryview(blob)
    if _checksum([view[: -_CRC.size]], masks) != _CRC.unpack_from(view, len(view) - _CRC.size)[0]:
        raise PayloadError("message is damaged or was written with another mask: checksums differ")
    if frame.digest != digest:
        raise PayloadError("message belongs to another layout")
    return frame


def fields(blob: bytes) -> tuple[Frame, int]:
    """Return the fields and the flags of a message without verifying its checksum.

    Raises:
        PayloadError: The message is truncated, or has a different format or version.
    """
    if len(blob) < OVERHEAD_BYTES:
        raise PayloadError(f"message of {len(blob)} bytes is shorter than its frame")
    magic, version, index_code, value_code, flags, digest, count, split = _HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise PayloadError("not a floss-sim message")
    if version != FORMAT_VERSION:
        raise PayloadError(f"message has format version {version}; valid: {FORMAT_VERSION}")
    if flags > KNOWN | _PACKED:
        raise PayloadError(f"message has unknown flags {flags:#04x}")
    payload = memoryview(blob)[_HEADER.size : -_CRC.size]
    if split > len(payload):
        raise PayloadError(f"index section of {split} bytes exceeds the payload of {len(payload)}")
    packed = bool(flags & _PACKED)
    frame = Frame(index_code, value_code, packed, digest, count, payload[:split], payload[split:])
    return frame, flags
