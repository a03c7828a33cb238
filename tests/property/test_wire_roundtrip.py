from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from floss_sim.errors import PayloadError
from floss_sim.layout import Layout, TensorSpec
from floss_sim.wire import VALUE_CODES, decode, encode, predict_nbytes, sent_entries

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


CODES = st.sampled_from(sorted(VALUE_CODES))


def draw_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def messages(draw: st.DrawFn, values: st.SearchStrategy[float] = FLOATS, most: int = 130):
    """Return a selection, and how it is encoded: value code, known mask, kept zeros, draw."""
    layout, vector, mask = draw(selections(values, most))
    known = mask.copy()
    known[list(draw(st.sets(st.integers(0, layout.entries - 1))))] = True
    options = {
        "values": draw(CODES),
        "known_N": known if draw(st.booleans()) else None,
        "keep_zeros": draw(st.booleans()),
        "draw": draw_of(draw(st.integers(0, 2**32 - 1))),
    }
    return layout, vector, mask, options


def error_of(code: str, values: np.ndarray) -> np.ndarray:
    """A bound that holds for buckets of any size: see ``value_codes`` for its parts."""
    magnitude = np.abs(values.astype(np.float64))
    most = magnitude.max(initial=0)
    relative = {"fp32": 0, "fp16": 2**-10, "bf16": 2**-7, "int8": 0, "int4": 0}[code]
    of_most = {"fp32": 0, "fp16": 2e-12, "bf16": 0, "int8": 1 / 127, "int4": 1 / 7}[code]
    slack = 0 if code == "fp32" else 1.2e-38 + 2**-23 * most * of_most
    return (
        magnitude * relative * (1 + 2**-12)
        + most * of_most
        + slack
        + magnitude * (slack > 0) / 2**24
    )


@settings(max_examples=300)
@given(messages())
def test_every_code_and_known_mask_makes_the_round_trip(message):
    layout, values, mask, options = message
    known, code = options["known_N"], options["values"]
    blob = encode(layout, values, mask, **options)
    decoded, marked = decode(layout, blob, known)
    assert np.isfinite(decoded).all()
    expected = np.where(mask, values, np.float32(0))
    error = np.abs(decoded.astype(np.float64) - expected)
    assert (error <= error_of(code, expected)).all()
    assert not decoded[~mask].any()
    sent = mask if options["keep_zeros"] else mask & (values != 0)
    universe = layout.entries if known is None else int(known.sum())
    assert len(blob) == predict_nbytes(universe, int(sent.sum()), code, options["keep_zeros"])
    assert not (sent & ~marked).any()
    assert marked.sum() == sent_entries(layout, blob, known)
    if options["keep_zeros"]:
        assert np.array_equal(marked, mask)


@given(st.integers(0, 10**7), CODES, st.booleans(), st.data())
def test_the_predicted_size_of_every_code_is_the_cheapest_closed_form(
    universe: int, code: str, keep_zeros: bool, data
):
    count = data.draw(st.integers(0, universe))

    def values(k: int) -> int:
        scales = 4 * math.ceil(k / 512)
        return {
            "fp32": 4 * k,
            "fp16": scales + 2 * k,
            "bf16": 2 * k,
            "int8": scales + k,
            "int4": scales + math.ceil(k / 2),
        }[code]

    forms = [math.ceil(universe / 8) + values(count), 4 * count + values(count)]
    if not keep_zeros or count == universe:
        forms.append(values(universe))
    assert predict_nbytes(universe, count, code, keep_zeros) == 24 + min(forms)


@given(st.integers(1, 1500), CODES)
def test_more_values_of_any_code_never_cost_fewer_bytes(universe: int, code: str):
    sizes = [predict_nbytes(universe, count, code) for count in range(universe + 1)]
    assert sizes == sorted(sizes)


@settings(max_examples=100)
@given(messages(), st.data())
def test_another_known_mask_is_refused(message, data):
    layout, values, mask, options = message
    blob = encode(layout, values, mask, **options)
    own = options["known_N"]
    other = np.zeros(layout.entries, bool)
    other[list(data.draw(st.sets(st.integers(0, layout.entries - 1))))] = True
    if own is None:
        assert refused(layout, blob, other)
        return
    assert refused(layout, blob)
    assert np.array_equal(other, own) or refused(layout, blob, other)


@settings(max_examples=60)
@given(messages(most=40), st.integers(1, 255))
def test_every_truncation_and_changed_byte_of_any_code_is_refused(message, difference: int):
    layout, values, mask, options = message
    blob = encode(layout, values, mask, **options)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= difference
        assert refused(layout, bytes(changed), options["known_N"])
        assert refused(layout, blob[:position], options["known_N"])


@settings(max_examples=300)
@given(
    messages(most=40),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_changed_bytes_of_any_code_under_a_new_seal_are_refused_or_a_message(message, changes):
    layout, values, mask, options = message
    known = options["known_N"]
    content = bytearray(encode(layout, values, mask, **options)[:-4])
    for position, byte in changes:
        content[position % len(content)] = byte
    content[8:16] = layout.digest
    refused_or_within(layout, sealed(bytes(content), known), known)


@settings(max_examples=400)
@given(st.integers(1, 40), st.integers(0, 2), CODES, st.data())
def test_values_of_the_right_length_are_refused_or_a_message(
    entries: int, index: int, code: str, data
):
    """The header fits the body, so that scales, halves and nibbles of any bits are read."""
    layout, format_ = layout_of(entries), VALUE_CODES[code]
    count = entries if index == 0 else data.draw(st.integers(0, entries))
    marks = np.arange(entries) < count
    section = {
        0: b"",
        1: np.packbits(marks, bitorder="little").tobytes(),
        2: np.arange(count, dtype="<u4").tobytes(),
    }[index]
    size = format_.nbytes(count)
    values = data.draw(st.binary(min_size=size, max_size=size))
    header = struct.pack("<4sBBBB8sI", b"FLSS", 1, index, format_.code, 0, layout.digest, count)
    refused_or_within(layout, sealed(header + section + values))


def sealed(content: bytes, known: np.ndarray | None = None) -> bytes:
    crc = zlib.crc32(content)
    if known is not None:
        crc = zlib.crc32(np.packbits(known).tobytes(), crc)
    return content + crc.to_bytes(4, "little")


def refused(layout: Layout, blob: bytes, known: np.ndarray | None = None) -> bool:
    """Decode; any exception but the one that is promised fails the test."""
    try:
        decode(layout, blob, known)
    except PayloadError:
        return True
    return False


def refused_or_within(layout: Layout, blob: bytes, known: np.ndarray | None = None) -> None:
    try:
        values, mask = decode(layout, blob, known)
    except PayloadError:
        return
    assert values.shape == mask.shape == (layout.entries,)
    assert np.isfinite(values).all()
    assert not values[~mask].any()
    assert known is None or not (mask & ~known).any()
    assert mask.sum() == int.from_bytes(blob[16:20], "little") == sent_entries(layout, blob, known)
    again, _ = decode(layout, encode(layout, values, mask))
    assert np.array_equal(again, values)
