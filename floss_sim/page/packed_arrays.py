"""Packed arrays: numbers of a page as one compressed text, each array stored once.

The text is base64 of gzip of the arrays' little-endian bytes, one after another. A browser
unpacks it with ``atob`` and ``DecompressionStream``.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 8  # bytes
_TYPES = {"<f8": "Float64Array", "<u4": "Uint32Array", "<u2": "Uint16Array"}
_MOST_OF = (("<u2", 2**16 - 1), ("<u4", 2**32 - 1))


@dataclass
class PackedArrays:
    """Arrays to be packed; an array that begins another one is stored with it.

    Add longer arrays first, so that shorter ones are found in them.
    """

    _types: list[str] = field(default_factory=list)
    _blobs: list[bytes] = field(default_factory=list)

    def add(self, values: NDArray[Any]) -> int:
        """Return the number of the stored array that begins with these values.

        Whole numbers from 0 take two or four bytes each if that holds them, other values eight.
        """
        kind = _type_of(values)
        blob = np.ascontiguousarray(values, dtype=kind).tobytes()
        for number, known in enumerate(self._blobs):
            if self._types[number] == kind and known.startswith(blob):
                return number
        self._types.append(kind)
        self._blobs.append(blob)
        return len(self._blobs) - 1

    def index(self) -> list[tuple[str, int, int]]:
        """Return type, first byte and number of values of each array, by number."""
        found, begin = [], 0
        for kind, blob in zip(self._types, self._blobs, strict=True):
            found.append((_TYPES[kind], begin, len(blob) // np.dtype(kind).itemsize))
            begin += _padded(len(blob))
        return found

    def text(self) -> str:
        """Return all arrays as base64 of their compressed bytes."""
        blob = b"".join(blob.ljust(_padded(len(blob)), b"\0") for blob in self._blobs)
        return base64.b64encode(gzip.compress(blob, 9, mtime=0)).decode("ascii")


def _type_of(values: NDArray[Any]) -> str:
    if values.dtype.kind not in "iu" or (values.size and values.min() < 0):
        return "<f8"
    largest = int(values.max()) if values.size else 0
    return next((kind for kind, most in _MOST_OF if largest <= most), "<f8")


def _padded(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT
