"""The frame around every message: header, body, checksum.

Version 1, little endian::

    offset  bytes  field
    0       4      magic b"FLSS"
    4       1      format version, 1
    5       1      index code (see ``index_codes``)
    6       1      value code (see ``value_codes``)
    7       1      1 where positions are counted in a mask that both ends hold, else 0
    8       8      layout digest
    16      4      entries sent, k (uint32)
    20      ...    index section, then value section
    end-4   4      CRC-32 of everything before it, then of the packed known mask if there is one

A reader refuses any other version, code, digest, length or known mask: one frame has one meaning.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.sparsity import Mask

MAGIC = b"FLSS"
FORMAT_VERSION = 1
_HEADER = struct.Struct("<4sBBBB8sI")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size


@dataclass(frozen=True)
class Frame:
    """The fields of a message whose checksum, version and layout have been verified."""

    index_code: int
    value_code: int
    count: int
    body: memoryview


def _checksum(known_N: Mask | None, *parts: bytes | memoryview) -> int:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc if known_N is None else zlib.crc32(np.packbits(known_N).tobytes(), crc)


def pack(
    index_code: int,
    value_code: int,
    layout_digest: bytes,
    count: int,
    body: bytes,
    known_N: Mask | None = None,
) -> bytes:
    """Return the framed bytes of a message body."""
    relative = known_N is not None
    header = _HEADER.pack(
        MAGIC, FORMAT_VERSION, index_code, value_code, relative, layout_digest, count
    )
    return header + body + _CRC.pack(_checksum(known_N, header, body))


def unpack(blob: bytes, layout_digest: bytes, known_N: Mask | None = None) -> Frame:
    """Return the frame of a message of the expected layout and known mask.

    Raises:
        PayloadError: Truncated, damaged, another format or version, another layout or mask.
    """
    if len(blob) < OVERHEAD_BYTES:
        raise PayloadError(f"message of {len(blob)} bytes is shorter than its frame")
    magic, version, index_code, value_code, relative, digest, count = _HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise PayloadError("not a floss-sim message")
    if version != FORMAT_VERSION:
        raise PayloadError(f"message format {version} is not {FORMAT_VERSION}")
    if relative != (known_N is not None):
        needs = "needs" if relative else "was written without"
        raise PayloadError(f"message {needs} a mask that both ends hold")
    view = memoryview(blob)
    (crc,) = _CRC.unpack_from(blob, len(blob) - _CRC.size)
    if _checksum(known_N, view[: -_CRC.size]) != crc:
        raise PayloadError("message is damaged, or its known mask is another: checksums differ")
    if digest != layout_digest:
        raise PayloadError("message belongs to another layout")
    return Frame(index_code, value_code, count, view[_HEADER.size : -_CRC.size])
