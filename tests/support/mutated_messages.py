"""Broken messages: valid ones of every code, mutated, truncated, spliced or made up, and re-sealed.

A *sealed* message has the right magic, version, layout digest and checksum, so that what is wrong
with it reaches the decoders themselves.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sample_messages import samples

from floss_sim.errors import PayloadError
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask
from floss_sim.wire import INDEX_CODES, VALUE_CODES, decode, sent_entries
from floss_sim.wire.index_codes import HELD

SHARE_SEALED = 0.8
_FLOATS = [0.0, -0.0, -1.0, 1e-45, 3.4e38, float("inf"), float("nan"), 1.0]
_COUNTS = [0, 1, 2, 3, 7, 8, 255, 512, 513, 2**16, 2**31, 2**32 - 1]


@dataclass(frozen=True, eq=False)
class Reader:
    """A layout and the masks that a reader of messages holds."""

    name: str
    layout: Layout
    known: Mask | None
    held: Mask | None

    @cached_property
    def known_bytes(self) -> bytes:
        """The known mask as the checksum takes it; none of one."""
        return b"" if self.known is None else np.packbits(self.known).tobytes()

    @cached_property
    def held_bytes(self) -> bytes:
        """The held mask as the checksum takes it; none of one."""
        return b"" if self.held is None else np.packbits(self.held).tobytes()


@dataclass(frozen=True)
class Broken:
    """What came of a message."""

    kind: str
    reader: Reader
    blob: bytes
    sealed: bool


def corpus() -> list[tuple[Reader, bytes]]:
    """Return valid messages of every code, and the readers that they are for."""
    found = [
        (Reader(made.name, made.layout, made.known, made.held), made.encoded())
        for made in (*samples(), *samples(["one"], ["none"]))
    ]
    empty = [replace(r, known=np.zeros(r.layout.entries, bool)) for r, _ in found[:98:14]]
    return found + [(reader, _header(reader, 0, 0, 1, 0, 0) + bytes(4)) for reader in empty]


def broken(count: int, seed: int) -> Iterator[Broken]:
    """Yield broken messages, always the same ones of a seed."""
    valid, draw = corpus(), random.Random(seed)
    kinds = list(KINDS)
    for _ in range(count):
        (reader, blob), (_, other) = draw.choice(valid), draw.choice(valid)
        kind = draw.choice(kinds)
        changed = KINDS[kind](draw, blob, other)
        is_sealed = len(changed) >= 28 and draw.random() < SHARE_SEALED
        yield Broken(kind, reader, sealed(reader, changed) if is_sealed else changed, is_sealed)


def read(reader: Reader, blob: bytes) -> str:
    """Return "refused" or "valid"; any other exception passes.

    Raises:
        AssertionError: A message was read that is not one within the layout.
    """
    try:
        values, mask = decode(reader.layout, blob, reader.known, reader.held)
    except PayloadError:
        return "refused"
    assert values.shape == mask.shape == (reader.layout.entries,)
    assert (values.dtype, mask.dtype) == (np.float32, np.bool_)
    assert np.isfinite(values).all()
    assert not values[~mask].any()
    assert reader.known is None or not (mask & ~reader.known).any()
    assert mask.sum() == sent_entries(blob) == int.from_bytes(blob[16:20], "little")
    return "valid"


def sealed(reader: Reader, blob: bytes) -> bytes:
    """Return a message of 28 bytes or more with everything right that guards it."""
    flags = blob[7] & 2 | (reader.known is not None)
    start = b"FLSS\3" + blob[5:7] + bytes([flags]) + reader.layout.digest
    return resealed(reader, start + blob[16:])


def resealed(reader: Reader, blob: bytes) -> bytes:
    """Return a message with the right checksum."""
    crc = zlib.crc32(blob[:-4])
    crc = zlib.crc32(reader.known_bytes, crc)
    crc = zlib.crc32(reader.held_bytes, crc) if blob[5] == HELD else crc
    return blob[:-4] + struct.pack("<I", crc)


def _header(reader: Reader, index: int, value: int, flags: int, count: int, split: int) -> bytes:
    digest = reader.layout.digest
    return struct.pack("<4sBBBB8sII", b"FLSS", 3, index, value, flags, digest, count, split)


def _sections(blob: bytes) -> tuple[bytes, bytes]:
    split = 24 + int.from_bytes(blob[20:24], "little")
    return blob[24:split], blob[split:-4]


def _joined(blob: bytes, index: bytes, values: bytes) -> bytes:
    return blob[:20] + struct.pack("<I", len(index)) + index + values + blob[-4:]


def _bytes_changed(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    changed = bytearray(blob)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        changed[draw.randrange(len(changed))] = draw.choice([0, 255, draw.randrange(256)])
    return bytes(changed)


def _bits_flipped(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    changed = bytearray(blob)
    for _ in range(draw.choice([1, 1, 2, 8])):
        changed[draw.randrange(16, len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _truncated(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    return blob[: draw.randrange(len(blob))]


def _section_cut(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    sections = list(_sections(blob))
    which = draw.randrange(2)
    sections[which] = sections[which][: draw.randrange(len(sections[which]) + 1)]
    return _joined(blob, *sections)


def _extended(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    sections = list(_sections(blob))
    which = draw.randrange(2)
    extra = draw.choice([bytes, draw.randbytes])(draw.choice([1, 3, 4, 64, 4096]))
    at = draw.choice([len(sections[which]), draw.randrange(len(sections[which]) + 1)])
    sections[which] = sections[which][:at] + extra + sections[which][at:]
    return _joined(blob, *sections)


def _spliced(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    return blob[: draw.randrange(len(blob))] + other[draw.randrange(len(other)) :]


def _sections_swapped(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    (index, values), (other_index, other_values) = _sections(blob), _sections(other)
    changed = bytearray(_joined(blob, *draw.choice(
        [(index, other_values), (other_index, values), (other_index, other_values)]
    )))  # fmt: skip
    for field in draw.choice([(), (5,), (6,), (5, 6, 7)]):
        changed[field] = other[field]
    if draw.random() < 0.5:
        changed[16:20] = other[16:20]
    return bytes(changed)


def _fields_changed(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    changed = bytearray(blob)
    changed[5] = draw.choice([changed[5], draw.randrange(len(INDEX_CODES) + 1)])
    changed[6] = draw.choice([changed[6], draw.randrange(len(VALUE_CODES) + 1)])
    changed[7] ^= draw.choice([0, 0, 2, 1 << draw.randrange(8)])
    for at in (16, 20):
        (now,) = struct.unpack_from("<I", changed, at)
        new = draw.choice([now, now, now + 1, max(0, now - 1), draw.choice(_COUNTS)])
        struct.pack_into("<I", changed, at, min(new, 2**32 - 1))
    return bytes(changed)


def _section_made_up(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    sections = list(_sections(blob))
    which = draw.randrange(2)
    kept = draw.choice([0, 0, 1, 2, 3, 4, 8])
    length = draw.choice([len(sections[which]), draw.randrange(200)])
    sections[which] = (sections[which][:kept] + draw.randbytes(length))[:length]
    return _joined(blob, *sections)


def _floats_changed(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    """Put a special float where scales or plain values may be."""
    index, values = _sections(blob)
    changed = bytearray(values + bytes(-len(values) % 4))
    for _ in range(draw.choice([1, 2])):
        at = 4 * draw.choice([0, 0, 1, draw.randrange(len(changed) // 4 + 1)])
        changed[at : at + 4] = struct.pack("<f", draw.choice(_FLOATS))
    return _joined(blob, index, bytes(changed[: max(len(values), 4)]))


def _made_up(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    return draw.randbytes(draw.randrange(300))


def _unchanged(draw: random.Random, blob: bytes, other: bytes) -> bytes:
    return blob


KINDS: Mapping[str, Callable[[random.Random, bytes, bytes], bytes]] = {
    "bytes changed": _bytes_changed,
    "bits flipped": _bits_flipped,
    "truncated": _truncated,
    "section cut": _section_cut,
    "extended": _extended,
    "spliced": _spliced,
    "sections swapped": _sections_swapped,
    "fields changed": _fields_changed,
    "section made up": _section_made_up,
    "floats changed": _floats_changed,
    "made up": _made_up,
    "unchanged": _unchanged,
}
