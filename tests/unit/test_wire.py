from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from floss_sim.errors import FlossError, PayloadError
from floss_sim.layout import Layout, TensorSpec
from floss_sim.wire import VALUE_CODES, decode, encode, predict_nbytes, sent_entries
from floss_sim.wire.framing import OVERHEAD_BYTES, pack, unpack
from floss_sim.wire.index_codes import BITMAP, DENSE, INDEX32, INDEX_CODES

DIGEST = b"12345678"


def layout_of(entries: int) -> Layout:
    return Layout((TensorSpec("t", (entries,), "lora_A"),))


def by_hand(index_code: int, digest: bytes, count: int, body: bytes) -> bytes:
    """Write a frame as its table of offsets says."""
    head = b"FLSS" + bytes([1, index_code, 0, 0]) + digest + count.to_bytes(4, "little")
    return head + body + zlib.crc32(head + body).to_bytes(4, "little")


def message(entries: int, sent: dict[int, float]) -> tuple[Layout, bytes]:
    values = np.zeros(entries, np.float32)
    mask = np.zeros(entries, bool)
    for position, value in sent.items():
        values[position], mask[position] = value, True
    return layout_of(entries), encode(layout_of(entries), values, mask)


# framing


def test_a_frame_is_twenty_bytes_of_header_a_body_and_a_checksum():
    assert OVERHEAD_BYTES == 24
    assert pack(2, 0, DIGEST, 5, b"body") == by_hand(2, DIGEST, 5, b"body")


def test_a_frame_is_read_back():
    frame = unpack(by_hand(1, DIGEST, 70_000, b"abc"), DIGEST)
    assert (frame.index_code, frame.count, bytes(frame.body)) == (1, 70_000, b"abc")


@pytest.mark.parametrize("body", [b"", b"x", bytes(1000)])
def test_a_frame_of_any_body_is_read_back(body: bytes):
    assert bytes(unpack(pack(0, 0, DIGEST, 0, body), DIGEST).body) == body


@pytest.mark.parametrize("length", range(24))
def test_fewer_bytes_than_a_frame_are_refused(length: int):
    with pytest.raises(PayloadError, match=f"{length} bytes is shorter"):
        unpack(pack(0, 0, DIGEST, 0, b"")[:length], DIGEST)


@pytest.mark.parametrize(
    ("offset", "byte", "message"),
    [
        (0, b"X", "not a floss-sim message"),
        (4, b"\x00", "format 0 is not 1"),
        (4, b"\x02", "format 2 is not 1"),
        (7, b"\x01", "needs a mask"),
        (8, b"?", "another layout"),
    ],
)
def test_a_sound_frame_with_a_foreign_field_is_refused_by_its_name(
    offset: int, byte: bytes, message: str
):
    frame = by_hand(0, DIGEST, 1, bytes(4))
    changed = frame[:offset] + byte + frame[offset + 1 : -4]
    with pytest.raises(PayloadError, match=message):
        unpack(changed + zlib.crc32(changed).to_bytes(4, "little"), DIGEST)


def test_a_changed_byte_without_a_new_checksum_is_damage():
    frame = bytearray(by_hand(0, DIGEST, 1, bytes(4)))
    frame[21] ^= 1
    with pytest.raises(PayloadError, match="damaged"):
        unpack(bytes(frame), DIGEST)


def test_a_payload_error_is_not_the_users_setting():
    assert issubclass(PayloadError, FlossError)
    assert PayloadError.__mro__[1] is FlossError


# index codes


def test_bitmap_bits_run_from_the_lowest_of_each_byte():
    mask = np.zeros(11, bool)
    mask[[0, 3, 9]] = True
    assert INDEX_CODES[BITMAP].write(mask) == bytes([0b0000_1001, 0b0000_0010])


def test_index32_positions_are_little_endian():
    mask = np.zeros(70_000, bool)
    mask[[1, 258, 65_537]] = True
    assert INDEX_CODES[INDEX32].write(mask) == bytes.fromhex("01000000 02010000 01000100")


@pytest.mark.parametrize("code", [DENSE, BITMAP, INDEX32])
@pytest.mark.parametrize("entries", [1, 7, 8, 9, 64, 65])
def test_a_code_reads_what_it_wrote_in_the_bytes_it_promised(code: int, entries: int):
    draw = np.random.default_rng(entries)
    for density in (0.0, 0.3, 1.0):
        mask = np.ones(entries, bool) if code == DENSE else draw.random(entries) < density
        count = int(mask.sum())
        section = INDEX_CODES[code].write(mask)
        assert len(section) == INDEX_CODES[code].nbytes(entries, count)
        positions = INDEX_CODES[code].read(memoryview(section), entries, count)
        assert positions.tolist() == [i for i in range(entries) if mask[i]]


@pytest.mark.parametrize(
    ("code", "section", "entries", "count"),
    [
        (DENSE, b"", 5, 4),
        (BITMAP, b"\x07", 8, 2),
        (BITMAP, b"\x07", 8, 4),
        (BITMAP, b"\x00", 8, 1),
        (BITMAP, b"\x30", 5, 2),
        (INDEX32, struct.pack("<2I", 1, 1), 8, 2),
        (INDEX32, struct.pack("<2I", 2, 1), 8, 2),
        (INDEX32, struct.pack("<1I", 8), 8, 1),
        (INDEX32, struct.pack("<2I", 1, 2**32 - 1), 8, 2),
        (INDEX32, struct.pack("<3I", 2**32 - 1, 1, 2), 8, 3),
    ],
)
def test_positions_that_contradict_the_header_are_refused(
    code: int, section: bytes, entries: int, count: int
):
    with pytest.raises(PayloadError):
        INDEX_CODES[code].read(memoryview(section), entries, count)


# codec


def test_few_values_travel_as_positions_and_values():
    layout, blob = message(100, {3: 1.5, 90: -2.0})
    body = struct.pack("<2I2f", 3, 90, 1.5, -2.0)
    assert blob == by_hand(INDEX32, layout.digest, 2, body)


def test_half_the_values_travel_under_a_bitmap():
    layout, blob = message(10, {0: 1.0, 1: 2.0, 4: 3.0, 8: 4.0, 9: -0.5})
    body = bytes([0b0001_0011, 0b0000_0011]) + struct.pack("<5f", 1, 2, 3, 4, -0.5)
    assert blob == by_hand(BITMAP, layout.digest, 5, body)


def test_all_values_travel_without_positions():
    layout, blob = message(3, {0: 1.0, 1: -2.0, 2: 3.0})
    assert blob == by_hand(DENSE, layout.digest, 3, struct.pack("<3f", 1, -2, 3))


def test_no_values_travel_as_a_bare_frame():
    layout, blob = message(100, {})
    assert blob == by_hand(INDEX32, layout.digest, 0, b"")
    values, mask = decode(layout, blob)
    assert not values.any()
    assert not mask.any()


@pytest.mark.parametrize("index_code", [BITMAP, INDEX32])
def test_a_message_is_read_under_a_code_that_the_encoder_would_not_choose(index_code: int):
    layout = layout_of(4)
    section = {BITMAP: b"\x0a", INDEX32: struct.pack("<2I", 1, 3)}[index_code]
    blob = by_hand(index_code, layout.digest, 2, section + struct.pack("<2f", 7, -8))
    values, mask = decode(layout, blob)
    assert values.tolist() == [0, 7, 0, -8]
    assert mask.tolist() == [False, True, False, True]
    assert sent_entries(layout, blob) == 2


@pytest.mark.parametrize(
    ("entries", "count", "nbytes"),
    [
        (1024, 0, 24),
        (1024, 1, 24 + 8),
        (1024, 31, 24 + 8 * 31),
        (1024, 32, 24 + 128 + 4 * 32),
        (1024, 33, 24 + 128 + 4 * 33),
        (1024, 991, 24 + 128 + 4 * 991),
        (1024, 992, 24 + 4096),
        (1024, 1024, 24 + 4096),
        (9, 8, 24 + 2 + 32),
        (9, 9, 24 + 36),
    ],
)
def test_a_message_costs_its_frame_its_values_and_the_cheapest_index(
    entries: int, count: int, nbytes: int
):
    assert predict_nbytes(entries, count) == nbytes
    _, blob = message(entries, dict.fromkeys(range(count), 1.0))
    assert len(blob) == nbytes


@pytest.mark.parametrize(
    ("count", "code"), [(31, INDEX32), (32, BITMAP), (991, BITMAP), (992, DENSE)]
)
def test_equal_sizes_take_the_lowest_code(count: int, code: int):
    """1,024 entries: 32 positions cost a bitmap's 128 bytes, and 992 values leave them free."""
    _, blob = message(1024, dict.fromkeys(range(count), 1.0))
    assert blob[5] == code


def test_a_dense_message_carries_zeros_as_values_and_marks_every_entry():
    values = np.arange(64, dtype=np.float32)
    layout = layout_of(64)
    blob = encode(layout, values, np.ones(64, bool))
    decoded, mask = decode(layout, blob)
    assert blob[5] == DENSE
    assert np.array_equal(decoded, values)
    assert mask.all()
    assert sent_entries(layout, blob) == 64


def test_a_value_outside_the_mask_never_travels():
    values = np.arange(1, 65, dtype=np.float32)
    for left_out in ([0], [63], list(range(32)), list(range(63))):
        mask = np.ones(64, bool)
        mask[left_out] = False
        decoded, _ = decode(layout_of(64), encode(layout_of(64), values, mask))
        assert np.array_equal(decoded, np.where(mask, values, 0))


def test_a_value_outside_the_mask_may_be_anything():
    values = np.array([np.nan, 1, np.inf, 2, -np.inf, 3, 4, 5, 6, 7], np.float32)
    layout = layout_of(10)
    for mask in (np.isfinite(values), values == 2):
        decoded, _ = decode(layout, encode(layout, values, mask))
        assert np.array_equal(decoded, np.where(mask, values, 0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 30, 64])
def test_a_value_that_is_not_finite_is_not_sent(value: float, count: int):
    values = np.ones(64, np.float32)
    values[0] = value
    with pytest.raises(ValueError, match="not finite"):
        encode(layout_of(64), values, np.arange(64) < count)


@pytest.mark.parametrize(("values", "mask"), [(3, 4), (4, 3), (5, 5), (0, 0)])
def test_values_and_mask_must_have_the_layouts_length(values: int, mask: int):
    with pytest.raises(ValueError, match="expected 4"):
        encode(layout_of(4), np.zeros(values, np.float32), np.zeros(mask, bool))


def test_a_message_of_another_layout_is_refused_even_at_equal_length():
    blob = encode(layout_of(4), np.ones(4, np.float32), np.ones(4, bool))
    other = Layout((TensorSpec("u", (4,), "lora_A"),))
    for read in (decode, sent_entries):
        with pytest.raises(PayloadError, match="another layout"):
            read(other, blob)


@pytest.mark.parametrize(
    ("index_code", "count", "body"),
    [
        (3, 1, bytes(8)),
        (255, 1, bytes(8)),
        (DENSE, 4, bytes(12)),
        (DENSE, 4, bytes(20)),
        (DENSE, 3, bytes(12)),
        (DENSE, 5, bytes(20)),
        (INDEX32, 5, struct.pack("<5I", *range(5)) + bytes(20)),
        (INDEX32, 2**32 - 1, b""),
        (BITMAP, 2**32 - 1, bytes(1)),
        (INDEX32, 1, struct.pack("<If", 4, 1)),
        (INDEX32, 1, struct.pack("<If", 0, float("nan"))),
        (DENSE, 4, struct.pack("<4f", 0, 0, float("inf"), 0)),
        (BITMAP, 1, b"\x10" + struct.pack("<f", 1)),
        (BITMAP, 0, b"\x01"),
    ],
)
def test_a_sealed_message_that_contradicts_itself_is_refused(
    index_code: int, count: int, body: bytes
):
    layout = layout_of(4)
    with pytest.raises(PayloadError):
        decode(layout, by_hand(index_code, layout.digest, count, body))


def test_a_decoded_message_is_writable_and_apart_from_its_bytes():
    layout, blob = message(100, {3: 1.5})
    before = bytes(blob)
    values, _ = decode(layout, blob)
    values += 1
    assert blob == before


# value codes and known masks

ARANGE = np.arange(1, 101, dtype=np.float32)


def seeded() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize(
    ("values", "nbytes"),
    [("fp32", 4 * 25), ("fp16", 4 + 2 * 25), ("bf16", 2 * 25), ("int8", 4 + 25), ("int4", 4 + 13)],
)
def test_a_message_costs_its_frame_its_positions_and_its_value_code(values: str, nbytes: int):
    blob = encode(layout_of(100), ARANGE, ARANGE > 75, values=values, draw=seeded())
    assert len(blob) == 24 + 13 + nbytes == predict_nbytes(100, 25, values)
    assert blob[6] == VALUE_CODES[values].code


@pytest.mark.parametrize("values", VALUE_CODES)
def test_a_known_mask_leaves_nothing_to_say_of_positions(values: str):
    layout, known = layout_of(100), ARANGE > 75
    blob = encode(layout, ARANGE, known, values=values, known_N=known, draw=seeded())
    assert len(blob) == 24 + VALUE_CODES[values].nbytes(25) == predict_nbytes(25, 25, values)
    decoded, mask = decode(layout, blob, known)
    assert np.array_equal(mask, known)
    assert decoded[known] == pytest.approx(ARANGE[known], rel=0.15)
    assert not decoded[~known].any()


def test_positions_are_counted_within_the_known_mask():
    layout, known = layout_of(100), ARANGE > 60
    blob = encode(layout, ARANGE, np.isin(ARANGE, (61, 100)), known_N=known)
    header = b"FLSS" + bytes([1, BITMAP, 0, 1]) + layout.digest + (2).to_bytes(4, "little")
    bitmap = bytes([1, 0, 0, 0, 0x80])
    body = header + bitmap + struct.pack("<2f", 61, 100)
    crc = zlib.crc32(np.packbits(known).tobytes(), zlib.crc32(body))
    assert blob == body + crc.to_bytes(4, "little")


def test_a_message_is_read_with_its_own_known_mask_and_no_other():
    layout, known = layout_of(100), ARANGE > 75
    relative = encode(layout, ARANGE, ARANGE > 90, known_N=known)
    absolute = encode(layout, ARANGE, ARANGE > 90)
    other = known.copy()
    other[[0, 99]] = other[[99, 0]]  # as many entries, elsewhere
    for read in (decode, sent_entries):
        for wrong in (
            other,
            ~known,
            np.ones(100, bool),
            np.zeros(100, bool),
            known & (ARANGE > 80),
        ):
            with pytest.raises(PayloadError, match="known mask is another"):
                read(layout, relative, wrong)
        with pytest.raises(PayloadError, match="needs a mask that both ends hold"):
            read(layout, relative)
        with pytest.raises(PayloadError, match="written without a mask that both ends hold"):
            read(layout, absolute, known)


def test_an_entry_outside_the_known_mask_is_not_sent():
    with pytest.raises(ValueError, match="outside the known mask"):
        encode(layout_of(100), ARANGE, ARANGE > 70, known_N=ARANGE > 75)


def test_an_empty_known_mask_makes_an_empty_message():
    nothing = np.zeros(100, bool)
    for values in VALUE_CODES:
        blob = encode(
            layout_of(100), ARANGE, nothing, values=values, known_N=nothing, draw=seeded()
        )
        assert len(blob) == 24 == predict_nbytes(0, 0, values)
        decoded, mask = decode(layout_of(100), blob, nothing)
        assert not decoded.any()
        assert not mask.any()


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("count", [0, 1, 50, 99, 100])
def test_kept_zeros_carry_the_mask_itself(values: str, count: int):
    layout, mask = layout_of(100), np.random.default_rng(1).permutation(100) < count
    zeros = np.zeros(100, np.float32)
    blob = encode(layout, zeros, mask, values=values, keep_zeros=True, draw=seeded())
    decoded, marked = decode(layout, blob)
    assert np.array_equal(marked, mask)
    assert not decoded.any()
    assert len(blob) == predict_nbytes(100, count, values, keep_zeros=True)
    dropped = encode(layout, zeros, mask, values=values, draw=seeded())
    assert sent_entries(layout, dropped) == 0


def test_kept_zeros_are_never_hidden_in_a_dense_message():
    """All but one entry: without positions it would be smaller, and its mask lost."""
    layout, mask = layout_of(64), np.arange(64) != 5
    plain = encode(layout, np.ones(64, np.float32), mask)
    kept = encode(layout, np.ones(64, np.float32), mask, keep_zeros=True)
    assert (plain[5], kept[5]) == (DENSE, BITMAP)
    assert np.array_equal(decode(layout, kept)[1], mask)


def test_a_lossy_code_asks_for_its_draw():
    with pytest.raises(ValueError, match="needs a draw"):
        encode(layout_of(100), ARANGE, ARANGE > 75, values="int8")


@pytest.mark.parametrize("code", [5, 255])
def test_an_unknown_value_code_is_refused(code: int):
    layout = layout_of(4)
    content = b"FLSS" + bytes([1, 0, code, 0]) + layout.digest + bytes(4)
    with pytest.raises(PayloadError, match="unknown value code"):
        decode(layout, content + zlib.crc32(content).to_bytes(4, "little"))


@pytest.mark.parametrize("values", ["fp16", "int8", "int4"])
def test_a_scale_beyond_the_finite_is_refused(values: str):
    layout = layout_of(4)
    code = VALUE_CODES[values]
    body = struct.pack("<f", float("inf")) + b"\x7f" * (code.nbytes(4) - 4)
    content = b"FLSS" + bytes([1, 0, code.code, 0]) + layout.digest + (4).to_bytes(4, "little")
    with pytest.raises(PayloadError, match="not finite"):
        decode(layout, content + body + zlib.crc32(content + body).to_bytes(4, "little"))
