from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire_messages import adapters, bits, by_hand, flat, refused, sealed, seeded

from floss_sim.errors import PayloadError
from floss_sim.vectors.layout import Layout
from floss_sim.wire import INDEX_CODES, VALUE_CODES, decode, encode, predict_nbytes, sent_entries
from floss_sim.wire.framing import fields
from floss_sim.wire.index_codes import HELD

FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38]),
)
CODES = st.sampled_from(sorted(VALUE_CODES))
SEEDS = st.integers(0, 2**32 - 1)
Message = tuple[Layout, np.ndarray, np.ndarray, dict[str, Any]]


@st.composite
def layouts(draw: st.DrawFn, most: int = 40) -> Layout:
    """Return a tensor of few entries, or adapters with biases and perhaps a head."""
    if draw(st.booleans()):
        return flat(draw(st.integers(1, 3 * most)))
    sizes = [draw(st.integers(1, most // 8)) for _ in range(3)]
    return adapters(draw(st.integers(1, 2)), *sizes, classes=draw(st.integers(0, 3)), width=3)


@st.composite
def messages(draw: st.DrawFn, most: int = 40) -> Message:
    """Return a layout, values that repeat a pattern, a mask, and how they are encoded.

    The mask is of few entries or of all but few; a held one differs from it in few.
    """
    layout = draw(layouts(most))
    n = layout.entries
    some = st.sets(st.integers(0, n - 1))
    pattern = np.array(draw(st.lists(FLOATS, min_size=1, max_size=12)), np.float32)
    mask = np.zeros(n, bool)
    mask[list(draw(some))] = True
    mask ^= draw(st.booleans())
    known, held = mask.copy(), mask.copy()
    known[list(draw(some))] = True
    held[list(draw(some))] ^= True
    options = {
        "values": draw(CODES),
        "known_N": known if draw(st.booleans()) else None,
        "held_N": held if draw(st.booleans()) else None,
        "keep_zeros": draw(st.booleans()),
        "draw": seeded(draw(SEEDS)),
    }
    return layout, np.resize(pattern, n), mask, options


def ends(options: dict[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    return options["known_N"], options["held_N"]


def error_of(code: str, values: np.ndarray) -> np.ndarray:
    """A bound that holds for buckets of any size: see ``value_codes`` for its parts."""
    magnitude = np.abs(values.astype(np.float64))
    most = magnitude.max(initial=0)
    of_value = {"fp16": 2**-10, "bf16": 2**-7}.get(code, 0)
    of_most = {"fp16": 2**-24, "int8": 1 / 127, "int4": 1 / 7, "tail": 1 / 63, "sign": 1}
    error = magnitude * of_value + most * of_most.get(code, 0)
    return error if code == "fp32" else error + 1.2e-38 + (magnitude + error) * 2**-23


# round trips


@settings(max_examples=300)
@given(messages())
def test_what_is_decoded_is_what_was_selected(message: Message):
    layout, values, mask, options = message
    known, held = ends(options)
    blob = encode(layout, values, mask, **options)
    decoded, marked = decode(layout, blob, known, held)
    assert (decoded.dtype, marked.dtype) == (np.float32, np.bool_)
    assert np.isfinite(decoded).all()
    sent = mask if options["keep_zeros"] else mask & (values != 0)
    assert np.array_equal(marked, sent)
    assert sent.sum() == sent_entries(blob)
    expected = np.where(sent, values, np.float32(0))
    error = np.abs(decoded.astype(np.float64) - expected)
    assert (error <= error_of(options["values"], expected)).all()
    assert not decoded[~sent].any()
    if options["values"] == "fp32":
        assert bits(decoded) == bits(expected)


def codes_of(sent: np.ndarray, options: dict[str, Any]) -> list[str]:
    """Return the index codes that can write a mask."""
    universe = sent if options["known_N"] is None else sent[options["known_N"]]
    if universe.all() or not universe.any():
        codes = ["none"] if not universe.any() else list(INDEX_CODES)
    else:
        codes = [name for name in INDEX_CODES if name != "none"]
    return [name for name in codes if name != "held" or options["held_N"] is not None]


@settings(max_examples=300)
@given(messages())
def test_every_index_code_makes_the_round_trip(message: Message):
    layout, values, mask, options = message
    known, held = ends(options)
    sent = mask if options["keep_zeros"] else mask & (values != 0)
    for index in codes_of(sent, options):
        blob = encode(layout, values, mask, index=index, **options)
        assert fields(blob)[0].index_code == INDEX_CODES[index]
        assert np.array_equal(decode(layout, blob, known, held)[1], sent)


@settings(max_examples=25)
@given(st.integers(1, 100_000), SEEDS, CODES)
@example(100_000, 0, "fp16")
@example(99_999, 1, "tail")
@example(1, 2, "int4")
def test_every_size_of_a_universe_makes_the_round_trip(entries: int, seed: int, code: str):
    """Counts of 0, 1, some, all but one, and all."""
    draw = seeded(seed)
    layout = flat(entries)
    values = draw.standard_normal(entries).astype(np.float32)
    values[values == 0] = 1
    ranks = draw.permutation(entries)
    for count in {0, 1, int(entries * draw.random()), entries - 1, entries}:
        mask = ranks < count
        for index in codes_of(mask, {"known_N": None, "held_N": None}):
            blob = encode(layout, values, mask, values=code, index=index, draw=draw)
            decoded, marked = decode(layout, blob)
            assert np.array_equal(marked, mask)
            expected = np.where(mask, values, np.float32(0))
            error = np.abs(decoded.astype(np.float64) - expected)
            assert (error <= error_of(code, expected)).all()


@given(st.integers(1, 60), SEEDS)
def test_every_count_of_a_length_makes_the_round_trip(entries: int, seed: int):
    draw = seeded(seed)
    layout, values = flat(entries), draw.standard_normal(entries).astype(np.float32)
    for count in range(entries + 1):
        mask = draw.permutation(entries) < count
        blob = encode(layout, values, mask)
        assert bits(decode(layout, blob)[0]) == bits(np.where(mask, values, np.float32(0)))


@given(messages())
def test_encoding_what_was_decoded_gives_the_same_bytes(message: Message):
    layout, values, mask, options = message
    known, held = ends(options)
    lossless = options | {"values": "fp32", "draw": None}
    blob = encode(layout, values, mask, **lossless)
    again = encode(layout, *decode(layout, blob, known, held), **lossless)
    assert again == blob


@settings(max_examples=100)
@given(messages(), SEEDS)
def test_a_message_follows_its_values_masks_and_draw_alone(message: Message, seed: int):
    layout, values, mask, options = message
    one, other = (
        encode(layout, values, mask, **options | {"draw": seeded(seed)}) for _ in range(2)
    )
    assert one == other


# predicted sizes


@given(st.integers(1, 2000), st.data(), CODES)
def test_a_prediction_counts_a_frame_and_no_more_than_a_bitmap_and_plain_symbols(
    universe: int, data: st.DataObject, code: str
):
    count = data.draw(st.integers(0, universe))
    form = VALUE_CODES[code]
    most = 28 + -(-universe // 8) + 4 * form.scales(count) + -(-count * form.bits // 8)
    assert 28 <= predict_nbytes(universe, count, code) <= most
    assert (predict_nbytes(universe, count, code) == 28) == (count == 0)


# whatever arrives


@settings(max_examples=60)
@given(messages(most=24), st.integers(1, 255), st.binary(min_size=1, max_size=8))
def test_every_truncation_tail_and_changed_byte_is_refused(
    message: Message, difference: int, tail: bytes
):
    """A CRC-32 detects every burst of up to 32 bits."""
    layout, values, mask, options = message
    blob = encode(layout, values, mask, **options)
    assert refused(layout, blob + tail, *ends(options))
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= difference
        assert refused(layout, bytes(changed), *ends(options))
        assert refused(layout, blob[:position], *ends(options))


@given(st.integers(1, 40), st.binary(max_size=300))
def test_random_bytes_are_refused(entries: int, blob: bytes):
    assert refused(flat(entries), blob)


@settings(max_examples=100)
@given(messages(), st.data())
def test_another_mask_is_refused(message: Message, data: st.DataObject):
    layout, values, mask, options = message
    known, held = ends(options)
    blob = encode(layout, values, mask, **options)
    other = np.zeros(layout.entries, bool)
    other[list(data.draw(st.sets(st.integers(0, layout.entries - 1))))] = True
    if known is None:
        assert refused(layout, blob, other, held)
    else:
        assert refused(layout, blob, None, held)
        assert np.array_equal(other, known) or refused(layout, blob, other, held)
    if fields(blob)[0].index_code == HELD:
        assert refused(layout, blob, known)
        assert np.array_equal(other, held) or refused(layout, blob, known, other)


@settings(max_examples=400)
@given(
    messages(),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 8),
)
def test_changed_bytes_under_a_new_seal_are_refused_or_a_message(
    message: Message, changes: list[tuple[int, int]], cut: int
):
    """The checksum and the layout's digest are right; anything else may have changed."""
    layout, values, mask, options = message
    content = bytearray(encode(layout, values, mask, **options)[:-4])
    for position, byte in changes:
        content[position % len(content)] = byte
    del content[max(24, len(content) - cut) :]
    content[8:16] = layout.digest
    refused_or_within(layout, sealed(bytes(content), *ends(options)), *ends(options))


@settings(max_examples=400)
@given(layouts(), st.integers(0, 7), CODES, st.booleans(), st.data())
def test_any_sections_in_a_sound_frame_are_refused_or_a_message(
    layout: Layout, index: int, code: str, packed: bool, data: st.DataObject
):
    """Sections are mostly as long as the header says, so that they are really read."""
    n, form = layout.entries, VALUE_CODES[code]
    count = data.draw(st.integers(0, n))
    length = -(-n // 8) if index == 1 else data.draw(st.integers(0, 12))
    section = data.draw(st.binary(min_size=length, max_size=length))
    if index in (4, 5, 6) and data.draw(st.booleans()):
        levels = bytes([data.draw(st.integers(0, 40)), data.draw(st.integers(1, 4))])
        section = levels + section
    size = (4 * form.scales(count) if count else 0) + -(-count * form.bits // 8)
    values = data.draw(st.binary(min_size=size, max_size=size))
    held = seeded(n).random(n) < 0.5
    blob = by_hand(
        layout, index, count, section, values, value_code=form.code, flags=2 * packed, held=held
    )
    refused_or_within(layout, blob, None, held)


def refused_or_within(
    layout: Layout, blob: bytes, known: np.ndarray | None, held: np.ndarray | None
) -> None:
    try:
        values, mask = decode(layout, blob, known, held)
    except PayloadError:
        return
    assert values.shape == mask.shape == (layout.entries,)
    assert np.isfinite(values).all()
    assert not values[~mask].any()
    assert known is None or not (mask & ~known).any()
    assert mask.sum() == int.from_bytes(blob[16:20], "little") == sent_entries(blob)
    again = encode(layout, values, mask, known_N=known, held_N=held, keep_zeros=True)
    assert bits(decode(layout, again, known, held)[0]) == bits(values)
