"""Value codes: the values of the sent entries as scales, then one symbol per value.

=====  ====  ========  ==============  ======  ======================================  =============
name   code  kind      symbol          scales  largest error of a value                bits [1]_
=====  ====  ========  ==============  ======  ======================================  =============
fp32   0     lossless  float32         0       0                                       23 to 25
fp16   1     unbiased  float16 v / s   1       2**-10 of the value [2]_                10 to 12
bf16   2     unbiased  bfloat16        0       2**-7 of the value [3]_                 7 to 9
int8   3     unbiased  -127 .. 127     k/512   1/127 of the bucket's maximum [3]_      6 to 8
int4   4     unbiased  -7 .. 7         k/512   1/7 of the bucket's maximum [3]_        3 to 4
tail   5     unbiased  -64 .. 64       2       1/63 of the difference between largest  4 to 6
                                               and smallest magnitude
sign   6     biased    -1, 1           1       distance from the mean magnitude        1
=====  ====  ========  ==============  ======  ======================================  =============

int8 and int4 scale buckets of 512 consecutive sent values by the bucket's largest magnitude (QSGD,
Alistarh et al. 2017, with the maximum as the norm; FedPAQ, Reisizadeh et al. 2020). fp16 scales all
values of a message so that the smallest magnitude is 1. tail is made for the values that a top-k
keeps, whose magnitudes exceed a threshold: it has 64 levels from the smallest to the largest
magnitude, and a sign. sign sends the signs and the mean magnitude (SignSGD with a scale; Bernstein
et al. 2018, Karimireddy et al. 2019).

Unbiased codes round stochastically: up or down with such probabilities that the expected decoded
value equals the value (exception in fp16 and bf16: the last steps below the largest float32).
Decoding rounds to float32, which adds at most half a unit in the last place. Symbols are packed
(see ``value_packing``) where that takes fewer bytes. Otherwise they are written plainly: int4 two
per byte, sign eight per byte.

.. [1] Bits per value, measured for the largest 1/16 of normal, Laplace and t(3) values.
.. [2] Or 2**-24 of the scale; the scale is at least 2**-15 of the largest magnitude.
.. [3] Or 1.2e-38, the smallest normal float32, whichever is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError
from floss_sim.vectors.top_k import Vector
from floss_sim.wire.nibbles import nibble_bytes, nibbles_of
from floss_sim.wire.value_packing import pack_numbers, unpack_numbers

BUCKET = 512  # values that share a scale
_TAIL = 63  # steps from the smallest to the largest magnitude
_F32 = np.dtype("<f4")
_TINY = np.finfo(np.float32).tiny
_LARGEST = float(np.finfo(np.float32).max)
_HALF_RANGE = 2.0**15  # largest scaled magnitude; float16 ends at 65504
_HALF_NORMAL, _HALF_STEP = np.float32(2.0**-14), np.float32(2.0**-24)

RoundingDraw = np.random.Generator | None  # None: the code does not round stochastically
ValueSymbols = NDArray[Any]
DecodedValues = NDArray[np.float64]


@dataclass(frozen=True)
class ValueCode:
    """Code that writes k values as scales and symbols.

    Attributes:
        code: Number of the value code in a frame.
        kind: ``"lossless"``, ``"unbiased"`` or ``"biased"``.
        bits: Bits of a plain (not packed) symbol.
        dtype: Type of the numbers that are packed; None if symbols are never packed.
        scales: Function from k to the number of scales.
        split: Function from values to scales and symbols (encoding).
        join: Function from scales and symbols to values (decoding).
        most: Largest magnitude of an integer symbol; None if every symbol is valid.
    """

    code: int
    kind: str
    bits: int
    dtype: str | None
    scales: Callable[[int], int]
    split: Callable[[Vector, RoundingDraw], tuple[Vector, ValueSymbols]]
    join: Callable[[Vector, ValueSymbols], DecodedValues | Vector]
    most: int | None = None

    @property
    def is_lossless(self) -> bool:
        """Whether decoded values equal the encoded ones."""
        return self.kind == "lossless"

    @property
    def rounds_at_random(self) -> bool:
        """Whether encoding rounds stochastically and so needs a random generator."""
        return self.kind == "unbiased"

    def write(self, values_K: Vector, draw: RoundingDraw) -> tuple[bytes, bool]:
        """Return the value section, and whether its symbols are packed.

        Args:
            values_K: Values to be encoded, float32.
            draw: Random generator for stochastic rounding; None for other codes.
        """
        if not values_K.size:
            return b"", False
        scales, symbols_K = self.split(values_K, draw)
        prefix = scales.astype(_F32).tobytes()
        small = pack_numbers(symbols_K) if self.dtype else None
        if small is not None and len(small) < -(-values_K.size * self.bits // 8):
            return prefix + small, True
        return prefix + _plain_bytes(symbols_K, self.bits), False

    def read(self, section: memoryview, count: int, is_packed: bool) -> Vector:
        """Return the values of a section.

        Args:
            section: Bytes of the value section.
            count: Number of values.
            is_packed: Whether the symbols are packed.

        Raises:
            PayloadError: The bytes are not a section of ``count`` finite values.
        """
        start = 4 * (self.scales(count) if count else 0)
        if len(section) < start:
            raise PayloadError("value section lacks its scales")
        scales, rest = np.frombuffer(section[:start], _F32), section[start:]
        if not (np.isfinite(scales) & (scales >= 0)).all():
            raise PayloadError("message holds a scale that is negative or not finite")
        symbols_K = self._read_symbols(rest, count, is_packed)
        if self.most and not ((-self.most <= symbols_K) & (symbols_K <= self.most)).all():
            raise PayloadError(f"message holds a symbol of magnitude above {self.most}")
        with np.errstate(over="ignore", invalid="ignore"):
            values_K: Vector = self.join(scales, symbols_K).astype(np.float32, copy=False)
        if not np.isfinite(values_K).all():
            raise PayloadError("message holds a value that is not finite")
        return values_K

    def _read_symbols(self, section: memoryview, count: int, is_packed: bool) -> ValueSymbols:
        if is_packed:
            if self.dtype is None or not count:
                raise PayloadError("message packs values, but has none or has value code sign")
            return unpack_numbers(section, count, self.dtype)
        if len(section) != -(-count * self.bits // 8):
            raise PayloadError(f"value section of {len(section)} bytes for {count} values")
        return _plain_symbols(section, count, self.bits, self.dtype)


def _generator(draw: RoundingDraw) -> np.random.Generator:
    if draw is None:
        raise ValueError("a value code that rounds at random needs a generator")
    return draw


def _plain_bytes(symbols_K: ValueSymbols, bits: int) -> bytes:
    if bits == 1:
        return np.packbits(symbols_K > 0, bitorder="little").tobytes()
    if bits == 4:
        return nibble_bytes(symbols_K + 8)
    if bits == 8:
        return symbols_K.astype(np.int8).tobytes()
    return symbols_K.astype(symbols_K.dtype.newbyteorder("<")).tobytes()


def _plain_symbols(section: memoryview, count: int, bits: int, dtype: str | None) -> ValueSymbols:
    raw = np.frombuffer(section, np.uint8)
    if bits == 1:
        ones = np.unpackbits(raw, bitorder="little")
        if ones[count:].any():
            raise PayloadError("padding after the signs is not zero")
        return 2.0 * ones[:count] - 1
    if bits == 4:
        nibbles = nibbles_of(section).astype(np.int16)
        if nibbles[count:].any():
            raise PayloadError("padding after the int4 values is not zero")
        return nibbles[:count] - 8
    if bits == 8:
        return raw.view(np.int8).astype(np.int16)
    return np.frombuffer(section, np.dtype(dtype).newbyteorder("<"))


def _split_fp32(values_K: Vector, draw: RoundingDraw) -> tuple[Vector, ValueSymbols]:
    return values_K[:0], values_K.astype(np.float32, copy=False)


def _join_fp32(scales: Vector, symbols_K: ValueSymbols) -> Vector:
    return symbols_K


def _split_fp16(values_K: Vector, draw: RoundingDraw) -> tuple[Vector, ValueSymbols]:
    magnitude = np.abs(values_K)
    lowest = magnitude.min()
    least = max(float(magnitude.max()) / _HALF_RANGE, float(_TINY))
    scale = np.maximum(lowest, np.float32(least))
    scaled = np.divide(magnitude, scale, out=magnitude)
    # float16 has 13 fraction bits less than float32, and an exponent bias that is 112 smaller.
    random = _generator(draw).integers(0, 1 << 13, values_K.size, dtype=np.uint16)
    halves = scaled.view(np.uint32) + random
    halves >>= 13
    halves -= 112 << 10
    if lowest / scale < _HALF_NORMAL:  # subnormal float16 has equal steps
        small = scaled < _HALF_NORMAL
        halves[small] = np.floor(scaled[small] / _HALF_STEP + random[small] / (1 << 13))
    # Largest float16 whose decoded value is finite.
    most = np.float16(min(_LARGEST / float(scale), 65504.0))
    np.minimum(halves, np.nextafter(most, np.float16(0)).view(np.uint16), out=halves)
    signs = values_K.view(np.uint32) >> 31
    signs <<= 15
    halves |= signs
    return np.array([scale], dtype=np.float32), halves.astype(np.uint16).view(np.float16)


def _join_fp16(scales: Vector, symbols_K: ValueSymbols) -> DecodedValues:
    return symbols_K.astype(np.float64) * np.float64(scales[0] if symbols_K.size else 0)


def _split_bf16(values_K: Vector, draw: RoundingDraw) -> tuple[Vector, ValueSymbols]:
    bits = values_K.view(np.uint32)
    magnitude = (bits & 0x7FFFFFFF) + _generator(draw).integers(
        0, 1 << 16, values_K.size, dtype=np.uint32
    )
    finite = np.minimum(magnitude >> 16, 0x7F7F)  # never infinity
    return values_K[:0], (finite | (bits >> 31 << 15)).astype(np.uint16).view(np.int16)


def _join_bf16(scales: Vector, symbols_K: ValueSymbols) -> Vector:
    return (symbols_K.astype(np.int16).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _bucket_count(count: int) -> int:
    return -(-count // BUCKET)


def _level_splitter(levels: int) -> Callable[[Vector, RoundingDraw], tuple[Vector, ValueSymbols]]:
    # With a scale rounded up, the largest float32 would decode to infinity.
    most = np.nextafter(np.float32(_LARGEST / levels), np.float32(0))

    def split(values_K: Vector, draw: RoundingDraw) -> tuple[Vector, ValueSymbols]:
        starts = np.arange(0, values_K.size, BUCKET)
        largest = np.maximum.reduceat(np.abs(values_K), starts)
        scales = np.clip(largest / np.float32(levels), _TINY, most).astype(np.float32)
        rounded = values_K.astype(np.float64)
        rounded /= _spread(scales, values_K.size)
        rounded += _generator(draw).random(values_K.size)
        np.floor(rounded, out=rounded)
        return scales, np.clip(rounded, -levels, levels, out=rounded).astype(np.int16)

    return split


def _spread(scales: Vector, count: int) -> Vector:
    return np.repeat(scales, BUCKET)[:count]


def _join_levels(scales: Vector, symbols_K: ValueSymbols) -> DecodedValues:
    return symbols_K.astype(np.float64) * _spread(scales, symbols_K.size)


def _split_tail(values_K: Vector, draw: RoundingDraw) -> tuple[Vector, ValueSymbols]:
    magnitude = np.abs(values_K).astype(np.float64)
    low, high = magnitude.min(), magnitude.max()
    level = np.subtract(magnitude, low, out=magnitude)
    level *= _TAIL / (high - low) if high > low else 0
    level += _generator(draw).random(values_K.size)
    np.minimum(np.floor(level, out=level), _TAIL, out=level)
    level += 1
    symbols_K = np.copysign(level, values_K, out=level).astype(np.int16)
    return np.array([low, high], dtype=np.float32), symbols_K


def _join_tail(scales: Vector, symbols_K: ValueSymbols) -> DecodedValues:
    if not symbols_K.size:
        return symbols_K.astype(np.float64)
    low, high = scales.astype(np.float64)
    steps = np.abs(symbols_K) - 1.0
    if high < low or steps.min() < 0:
        raise PayloadError("message of tail values has low > high or a symbol 0")
    values_K: DecodedValues = np.sign(symbols_K) * (low + (high - low) / _TAIL * steps)
    return values_K


def _split_sign(values_K: Vector, draw: RoundingDraw) -> tuple[Vector, ValueSymbols]:
    mean = np.abs(values_K).mean(dtype=np.float64)
    return np.array([mean], dtype=np.float32), np.copysign(np.float32(1), values_K)


def _join_sign(scales: Vector, symbols_K: ValueSymbols) -> DecodedValues:
    return symbols_K.astype(np.float64) * np.float64(scales[0] if symbols_K.size else 0)


VALUE_CODES: Mapping[str, ValueCode] = {
    "fp32": ValueCode(0, "lossless", 32, "float32", lambda k: 0, _split_fp32, _join_fp32),
    "fp16": ValueCode(1, "unbiased", 16, "float16", lambda k: 1, _split_fp16, _join_fp16),
    "bf16": ValueCode(2, "unbiased", 16, "int16", lambda k: 0, _split_bf16, _join_bf16),
    "int8": ValueCode(
        3, "unbiased", 8, "int16", _bucket_count, _level_splitter(127), _join_levels, 127
    ),
    "int4": ValueCode(
        4, "unbiased", 4, "int16", _bucket_count, _level_splitter(7), _join_levels, 7
    ),
    "tail": ValueCode(5, "unbiased", 8, "int16", lambda k: 2, _split_tail, _join_tail, 64),
    "sign": ValueCode(6, "biased", 1, None, lambda k: 1, _split_sign, _join_sign),
}
VALUE_CODES_BY_NUMBER: Mapping[int, ValueCode] = {code.code: code for code in VALUE_CODES.values()}
