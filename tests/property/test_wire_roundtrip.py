from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from floss_sim.errors import PayloadError
from floss_sim.layout import Layout, TensorSpec
from floss_sim.wire import decode, encode, predict_nbytes, sent_entries

FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38]),
)
NONZERO = FLOATS.filter(lambda value: value != 0)


def layout_of(entries: int) -> Layout:
    return Layout((TensorSpec("t", (entries,), "lora_A"),))


def bits(values: np.ndarray) -> list[int]:
    """Return the bit patterns, which tell -0.0 from 0.0."""
    return np.asarray(values, np.float32).view(np.uint32).tolist()


@st.composite
def selections(draw: st.DrawFn, values: st.SearchStrategy[float] = FLOATS, most: int = 130):
    """Return a layout, values that repeat a pattern, and a mask of few entries or all but few."""
    entries = draw(st.integers(1, most))
    pattern = draw(st.lists(values, min_size=1, max_size=12))
    mask = np.zeros(entries, bool)
    mask[list(draw(st.sets(st.integers(0, entries - 1))))] = True
    mask ^= draw(st.booleans())
    return layout_of(entries), np.resize(np.array(pattern, np.float32), entries), mask


@given(selections())
def test_what_is_decoded_is_the_selected_values_bit_for_bit(selection):
    layout, values, mask = selection
    blob = encode(layout, values, mask)
    decoded, marked = decode(layout, blob)
    expected = [float(v) if m and v != 0 else 0.0 for v, m in zip(values, mask, strict=True)]
    assert bits(decoded) == bits(expected)
    assert decoded.dtype == np.float32
    assert marked.dtype == np.bool_
    sent = mask & (values != 0)
    assert not (sent & ~marked).any()
    assert marked.sum() == sent_entries(layout, blob)
    assert np.array_equal(marked, sent) or marked.all()


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_every_count_of_a_length_makes_the_round_trip(entries: int, seed: int):
    draw = np.random.default_rng(seed)
    layout, values = layout_of(entries), draw.standard_normal(entries).astype(np.float32)
    for count in range(entries + 1):
        mask = draw.permutation(entries) < count
        blob = encode(layout, values, mask)
        assert len(blob) == predict_nbytes(entries, count)
        assert bits(decode(layout, blob)[0]) == bits(np.where(mask, values, np.float32(0)))


@given(selections())
def test_encoding_what_was_decoded_gives_the_same_bytes(selection):
    layout, values, mask = selection
    blob = encode(layout, values, mask)
    assert encode(layout, *decode(layout, blob)) == blob


@given(selections(NONZERO))
def test_the_predicted_size_is_the_real_one_without_zeros(selection):
    layout, values, mask = selection
    blob = encode(layout, values, mask)
    assert len(blob) == predict_nbytes(layout.entries, int(mask.sum()))


@given(selections())
def test_the_predicted_size_bounds_the_real_one_with_zeros(selection):
    layout, values, mask = selection
    blob = encode(layout, values, mask)
    assert len(blob) <= predict_nbytes(layout.entries, int(mask.sum()))
    assert len(blob) == predict_nbytes(layout.entries, int((mask & (values != 0)).sum()))


@given(st.integers(1, 10**8), st.data())
def test_the_predicted_size_is_the_cheapest_of_three_closed_forms(entries: int, data):
    count = data.draw(st.integers(0, entries))
    dense, bitmap, index = 4 * entries, math.ceil(entries / 8) + 4 * count, 8 * count
    assert predict_nbytes(entries, count) == 24 + min(dense, bitmap, index)


@given(st.integers(1, 2000))
@example(31)
@example(32)
@example(33)
def test_more_values_never_cost_fewer_bytes(entries: int):
    sizes = [predict_nbytes(entries, count) for count in range(entries + 1)]
    assert sizes == sorted(sizes)


@settings(max_examples=40)
@given(selections(most=40))
def test_every_truncation_is_refused(selection):
    layout, values, mask = selection
    blob = encode(layout, values, mask)
    for length in range(len(blob)):
        assert refused(layout, blob[:length])


@settings(max_examples=40)
@given(selections(most=40), st.binary(min_size=1, max_size=8))
def test_trailing_bytes_are_refused(selection, tail: bytes):
    layout, values, mask = selection
    assert refused(layout, encode(layout, values, mask) + tail)


@settings(max_examples=40)
@given(selections(most=40), st.integers(1, 255))
def test_every_changed_byte_is_refused(selection, difference: int):
    """A CRC-32 detects every burst of up to 32 bits."""
    layout, values, mask = selection
    blob = encode(layout, values, mask)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= difference
        assert refused(layout, bytes(changed))


@given(st.integers(1, 40), st.binary(max_size=300))
def test_random_bytes_are_refused(entries: int, blob: bytes):
    assert refused(layout_of(entries), blob)


@settings(max_examples=300)
@given(st.integers(1, 40), st.binary(max_size=300))
def test_random_bytes_under_a_sound_seal_are_refused_or_a_message(entries: int, rest: bytes):
    layout = layout_of(entries)
    refused_or_within(layout, sealed(b"FLSS" + rest[:4] + layout.digest + rest[4:]))


@settings(max_examples=300)
@given(
    selections(most=40),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_changed_bytes_under_a_new_seal_are_refused_or_a_message(selection, changes):
    """The checksum and the layout's digest are right; anything else may have changed."""
    layout, values, mask = selection
    content = bytearray(encode(layout, values, mask)[:-4])
    for position, byte in changes:
        content[position % len(content)] = byte
    content[8:16] = layout.digest
    refused_or_within(layout, sealed(bytes(content)))


@settings(max_examples=400)
@given(st.integers(1, 40), st.integers(0, 3), st.data())
def test_a_body_of_the_right_length_is_refused_or_a_message(entries: int, code: int, data):
    """The header fits the body's length, so that positions and values are really read."""
    layout = layout_of(entries)
    count = data.draw(st.integers(0, entries + 2))
    index_bytes = {0: 0, 1: math.ceil(entries / 8), 2: 4 * count}.get(code, 0)
    if code == 2 and data.draw(st.booleans()):
        section = b"".join(
            struct.pack("<I", data.draw(st.integers(0, entries + 1))) for _ in range(count)
        )
    else:
        section = data.draw(st.binary(min_size=index_bytes, max_size=index_bytes))
    values = data.draw(st.binary(min_size=4 * count, max_size=4 * count))
    header = struct.pack("<4sBBBB8sI", b"FLSS", 1, code, 0, 0, layout.digest, count)
    refused_or_within(layout, sealed(header + section + values))


def sealed(content: bytes) -> bytes:
    return content + zlib.crc32(content).to_bytes(4, "little")


def refused(layout: Layout, blob: bytes) -> bool:
    """Decode; any exception but the one that is promised fails the test."""
    try:
        decode(layout, blob)
    except PayloadError:
        return True
    return False


def refused_or_within(layout: Layout, blob: bytes) -> None:
    try:
        values, mask = decode(layout, blob)
    except PayloadError:
        return
    assert values.shape == mask.shape == (layout.entries,)
    assert np.isfinite(values).all()
    assert not values[~mask].any()
    assert mask.sum() == int.from_bytes(blob[16:20], "little") == sent_entries(layout, blob)
    again, _ = decode(layout, encode(layout, values, mask))
    assert np.array_equal(again, values)
