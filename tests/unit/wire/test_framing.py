"""Frames by hand, and what is refused before a section is read."""

from __future__ import annotations

import numpy as np
import pytest
from wire_messages import by_hand, flat, sealed

from floss_sim.errors import FlossError, PayloadError
from floss_sim.wire.framing import OVERHEAD_BYTES, Frame, fields, pack, unpack
from floss_sim.wire.index_codes import HELD, RANGE

LAYOUT = flat(4)
DIGEST = LAYOUT.digest
KNOWN = np.array([True, True, False, True])


def frame_of(index: bytes = b"", values: bytes = b"", code: int = 0, packed: bool = False) -> Frame:
    return Frame(code, 3, packed, DIGEST, 5, memoryview(index), memoryview(values))


def test_a_frame_is_a_header_of_24_bytes_two_sections_and_a_checksum():
    assert OVERHEAD_BYTES == 28
    expected = by_hand(LAYOUT, 2, 5, b"index", b"values", value_code=3, flags=2)
    assert pack(frame_of(b"index", b"values", 2, packed=True)) == expected


def test_a_known_mask_is_a_flag_and_stands_in_the_checksum():
    expected = by_hand(LAYOUT, 2, 5, b"i", value_code=3, flags=1, known=KNOWN)
    assert pack(frame_of(b"i", code=2), KNOWN) == expected


def test_a_held_mask_stands_in_the_checksum_where_positions_lie_beside_it():
    for code in (HELD, RANGE):
        held = KNOWN if code == HELD else None
        expected = by_hand(LAYOUT, code, 5, b"i", value_code=3, held=held)
        assert pack(frame_of(b"i", code=code), held_N=KNOWN) == expected


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sections", [(b"", b""), (b"x", b""), (b"", b"y"), (bytes(300), b"y")])
def test_a_frame_is_read_back(sections: tuple[bytes, bytes], packed: bool):
    frame = frame_of(*sections, packed=packed)
    assert unpack(pack(frame), DIGEST) == frame
    assert fields(pack(frame)) == (frame, 2 * packed)


@pytest.mark.parametrize("length", range(28))
def test_fewer_bytes_than_a_frame_are_refused(length: int):
    blob = pack(frame_of())[:length]
    for read in (lambda: unpack(blob, DIGEST), lambda: fields(blob)):
        with pytest.raises(PayloadError, match=f"{length} bytes is shorter"):
            read()


@pytest.mark.parametrize(
    ("offset", "byte", "says"),
    [
        (0, b"X", "not a floss-sim message"),
        (3, b"s", "not a floss-sim message"),
        (4, b"\x00", "has format version 0; valid: 3"),
        (4, b"\x02", "has format version 2; valid: 3"),
        (4, b"\x04", "has format version 4; valid: 3"),
        (7, b"\x01", "needs a known mask"),
        (7, b"\x04", "unknown flags 0x04"),
        (7, b"\xff", "unknown flags 0xff"),
        (8, b"?", "another layout"),
        (20, b"\x07", "index section of 7 bytes exceeds the payload of 6"),
        (23, b"\xff", "exceeds the payload of 6"),
    ],
)
def test_a_sound_frame_with_a_foreign_field_is_refused_by_its_name(
    offset: int, byte: bytes, says: str
):
    content = pack(frame_of(b"in", b"vals"))[:-4]
    with pytest.raises(PayloadError, match=says):
        unpack(sealed(content[:offset] + byte + content[offset + 1 :]), DIGEST)


def test_every_changed_byte_without_a_new_checksum_is_refused():
    blob = pack(frame_of(b"index", b"values"))
    for place in range(len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1
        with pytest.raises(PayloadError):
            unpack(bytes(changed), DIGEST)
    with pytest.raises(PayloadError, match="damaged"):
        unpack(blob[:25] + b"?" + blob[26:], DIGEST)


def test_a_payload_error_is_not_the_users_setting():
    assert PayloadError.__mro__[1] is FlossError
