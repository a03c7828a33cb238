"""How the values of the sent entries are written.

=====  ====  ==========  =====================================  =================================
name   code  lossless    value section                          largest error of a value
=====  ====  ==========  =====================================  =================================
fp32   0     yes         k float32                              0
fp16   1     unbiased    scales, then k float16 of value/scale  2**-10 of the value [1]_
bf16   2     unbiased    k bfloat16                             2**-7 of the value [2]_
int8   3     unbiased    scales, then k signed bytes            1/127 of the bucket's maximum [2]_
int4   4     unbiased    scales, then k nibbles, low one first  1/7 of the bucket's maximum [2]_
=====  ====  ==========  =====================================  =================================

A scale is a float32 for each bucket of 512 consecutive sent values, made from their largest
magnitude (QSGD, Alistarh et al. 2017, with the maximum as the norm; FedPAQ, Reisizadeh et al.
2020). Every lossy code rounds stochastically: up or down with the probabilities that make the
expected decoded value the value itself (bf16: of all but the last half step below the largest
float32). Decoding rounds to float32, half a unit in the last place.

.. [1] Or 2e-12 of the bucket's maximum, whichever is larger.
.. [2] Or 1.2e-38, the smallest normal float32, whichever is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError
from floss_sim.sparsity import Vector

BUCKET = 512
_F32 = np.dtype("<f4")
_TINY = np.finfo(np.float32).tiny
_LARGEST = float(np.finfo(np.float32).max)
_HALF_RANGE = 2.0**15  # scaled halves stay below float16's 65504


@dataclass(frozen=True)
class ValueCode:
    """One way of writing k values: its size, its writer and its reader."""

    code: int
    lossless: bool
    nbytes: Callable[[int], int]
    write: Callable[[Vector, np.random.Generator], bytes]
    read: Callable[[memoryview, int], NDArray[np.float64] | Vector]


def _buckets(count: int) -> int:
    return -(-count // BUCKET)


def _scales(values_K: Vector, levels: float) -> Vector:
    """Return the scale of each bucket: its largest magnitude over the number of levels."""
    starts = np.arange(0, values_K.size, BUCKET)
    largest = np.maximum.reduceat(np.abs(values_K), starts) if values_K.size else values_K
    scales: Vector = np.maximum(largest / np.float32(levels), _TINY).astype(np.float32)
    return scales


def _spread(scales: Vector, count: int) -> Vector:
    return np.repeat(scales, BUCKET)[:count]


def _split(section: memoryview, count: int) -> tuple[Vector, memoryview]:
    end = 4 * _buckets(count)
    scales = np.frombuffer(section[:end], _F32)
    if not (scales > 0).all():
        raise PayloadError("message holds a scale that is not above zero")
    return _spread(scales, count), section[end:]


def _write_half(values_K: Vector, draw: np.random.Generator) -> bytes:
    scales = _scales(values_K, _HALF_RANGE)
    scaled = np.abs(values_K).astype(np.float64) / _spread(scales, values_K.size)
    low = scaled.astype(np.float16)
    low = np.where(low > scaled, np.nextafter(low, np.float16(0)), low)
    high = np.nextafter(low, np.float16(np.inf))
    gap = high.astype(np.float64) - low
    up = draw.random(values_K.size) * gap < scaled - low
    halves: NDArray[np.float16] = np.copysign(np.where(up, high, low), values_K).astype("<f2")
    return scales.astype(_F32).tobytes() + halves.tobytes()


def _read_half(section: memoryview, count: int) -> NDArray[np.float64]:
    scales, rest = _split(section, count)
    return np.frombuffer(rest, "<f2").astype(np.float64) * scales


def _write_bf16(values_K: Vector, draw: np.random.Generator) -> bytes:
    bits = values_K.view(np.uint32)
    magnitude = (bits & 0x7FFFFFFF) + draw.integers(0, 1 << 16, values_K.size, dtype=np.uint32)
    finite = np.minimum(magnitude >> 16, 0x7F7F)  # never infinity
    rounded: NDArray[np.uint32] = finite | (bits >> 31 << 15)
    return rounded.astype("<u2").tobytes()


def _read_bf16(section: memoryview, count: int) -> Vector:
    return (np.frombuffer(section, "<u2").astype(np.uint32) << 16).view(np.float32)


def _levels(
    values_K: Vector, levels: int, draw: np.random.Generator
) -> tuple[Vector, NDArray[np.int8]]:
    """Return the scales, and the values in units of them, rounded without bias."""
    # A scale that is rounded up could carry the largest float32 beyond the finite.
    most = np.nextafter(np.float32(_LARGEST / levels), np.float32(0))
    scales = np.minimum(_scales(values_K, levels), most)
    scaled = values_K.astype(np.float64) / _spread(scales, values_K.size)
    rounded = np.floor(scaled + draw.random(values_K.size))
    return scales, np.clip(rounded, -levels, levels).astype(np.int8)


def _write_int8(values_K: Vector, draw: np.random.Generator) -> bytes:
    scales, levels_K = _levels(values_K, 127, draw)
    return scales.astype(_F32).tobytes() + levels_K.tobytes()


def _read_int8(section: memoryview, count: int) -> NDArray[np.float64]:
    scales, rest = _split(section, count)
    return np.frombuffer(rest, np.int8).astype(np.float64) * scales


def _write_int4(values_K: Vector, draw: np.random.Generator) -> bytes:
    scales, levels_K = _levels(values_K, 7, draw)
    nibbles = np.pad((levels_K + 8).astype(np.uint8), (0, values_K.size % 2))
    packed = (nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8)
    section: bytes = scales.astype(_F32).tobytes() + packed.tobytes()
    return section


def _read_int4(section: memoryview, count: int) -> NDArray[np.float64]:
    scales, rest = _split(section, count)
    packed = np.frombuffer(rest, np.uint8)
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).ravel()
    if nibbles[count:].any():
        raise PayloadError("message of int4 values has a padding that is not zero")
    return (nibbles[:count].astype(np.float64) - 8) * scales


VALUE_CODES: Mapping[str, ValueCode] = {
    "fp32": ValueCode(
        0,
        lossless=True,
        nbytes=lambda k: 4 * k,
        write=lambda values, draw: values.astype(_F32).tobytes(),
        read=lambda section, k: np.frombuffer(section, _F32),
    ),
    "fp16": ValueCode(
        1,
        lossless=False,
        nbytes=lambda k: 4 * _buckets(k) + 2 * k,
        write=_write_half,
        read=_read_half,
    ),
    "bf16": ValueCode(
        2, lossless=False, nbytes=lambda k: 2 * k, write=_write_bf16, read=_read_bf16
    ),
    "int8": ValueCode(
        3,
        lossless=False,
        nbytes=lambda k: 4 * _buckets(k) + k,
        write=_write_int8,
        read=_read_int8,
    ),
    "int4": ValueCode(
        4,
        lossless=False,
        nbytes=lambda k: 4 * _buckets(k) + -(-k // 2),
        write=_write_int4,
        read=_read_int4,
    ),
}
BY_CODE: Mapping[int, ValueCode] = {code.code: code for code in VALUE_CODES.values()}
