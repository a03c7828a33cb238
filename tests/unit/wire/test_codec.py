"""Frames by hand, and whole messages: what they carry, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from wire_messages import bits, by_hand, flat, refused, seeded

from floss_sim.errors import PayloadError
from floss_sim.vectors.layout import Layout
from floss_sim.wire import INDEX_CODES, VALUE_CODES, decode, encode, sent_entries
from floss_sim.wire.framing import OVERHEAD_BYTES, fields
from floss_sim.wire.index_codes import BITMAP, HELD, NONE, RICE

LAYOUT = flat(4)
DIGEST = LAYOUT.digest
KNOWN = np.array([True, True, False, True])
ARANGE = np.arange(1, 101, dtype=np.float32)
POSITIONED = [name for name in INDEX_CODES if name != "none"]  # held is the last


def message(entries: int, sent: dict[int, float], index: str | None = None) -> tuple[Layout, bytes]:
    values = np.zeros(entries, np.float32)
    mask = np.zeros(entries, bool)
    for position, value in sent.items():
        values[position], mask[position] = value, True
    return flat(entries), encode(flat(entries), values, mask, index=index)


# messages by hand


def test_few_values_travel_as_gaps_and_values():
    """Gaps 3 and 86 of width 5: low bits 11000 and 01101, rests 0 and 2 in unary."""
    layout, blob = message(100, {3: 1.5, 90: -2.0}, "rice")
    stream = [1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1]
    index = bytes([5]) + np.packbits(stream, bitorder="little").tobytes()
    assert blob == by_hand(layout, RICE, 2, index, struct.pack("<2f", 1.5, -2))


def test_half_the_values_travel_under_a_bitmap():
    layout, blob = message(10, {0: 1.0, 1: 2.0, 4: 3.0, 8: 4.0, 9: -0.5})
    index = bytes([0b0001_0011, 0b0000_0011])
    assert blob == by_hand(layout, BITMAP, 5, index, struct.pack("<5f", 1, 2, 3, 4, -0.5))


def test_all_values_travel_without_positions():
    layout, blob = message(3, {0: 1.0, 1: -2.0, 2: 3.0})
    assert blob == by_hand(layout, NONE, 3, b"", struct.pack("<3f", 1, -2, 3))


def test_no_values_travel_as_a_bare_frame():
    layout, blob = message(100, {})
    assert blob == by_hand(layout, NONE, 0)
    values, mask = decode(layout, blob)
    assert not values.any()
    assert not mask.any()
    assert sent_entries(blob) == 0


def test_positions_are_counted_within_the_known_mask():
    known = ARANGE > 84
    blob = encode(flat(100), ARANGE, np.isin(ARANGE, (85, 86, 89, 100)), known_N=known)
    index, values = bytes([0b0001_0011, 0b1000_0000]), struct.pack("<4f", 85, 86, 89, 100)
    assert blob == by_hand(flat(100), BITMAP, 4, index, values, flags=1, known=known)


def test_a_message_is_read_under_a_code_that_the_encoder_would_not_choose():
    blob = by_hand(LAYOUT, BITMAP, 2, b"\x0a", struct.pack("<2f", 7, -8))
    values, mask = decode(LAYOUT, blob)
    assert values.tolist() == [0, 7, 0, -8]
    assert mask.tolist() == [False, True, False, True]
    assert sent_entries(blob) == 2


# what is sent


def test_exact_zeros_are_dropped_and_the_true_count_is_sent():
    values = np.where(np.arange(64) % 2, np.float32(1), np.float32(0))
    values[[0, 2]] = -0.0
    blob = encode(flat(64), values, np.arange(64) < 20)
    decoded, mask = decode(flat(64), blob)
    assert sent_entries(blob) == mask.sum() == 10
    assert np.array_equal(mask, decoded == 1)


def test_kept_zeros_keep_their_sign():
    values, mask = np.array([-0.0, 0.0, 1.0, -0.0, 5.0], np.float32), np.arange(5) < 4
    decoded, marked = decode(flat(5), encode(flat(5), values, mask, keep_zeros=True))
    assert bits(decoded) == bits([-0.0, 0.0, 1.0, -0.0, 0.0])
    assert np.array_equal(marked, mask)


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("count", [0, 1, 50, 99, 100])
def test_kept_zeros_carry_the_mask_itself(values: str, count: int):
    layout, mask = flat(100), seeded(1).permutation(100) < count
    zeros = np.zeros(100, np.float32)
    blob = encode(layout, zeros, mask, values=values, keep_zeros=True, draw=seeded())
    decoded, marked = decode(layout, blob)
    assert np.array_equal(marked, mask)
    assert not decoded.any()
    assert sent_entries(blob) == count
    assert sent_entries(encode(layout, zeros, mask, values=values, draw=seeded())) == 0


def test_a_value_outside_the_mask_never_travels():
    values = np.arange(1, 65, dtype=np.float32)
    for left_out in ([0], [63], list(range(32)), list(range(63))):
        mask = np.ones(64, bool)
        mask[left_out] = False
        decoded, marked = decode(flat(64), encode(flat(64), values, mask))
        assert np.array_equal(decoded, np.where(mask, values, 0))
        assert np.array_equal(marked, mask)


def test_a_value_outside_the_mask_may_be_anything():
    values = np.array([np.nan, 1, np.inf, 2, -np.inf, 3, 4, 5, 6, 7], np.float32)
    for mask in (np.isfinite(values), values == 2):
        decoded, _ = decode(flat(10), encode(flat(10), values, mask))
        assert np.array_equal(decoded, np.where(mask, values, 0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 30, 64])
@pytest.mark.parametrize("code", VALUE_CODES)
def test_a_value_that_is_not_finite_is_not_sent(value: float, count: int, code: str):
    values = np.ones(64, np.float32)
    values[0] = value
    with pytest.raises(ValueError, match="not finite"):
        encode(flat(64), values, np.arange(64) < count, values=code, draw=seeded())


@pytest.mark.parametrize(("values", "mask"), [(3, 4), (4, 3), (5, 5), (0, 0)])
def test_values_and_mask_must_have_the_layouts_length(values: int, mask: int):
    with pytest.raises(ValueError, match="expected 4"):
        encode(LAYOUT, np.zeros(values, np.float32), np.zeros(mask, bool))


@pytest.mark.parametrize("values", [n for n, code in VALUE_CODES.items() if code.rounds_at_random])
def test_a_code_that_rounds_at_random_asks_for_its_draw(values: str):
    with pytest.raises(ValueError, match="needs a generator"):
        encode(flat(100), ARANGE, ARANGE > 75, values=values)


@pytest.mark.parametrize("index", ["none", "held"])
def test_a_code_that_cannot_write_a_mask_says_so(index: str):
    with pytest.raises(ValueError, match=index):
        encode(flat(100), ARANGE, ARANGE > 75, index=index)


@pytest.mark.parametrize("index", ["none", *POSITIONED[:-1]])
def test_nothing_is_sent_under_a_forced_code_or_refused(index: str):
    try:
        blob = encode(flat(100), ARANGE, ARANGE > 100, index=index)
    except ValueError as error:
        assert index in str(error)
        return
    assert not decode(flat(100), blob)[1].any()


def test_a_decoded_message_is_writable_and_apart_from_its_bytes():
    layout, blob = message(100, {3: 1.5})
    before = bytes(blob)
    values, mask = decode(layout, blob)
    values += 1
    mask |= True
    assert blob == before


# masks that both ends hold


@pytest.mark.parametrize("values", VALUE_CODES)
def test_a_known_mask_leaves_nothing_to_say_of_positions(values: str):
    layout, known = flat(100), ARANGE > 75
    blob = encode(layout, ARANGE, known, values=values, known_N=known, draw=seeded())
    assert len(fields(blob)[0].index) == 0
    decoded, mask = decode(layout, blob, known)
    assert np.array_equal(mask, known)
    assert not decoded[~known].any()
    assert decoded[known] == pytest.approx(ARANGE[known], abs=100 / 7)  # int4's error


def test_a_message_is_read_with_its_own_known_mask_and_no_other():
    layout, known = flat(100), ARANGE > 75
    relative = encode(layout, ARANGE, ARANGE > 90, known_N=known)
    absolute = encode(layout, ARANGE, ARANGE > 90)
    other = known.copy()
    other[[0, 99]] = other[[99, 0]]  # as many entries, elsewhere
    for wrong in (other, ~known, np.ones(100, bool), np.zeros(100, bool), known & (ARANGE > 80)):
        with pytest.raises(PayloadError, match="written with another mask"):
            decode(layout, relative, wrong)
    with pytest.raises(PayloadError, match="needs a known mask"):
        decode(layout, relative)
    with pytest.raises(PayloadError, match="written without a known mask"):
        decode(layout, absolute, known)


def test_a_message_beside_a_held_mask_is_read_with_it_and_no_other():
    layout, held = flat(100), ARANGE % 3 == 0
    blob = encode(layout, ARANGE, held ^ (ARANGE == 50), held_N=held)
    assert fields(blob)[0].index_code == HELD
    assert np.array_equal(decode(layout, blob, held_N=held)[1], held ^ (ARANGE == 50))
    with pytest.raises(PayloadError, match="written with another mask"):
        decode(layout, blob, held_N=held ^ (ARANGE == 1))
    assert refused(layout, blob)
    assert refused(layout, blob, held)


def test_a_held_mask_that_does_not_help_is_neither_used_nor_needed():
    layout = flat(100)
    blob = encode(layout, ARANGE, ARANGE % 2 == 0, held_N=ARANGE == 7)
    assert blob == encode(layout, ARANGE, ARANGE % 2 == 0)
    for held in (None, ARANGE == 7, ARANGE > 7):
        assert np.array_equal(decode(layout, blob, held_N=held)[1], ARANGE % 2 == 0)


def test_an_entry_outside_the_known_mask_is_not_sent():
    with pytest.raises(ValueError, match="outside the known mask"):
        encode(flat(100), ARANGE, ARANGE > 70, known_N=ARANGE > 75)


@pytest.mark.parametrize("values", VALUE_CODES)
def test_an_empty_known_mask_makes_an_empty_message(values: str):
    nothing = np.zeros(100, bool)
    blob = encode(flat(100), ARANGE, nothing, values=values, known_N=nothing, draw=seeded())
    assert len(blob) == OVERHEAD_BYTES
    decoded, mask = decode(flat(100), blob, nothing)
    assert not decoded.any()
    assert not mask.any()
