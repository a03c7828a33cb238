"""The frame around every message: header, body, checksum.

Version 1, little endian::

    offset  bytes  field
    0       4      magic b"FLSS"
    4       1      format version, 1
    5       1      index code (see ``index_codes``)
    6       1      value code; 0 = fp32
    7       1      reserved, 0
    8       8      layout digest
    16      4      entries sent, k (uint32)
    20      ...    index section, then value section
    end-4   4      CRC-32 of everything before it

A reader refuses any other version, code, digest or length: one frame has one meaning.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from floss_sim.errors import PayloadError

MAGIC = b"FLSS"
FORMAT_VERSION = 1
FP32 = 0
_HEADER = struct.Struct("<4sBBBB8sI")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size


@dataclass(frozen=True)
class Frame:
    """The fields of a message whose checksum, version and layout have been verified."""

    index_code: int
    count: int
    body: memoryview


def pack(index_code: int, layout_digest: bytes, count: int, body: bytes) -> bytes:
    """Return the framed bytes of a message body."""
    header = _HEADER.pack(MAGIC, FORMAT_VERSION, index_code, FP32, 0, layout_digest, count)
    return header + body + _CRC.pack(zlib.crc32(body, zlib.crc32(header)))


def unpack(blob: bytes, layout_digest: bytes) -> Frame:
    """Return the frame of a message of the expected layout.

    Raises:
        PayloadError: Truncated, damaged, another format or version, or another layout.
    """
    if len(blob) < OVERHEAD_BYTES:
        raise PayloadError(f"message of {len(blob)} bytes is shorter than its frame")
    magic, version, index_code, value_code, reserved, digest, count = _HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise PayloadError("not a floss-sim message")
    if version != FORMAT_VERSION:
        raise PayloadError(f"message format {version} is not {FORMAT_VERSION}")
    view = memoryview(blob)
    (crc,) = _CRC.unpack_from(blob, len(blob) - _CRC.size)
    if zlib.crc32(view[: -_CRC.size]) != crc:
        raise PayloadError("message is damaged: its checksum does not match")
    if digest != layout_digest:
        raise PayloadError("message belongs to another layout")
    if value_code != FP32 or reserved:
        raise PayloadError(f"unknown value code {value_code} or reserved byte {reserved}")
    return Frame(index_code, count, view[_HEADER.size : -_CRC.size])
