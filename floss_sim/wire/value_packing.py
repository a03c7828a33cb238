"""Lossless packing of numbers by the library *pcodec* (Loncaric 2025), the only user of it.

What is packed is its wrapped format in classic mode without delta encoding: a header of two bytes,
then chunks of 2**18 numbers (the last one shorter), each a chunk's meta and one page. A reader
knows how many numbers of which type there are, and fills an array that it has made itself.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pcodec
from numpy.typing import DTypeLike, NDArray
from pcodec import wrapped

from floss_sim.errors import PayloadError

_CHUNK = 1 << 18
_LEVEL = 8  # where the size has stopped to fall
_MOST_META = 1 << 17  # bytes, generously
_PLAIN = 0  # a chunk's first byte: classic mode, no delta encoding
_NAMES = {np.dtype(np.float32): "f32", np.dtype(np.float16): "f16", np.dtype(np.int16): "i16"}
_COMPRESSOR = wrapped.FileCompressor()
_HEADER = _COMPRESSOR.write_header()


@lru_cache(maxsize=64)
def _config(count: int) -> pcodec.ChunkConfig:
    return pcodec.ChunkConfig(
        compression_level=_LEVEL,
        mode_spec=pcodec.ModeSpec.classic(),
        delta_spec=pcodec.DeltaSpec.no_op(),
        paging_spec=pcodec.PagingSpec.exact_page_sizes([count]),
    )


def pack_numbers(numbers_K: NDArray[np.generic]) -> bytes:
    """Return numbers of a type in the table above, packed."""
    parts = [_HEADER]
    for start in range(0, numbers_K.size, _CHUNK):
        part = np.ascontiguousarray(numbers_K[start : start + _CHUNK])
        chunk = _COMPRESSOR.chunk_compressor(part, _config(part.size))
        parts += [chunk.write_meta(), chunk.write_page(0)]
    return b"".join(parts)


def unpack_numbers(section: memoryview, count: int, dtype: DTypeLike) -> NDArray[np.generic]:
    """Return ``count`` packed numbers.

    Raises:
        PayloadError: The bytes are not just these numbers, packed as above.
    """
    numbers_K = np.empty(count, dtype=dtype)
    name, data = _NAMES[numbers_K.dtype], bytes(section)
    try:
        file, at = wrapped.FileDecompressor.new(data)
        for start in range(0, count, _CHUNK):
            part = numbers_K[start : start + _CHUNK]
            most = at + 2 * part.nbytes + _MOST_META
            if data[at : at + 1] != bytes([_PLAIN]):
                raise PayloadError("packed values are in a mode of their own")
            chunk, read = file.chunk_decompressor(data[at:most], name)
            at += read
            progress, read = chunk.read_page_into(data[at:most], part.size, part)
            at += read
            if progress.n_processed != part.size or not progress.finished:
                raise PayloadError(f"packed values are fewer than {count}")
    except RuntimeError:
        raise PayloadError("packed values are damaged") from None
    if at != len(data):
        raise PayloadError(f"{len(data) - at} bytes behind the packed values")
    return numbers_K
