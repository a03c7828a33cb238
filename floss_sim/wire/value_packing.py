"""Lossless packing of numbers with the library *pcodec* (Loncaric 2025); no other module uses it.

Numbers are stored in pcodec's wrapped format, classic mode, without delta encoding: a header of two
bytes, then chunks of 2**18 numbers (the last one shorter). A chunk is its meta and one page. The
reader knows the count and the type of the numbers, and decodes into an array that it allocates.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pcodec
from numpy.typing import DTypeLike, NDArray
from pcodec import wrapped

from floss_sim.errors import PayloadError

_CHUNK = 1 << 18  # numbers per chunk
_LEVEL = 8  # compression level; higher ones do not reduce the size further
_MOST_META = 1 << 17  # bytes; a generous bound on a chunk's meta
_PLAIN = 0  # first byte of a chunk in classic mode without delta encoding
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
    """Return packed numbers; their type is float32, float16 or int16."""
    parts = [_HEADER]
    for start in range(0, numbers_K.size, _CHUNK):
        part = np.ascontiguousarray(numbers_K[start : start + _CHUNK])
        chunk = _COMPRESSOR.chunk_compressor(part, _config(part.size))
        parts += [chunk.write_meta(), chunk.write_page(0)]
    return b"".join(parts)


def unpack_numbers(section: memoryview, count: int, dtype: DTypeLike) -> NDArray[np.generic]:
    """Return ``count`` numbers of a type, unpacked.

    Raises:
        PayloadError: The bytes are not exactly ``count`` packed numbers of this type.
    """
    numbers_K = np.empty(count, dtype=dtype)
    name, data = _NAMES[numbers_K.dtype], bytes(section)
    try:
        file, at = wrapped.FileDecompressor.new(data)
        for start in range(0, count, _CHUNK):
            part = numbers_K[start : start + _CHUNK]
            most = at + 2 * part.nbytes + _MOST_META
            if data[at : at + 1] != bytes([_PLAIN]):
                raise PayloadError("packed values are not in classic mode without delta encoding")
            chunk, read = file.chunk_decompressor(data[at:most], name)
            at += read
            progress, read = chunk.read_page_into(data[at:most], part.size, part)
            at += read
            if progress.n_processed != part.size or not progress.finished:
                raise PayloadError(f"there are fewer than {count} packed values")
    except RuntimeError:
        raise PayloadError("packed values are damaged") from None
    if at != len(data):
        raise PayloadError(f"{len(data) - at} bytes follow the packed values")
    return numbers_K
