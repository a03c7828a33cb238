"""Footer of a Parquet file without statistics, which are not needed and not safe to parse.

Where lengths within the statistics contradict each other, Arrow ends the process when it is asked
for the size of a column. So the footer is copied without them, field by field in Thrift's compact
protocol, before Arrow parses it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

_MAGIC = b"PAR1"
_MAX_BYTES = 1 << 28  # of a footer
_MAX_DEPTH = 16  # of Thrift structs and lists
# Types of Thrift's compact protocol.
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I64, _DOUBLE, _BINARY = 0, 1, 2, 3, 4, 6, 7, 8
_LIST, _SET, _STRUCT = 9, 10, 12
# Field numbers in Parquet's definition: of the footer its row groups, of those the columns, of
# those the metadata.
_COLUMN = (4, 1)
_METADATA = (4, 1, 3)
_DROPPED = {
    _COLUMN: {4, 5, 6, 7},  # offset index and column index
    _METADATA: {12, 14, 15, 16, 17},  # statistics, Bloom filter, sizes, geography
}


def plain_footer(file: IO[bytes]) -> bytes:
    """Return a Parquet file without columns: the footer of ``file`` without its statistics.

    Raises:
        ValueError: The file is not Parquet, is encrypted, or has a damaged footer.
    """
    size = file.seek(0, 2)
    if size < 12:
        raise ValueError("it is too short for a Parquet file")
    file.seek(size - 8)
    length, magic = struct.unpack("<I4s", file.read(8))
    if magic == b"PARE":
        raise ValueError("it is encrypted")
    if magic != _MAGIC:
        raise ValueError("it is no Parquet file: its last bytes are not PAR1")
    if not 0 < length <= min(size - 12, _MAX_BYTES):
        raise ValueError(f"its footer states {length} bytes, in a file of {size}")
    file.seek(size - 8 - length)
    copy = _Copy(file.read(length))
    try:
        copy.struct((), 0)
    except IndexError:
        raise ValueError("its footer ends too early") from None
    return _MAGIC + copy.out + struct.pack("<I", len(copy.out)) + _MAGIC


@dataclass
class _Copy:
    """A footer that is copied while it is read; ``at`` is the position of the next byte."""

    blob: bytes
    at: int = 0

    def __post_init__(self) -> None:
        self.out = bytearray()

    def struct(self, path: tuple[int, ...], depth: int) -> None:
        """Copy a struct without the fields that are dropped; ``path`` holds the fields above."""
        if depth > _MAX_DEPTH:
            raise ValueError("its footer is nested too deeply")
        dropped, field, written = _DROPPED.get(path, set()), 0, 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            field = field + delta if delta else self._number()
            begin = len(self.out)
            self._field_head(field, field - written, kind)
            self._value(kind, (*path, field), depth + 1, in_list=False)
            if field in dropped:
                del self.out[begin:]
            else:
                written = field
        self.out.append(_STOP)

    def _field_head(self, field: int, delta: int, kind: int) -> None:
        if 0 < delta < 16:
            self.out.append(delta << 4 | kind)
        else:
            self.out.append(kind)
            self._write((field << 1) ^ (field >> 63))

    def _value(self, kind: int, path: tuple[int, ...], depth: int, *, in_list: bool) -> None:
        if kind in (_TRUE, _FALSE):
            self._copy(1 if in_list else 0)
        elif kind == _BYTE:
            self._copy(1)
        elif _I16 <= kind <= _I64:
            self._write(self._varint())
        elif kind == _DOUBLE:
            self._copy(8)
        elif kind == _BINARY:
            length = self._varint()
            self._write(length)
            self._copy(length)
        elif kind in (_LIST, _SET):
            self._list(path, depth)
        elif kind == _STRUCT:
            self.struct(path, depth)
        else:
            raise ValueError(f"its footer has a field of unknown type {kind}")

    def _list(self, path: tuple[int, ...], depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError("its footer is nested too deeply")
        head = self._byte()
        self.out.append(head)
        count, kind = head >> 4, head & 15
        if count == 15:
            count = self._varint()
            self._write(count)
        if count > len(self.blob) - self.at:
            raise ValueError("its footer ends too early")
        for _ in range(count):
            self._value(kind, path, depth + 1, in_list=True)

    def _byte(self) -> int:
        byte = self.blob[self.at]
        self.at += 1
        return byte

    def _copy(self, length: int) -> None:
        if length > len(self.blob) - self.at:
            raise ValueError("its footer ends too early")
        self.out += self.blob[self.at : self.at + length]
        self.at += length

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("its footer has a number of more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _write(self, value: int) -> None:
        while value > 127:
            self.out.append(value & 127 | 128)
            value >>= 7
        self.out.append(value)
