"""Sealed messages that no encoder writes are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from wire_messages import adapters, by_hand, flat, refused, seeded

from floss_sim.errors import PayloadError
from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.wire import INDEX_CODES, decode, encode
from floss_sim.wire.framing import Frame, fields, pack
from floss_sim.wire.index_codes import BITMAP, NONE, RICE

LAYOUT = flat(4)
KNOWN = np.array([True, True, False, True])
POSITIONED = [name for name in INDEX_CODES if name != "none"]


def test_a_message_of_another_layout_is_refused_even_at_equal_length():
    blob = encode(LAYOUT, np.ones(4, np.float32), np.ones(4, bool))
    other = Layout((TensorSpec("u", (4,), "bias"),))
    with pytest.raises(PayloadError, match="another layout"):
        decode(other, blob)


@pytest.mark.parametrize("code", [7, 255])
def test_an_unknown_code_is_refused_by_its_number(code: int):
    values = struct.pack("<f", 1)
    with pytest.raises(PayloadError, match=f"unknown value code {code}"):
        decode(LAYOUT, by_hand(LAYOUT, BITMAP, 1, b"\1", values, value_code=code))
    with pytest.raises(PayloadError, match=f"unknown index code {code}"):
        decode(LAYOUT, by_hand(LAYOUT, code, 1, b"\1", values))


@pytest.mark.parametrize("index_code", range(7))
@pytest.mark.parametrize("count", [5, 2**32 - 1])
def test_more_values_than_entries_are_refused_before_they_are_sought(index_code: int, count: int):
    with pytest.raises(PayloadError, match=f"{count} values among 4 entries"):
        decode(LAYOUT, by_hand(LAYOUT, index_code, count, held=KNOWN), held_N=KNOWN)
    blob = by_hand(LAYOUT, index_code, 4, b"\x0f", bytes(16), flags=1, known=KNOWN, held=KNOWN)
    with pytest.raises(PayloadError, match="4 values among 3 entries"):
        decode(LAYOUT, blob, KNOWN, KNOWN)


@pytest.mark.parametrize(
    ("index_code", "count", "index", "values", "flags"),
    [
        (NONE, 4, b"", bytes(12), 0),
        (NONE, 4, b"", bytes(20), 0),
        (NONE, 3, b"", bytes(12), 0),
        (NONE, 4, b"\0", bytes(16), 0),
        (NONE, 4, b"", struct.pack("<4f", 0, 0, float("inf"), 0), 0),
        (NONE, 4, b"", bytes(16), 2),
        (NONE, 0, b"", b"", 2),
        (NONE, 0, b"", b"\0", 0),
        (BITMAP, 1, b"\x01", struct.pack("<f", float("nan")), 0),
        (BITMAP, 1, b"\x10", struct.pack("<f", 1), 0),
        (BITMAP, 0, b"\x01", b"", 0),
        (RICE, 0, b"", b"", 0),
        (RICE, 1, b"\0\x10", struct.pack("<f", 1), 0),
    ],
)
def test_a_sealed_message_that_contradicts_itself_is_refused(
    index_code: int, count: int, index: bytes, values: bytes, flags: int
):
    blob = by_hand(LAYOUT, index_code, count, index, values, flags=flags)
    with pytest.raises(PayloadError):
        decode(LAYOUT, blob)


@pytest.mark.parametrize("index_code", [1, 2, 3, 4, 5, 6])
def test_an_empty_universe_has_no_positions_of_any_code(index_code: int):
    """A bitmap of nothing is nothing; of all other sections there is none."""
    nothing = np.zeros(4, bool)
    blob = by_hand(LAYOUT, index_code, 0, flags=1, known=nothing, held=KNOWN)
    assert refused(LAYOUT, blob, nothing, KNOWN) == (index_code != BITMAP)


@pytest.mark.parametrize("index", POSITIONED)
@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\0", b"abcdefgh"])
def test_a_longer_index_section_is_refused(index: str, tail: bytes):
    """Every section has one length."""
    layout, draw = adapters(2, 3, 20, 20), seeded()
    values = draw.standard_normal(layout.entries).astype(np.float32)
    mask, held = (draw.random(layout.entries) < share for share in (0.2, 0.5))
    frame, _ = fields(encode(layout, values, mask, index=index, held_N=held))
    longer = Frame(**(vars(frame) | {"index": memoryview(bytes(frame.index) + tail)}))
    assert refused(layout, pack(longer, held_N=held), held=held)
