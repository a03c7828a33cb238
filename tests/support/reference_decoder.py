"""A second decoder, written from ``floss_sim/wire/FORMAT.md`` alone: slow, plain and obvious.

Of the package it imports nothing, and of the libraries only *pcodec*, whose own format the packed
values are. Headings in comments are those of the document.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib

import numpy as np
from pcodec import wrapped

NONE, BITMAP, RICE, RANGE, TENSORS, ROWS, HELD = range(7)
FP32, FP16, BF16, INT8, INT4, TAIL, SIGN = range(7)
ALL_ONES = 2**64 - 1


class RefusedError(ValueError):
    """The bytes are not a message."""


def decode(tensors, blob, known=None, held=None):
    """Return (values, mask), lists over all entries.

    Args:
        tensors: (name, shape, kind) of each tensor, in sorted order of names.
        blob: The message.
        known: A list of bools over all entries, or None.
        held: Likewise.
    """
    # Frame
    need(len(blob) >= 28, "shorter than its frame")
    magic, version, index_code, value_code, flags = struct.unpack_from("<4sBBBB", blob)
    need(magic == b"FLSS" and version == 3 and flags <= 3, "another format")
    digest = blob[8:16]
    count, index_bytes = struct.unpack_from("<II", blob, 16)
    need(digest == digest_of(tensors), "another layout")
    need((flags & 1 == 1) == (known is not None), "needs a mask, or needs none")
    need(index_code != HELD or held is not None, "needs a held mask")
    need(24 + index_bytes + 4 <= len(blob), "sections longer than the message")
    need(struct.unpack("<I", blob[-4:])[0] == checksum(blob, index_code, known, held), "damaged")
    index, values = blob[24 : 24 + index_bytes], blob[24 + index_bytes : -4]

    # Universe
    entries = sum(math.prod(shape) for _, shape, _ in tensors)
    candidates = [i for i in range(entries) if known is None or known[i]]
    need(count <= len(candidates), "more values than entries")
    positions = positions_of(tensors, index_code, index, count, candidates, held)
    need(len(positions) == count, "another number of positions")
    need(not positions or positions[-1] < len(candidates), "a position beyond the universe")

    sent = values_of(value_code, values, count, packed=flags & 2 == 2)
    vector, mask = [0.0] * entries, [False] * entries
    for position, value in zip(positions, sent, strict=True):
        vector[candidates[position]], mask[candidates[position]] = value, True
    return vector, mask


def need(condition, reason):
    if not condition:
        raise RefusedError(reason)


def digest_of(tensors):
    text = json.dumps([[name, list(shape), kind] for name, shape, kind in tensors])
    return hashlib.sha256(text.encode("ascii")).digest()[:8]


def checksum(blob, index_code, known, held):
    crc = zlib.crc32(blob[:-4])
    for mask in (known, held if index_code == HELD else None):
        if mask is not None:
            crc = zlib.crc32(mask_bytes(mask), crc)
    return crc


def mask_bytes(mask):
    """One bit an entry, highest bit first."""
    packed = bytearray(-(-len(mask) // 8))
    for i, bit in enumerate(mask):
        packed[i // 8] |= bit << (7 - i % 8)
    return bytes(packed)


def bits_of(data):
    """Return all bits, lowest bit first."""
    return [byte >> i & 1 for byte in data for i in range(8)]


def ones_of(bits):
    return [i for i, bit in enumerate(bits) if bit]


# Index sections


def positions_of(tensors, code, section, count, candidates, held):
    """Return positions in the universe, in increasing order."""
    size = len(candidates)
    if code == NONE:
        need(not section and count in (0, size), "none is all or nothing")
        return list(range(count))
    if code == BITMAP:
        need(len(section) == -(-size // 8), "a bitmap of another length")
        return ones_of(bits_of(section))
    if code == RICE:
        return rice(section, count, size)
    if code == RANGE:
        need(size, "nothing to tell apart")
        decoder = RangeDecoder(section)
        cumulative = cumulative_of(byte_weights(count / size))
        ones = ones_of(bits_of(decoder.read(cumulative) for _ in range(-(-size // 8))))
        decoder.done()
        return ones
    need(code in (TENSORS, ROWS, HELD), "unknown index code")
    return by_cells(code, section, cells_of(code, tensors, candidates, held))


def rice(section, count, size):
    need(count and len(section) > 1 and section[0] < 32, "no gaps")
    width, bits = section[0], bits_of(section[1:])
    need(count << width <= 2 * size, "too wide")
    need(len(bits) > count * width, "too short")
    low = [sum(bits[i * width + j] << j for j in range(width)) for i in range(count)]
    positions, last, at = [], -1, count * width
    for i in range(count):
        rest = 0
        while at < len(bits) and not bits[at]:
            rest, at = rest + 1, at + 1
        need(at < len(bits), "too short")
        at += 1
        last += 1 + (rest << width | low[i])
        positions.append(last)
    need(len(bits) - at < 8 and not any(bits[at:]), "too long")
    return positions


# Cells


def cells_of(code, tensors, candidates, held):
    """Return the cells: lists of positions in the universe."""
    if code == HELD:
        inside = [u for u, entry in enumerate(candidates) if held[entry]]
        outside = [u for u, entry in enumerate(candidates) if not held[entry]]
        return [inside, outside]
    position = {entry: u for u, entry in enumerate(candidates)}
    cells, start = [], 0
    for _, shape, kind in tensors:
        size = math.prod(shape)
        entries = range(start, start + size)
        start += size
        rows = [entries]
        if code == ROWS and kind == "lora_B":
            rows = [entries[rank :: shape[1]] for rank in range(shape[1])]
        elif code == ROWS and kind in ("lora_A", "head_weight"):
            width = size // shape[0]
            rows = [entries[row * width : (row + 1) * width] for row in range(shape[0])]
        cells += [[position[entry] for entry in row if entry in position] for row in rows]
    return cells


def by_cells(code, section, cells):
    densities = COARSE if code == ROWS else FINE
    last = len(densities) - 1
    need(len(section) >= 2, "no levels")
    lowest, span = section[0], section[1]
    need(span >= 1 and lowest + span - 1 <= last, "levels beyond the scale")
    start, weights = 2, [1.0] * span
    if code == ROWS:
        start += -(-span // 2)
        need(len(section) >= start, "no weights")
        nibbles = [n for byte in section[2:start] for n in (byte & 15, byte >> 4)]
        need(any(nibbles[:span]), "no level has a weight")
        need(not any(nibbles[span:]), "a weight beyond the last level")
        nibbles = nibbles[:span]
        weights = [weight_of(nibble) for nibble in nibbles]
    decoder = RangeDecoder(section[start:])
    levels = [lowest] * len(cells)
    if span > 1:
        cumulative = cumulative_of(weights)
        levels = [lowest + decoder.read(cumulative) for _ in cells]

    positions = [u for cell, at in zip(cells, levels, strict=True) if at == last for u in cell]
    for level in range(1, last):
        cumulative = cumulative_of(byte_weights(densities[level]))
        for cell, at in zip(cells, levels, strict=True):
            if at == level:
                bits = bits_of(decoder.read(cumulative) for _ in range(-(-len(cell) // 8)))
                need(not any(bits[len(cell) :]), "padding is not zero")
                positions += [u for u, bit in zip(cell, bits, strict=False) if bit]
    decoder.done()
    return sorted(positions)


def weight_of(nibble):
    if nibble == 0:
        return 0.0
    return (1.0 if nibble % 2 else 181 / 256) * 2.0 ** (nibble // 2 + 1)


# Scales and levels


def scale_of(quarters):
    falling = []
    for octave in range(1, 20):
        falling += [quarter / 4096 / 2**octave for quarter in quarters]
    falling.append(2.0**-20)
    return [0.0, *reversed(falling), *(1 - p for p in falling[1:]), 1.0]


FINE, COARSE = scale_of([4096, 3444, 2896, 2435]), scale_of([4096])


# Models


def byte_weights(density):
    """Return the weight of each byte: of its ones and its zeros, multiplied one by one."""
    ones, zeros = [1.0], [1.0]
    for _ in range(8):
        ones.append(ones[-1] * density)
        zeros.append(zeros[-1] * (1 - density))
    numbers_of_ones = [bin(byte).count("1") for byte in range(256)]
    return [ones[j] * zeros[8 - j] for j in numbers_of_ones]


def cumulative_of(weights):
    """Return where each symbol begins among 2**24 slots, and the end of the last one."""
    total = 0.0
    for weight in weights:
        total += weight
    scale = (2**24 - len(weights)) / total
    begins, before = [], 0.0
    for symbol, weight in enumerate(weights):
        begins.append(math.floor(before * scale) + symbol)
        before += weight
    return [*begins, 2**24]


# Range decoder


class RangeDecoder:
    def __init__(self, data):
        need(not data or data[-1], "a zero at the end")
        data = data + bytes(-len(data) % 4)
        self.words = [word for (word,) in struct.iter_unpack(">I", data)]
        self.low, self.range = 0, ALL_ONES
        self.point = self.next_word() << 32
        self.point |= self.next_word()

    def next_word(self):
        return self.words.pop(0) if self.words else 0

    def read(self, cumulative):
        step = self.range >> 24
        slot = (self.point - self.low & ALL_ONES) // step
        need(slot < 2**24, "no encoder writes such bytes")
        symbol = 0
        while cumulative[symbol + 1] <= slot:
            symbol += 1
        self.low = self.low + step * cumulative[symbol] & ALL_ONES
        self.range = step * (cumulative[symbol + 1] - cumulative[symbol])
        if self.range < 2**32:
            self.low = self.low << 32 & ALL_ONES
            self.range <<= 32
            self.point = (self.point << 32 & ALL_ONES) | self.next_word()
        return symbol

    def done(self):
        need(not self.words, "words are left")
        for zeros in (64, 56, 48, 40, 32, 24, 16, 8, 0):
            end = -(-self.low // 2**zeros) * 2**zeros
            if end < self.low + self.range:
                break
        need(self.point == end & ALL_ONES, "another end")


# Value sections


def values_of(code, section, count, packed):
    """Return the values as floats that are exactly float32."""
    need(code <= SIGN, "unknown value code")
    scales_of = {FP16: 1, SIGN: 1, TAIL: 2, INT8: -(-count // 512), INT4: -(-count // 512)}
    number = scales_of.get(code, 0) if count else 0
    need(len(section) >= 4 * number, "no scales")
    scales = struct.unpack(f"<{number}f", section[: 4 * number])
    need(all(math.isfinite(s) and s >= 0 for s in scales), "a scale is not a magnitude")
    symbols = (unpacked if packed else plain)(code, section[4 * number :], count)
    values = [as_float32(value) for value in joined(code, scales, symbols)]
    need(all(map(math.isfinite, values)), "a value is not finite")
    return values


def plain(code, section, count):
    if code in (SIGN, INT4):
        width = 1 if code == SIGN else 4
        need(len(section) == -(-count * width // 8), "another length")
        bits = bits_of(section)
        need(not any(bits[count * width :]), "padding is not zero")
        if code == SIGN:
            return [1 if bit else -1 for bit in bits[:count]]
        return [sum(bits[4 * i + j] << j for j in range(4)) - 8 for i in range(count)]
    letter = {FP32: "f", FP16: "e", BF16: "h", INT8: "b", TAIL: "b"}[code]
    need(len(section) == count * struct.calcsize("<" + letter), "another length")
    return struct.unpack(f"<{count}{letter}", section)


def unpacked(code, section, count):
    """Packed values: the only part that another library reads."""
    need(count and code != SIGN, "nothing is packed")
    dtype, name = {FP32: ("f4", "f32"), FP16: ("f2", "f16")}.get(code, ("i2", "i16"))
    symbols = []
    try:
        file, at = wrapped.FileDecompressor.new(section)
        while len(symbols) < count:
            part = np.empty(min(2**18, count - len(symbols)), dtype)
            need(section[at : at + 1] == b"\0", "another mode")
            chunk, used = file.chunk_decompressor(section[at:], name)
            at += used
            progress, used = chunk.read_page_into(section[at:], len(part), part)
            at += used
            need(progress.finished and progress.n_processed == len(part), "too few")
            symbols += part.tolist()
    except RuntimeError:
        raise RefusedError("damaged") from None
    need(at == len(section), "too long")
    return symbols


def joined(code, scales, symbols):
    """Symbols and scales to values, in doubles."""
    if code in (FP32, BF16):
        return symbols if code == FP32 else [bfloat16(symbol) for symbol in symbols]
    if code in (FP16, SIGN):
        return [symbol * scales[0] for symbol in symbols]
    if code in (INT8, INT4):
        most = 127 if code == INT8 else 7
        need(all(-most <= symbol <= most for symbol in symbols), "a symbol beyond the levels")
        return [symbol * scales[i // 512] for i, symbol in enumerate(symbols)]
    need(all(1 <= abs(symbol) <= 64 for symbol in symbols), "a symbol beyond the levels")
    if not symbols:
        return []
    low, high = scales
    need(low <= high, "the largest is below the smallest")
    step = (high - low) / 63
    return [math.copysign(1, symbol) * (low + step * (abs(symbol) - 1)) for symbol in symbols]


def bfloat16(symbol):
    return struct.unpack("<f", b"\0\0" + struct.pack("<h", symbol))[0]


def as_float32(value):
    """Round to the nearest float32, ties to even."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.inf
