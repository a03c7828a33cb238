"""Index sections by hand, every code on small universes, and what a reader refuses."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from wire_messages import adapters, flat, in_rows, log2_choose, seeded

from floss_sim.errors import PayloadError
from floss_sim.wire.cells import Universe
from floss_sim.wire.index_codes import (
    BITMAP,
    HELD,
    INDEX_CODES,
    NONE,
    RANGE,
    RICE,
    ROWS,
    TENSORS,
    range_bytes,
    read,
    write,
)
from floss_sim.wire.range_coder import COARSE, FINE, SymbolWriter, byte_model

HALF = FINE.levels_of(np.array([1]), np.array([2])).item()


def universe_of(entries: int) -> Universe:
    return Universe(flat(entries))


def section_of(universe: Universe, positions: list[int], code: int) -> bytes:
    chosen, section = write(universe, np.array(positions, dtype=np.int64), code)
    assert chosen == code
    return section


def read_back(universe: Universe, code: int, section: bytes, count: int) -> list[int]:
    return read(universe, code, memoryview(section), count).tolist()


# sections by hand


def test_codes_are_numbered_by_their_table():
    names = ["none", "bitmap", "rice", "range", "tensors", "rows", "held"]
    assert dict(INDEX_CODES) == {name: code for code, name in enumerate(names)}


def test_bitmap_bits_run_from_the_lowest_of_each_byte():
    section = section_of(universe_of(11), [0, 3, 9], BITMAP)
    assert section == bytes([0b0000_1001, 0b0000_0010])


def test_rice_is_a_width_then_low_bits_then_rests_in_unary():
    """Gaps 5, 0, 6 of width 2: low bits 01, 00, 10 (lowest first), rests 1, 0, 1."""
    low = [1, 0, 0, 0, 0, 1]
    unary = [0, 1, 1, 0, 1]
    section = bytes([2]) + np.packbits([*low, *unary], bitorder="little").tobytes()
    assert read_back(universe_of(14), RICE, section, 3) == [5, 6, 13]


def test_rice_takes_the_width_of_fewest_bits():
    universe, draw = universe_of(4000), seeded()
    for count in (1, 2, 5, 30, 200):
        positions = np.sort(draw.choice(4000, count, replace=False))
        gaps = np.diff(positions, prepend=-1) - 1
        fewest = min(int((gaps >> w).sum()) + count * (1 + w) for w in range(13))
        section = section_of(universe, positions.tolist(), RICE)
        assert len(section) == 1 + math.ceil(fewest / 8)


def test_range_is_the_bytes_of_a_bitmap_under_the_density_of_all():
    packed = np.packbits(np.isin(np.arange(40), (1, 17)), bitorder="little")
    writer = SymbolWriter()
    writer.write(packed, byte_model(2 / 40))
    assert section_of(universe_of(40), [1, 17], RANGE) == writer.finish()


def test_a_single_tensor_is_its_level_and_its_bits():
    """Half of 16 entries: a span of one level needs no word of which cell has which."""
    packed = np.array([0b0101_0101, 0b0011_0011])
    writer = SymbolWriter()
    writer.write(packed, FINE.model(HALF))
    positions = [i for i in range(16) if packed[i // 8] >> i % 8 & 1]
    assert section_of(universe_of(16), positions, TENSORS) == bytes([HALF, 1]) + writer.finish()


def test_full_and_empty_tensors_have_no_bits():
    layout = adapters(2, 2, 5, 3)
    universe = Universe(layout)
    full = layout.slices["layer.001.q.lora_A"]
    section = section_of(universe, list(range(full.start, full.stop)), TENSORS)
    assert section[:2] == bytes([0, FINE.last + 1])
    assert len(section) <= 2 + 4 * math.ceil(6 * math.log2(FINE.last + 1) / 32)  # words of 32


def test_a_message_of_all_or_nothing_has_no_positions():
    for entries in (0, 1, 9):
        universe = Universe(flat(9), np.arange(9) < entries)
        assert write(universe, np.arange(entries)) == (NONE, b"")
        assert write(universe, np.arange(0)) == (NONE, b"")
        assert read_back(universe, NONE, b"", entries) == list(range(entries))


# every code reads what it wrote


@pytest.mark.parametrize("code", [BITMAP, RICE, RANGE, TENSORS, ROWS, HELD])
def test_every_mask_of_a_small_layout_is_read_back(code: int):
    layout = adapters(1, 2, 2, 1, classes=1, width=1)
    assert layout.entries == 9
    universe = Universe(layout, held=np.arange(9) % 4 == 1)
    for count in range(1, 10):
        for positions in itertools.combinations(range(9), count):
            section = section_of(universe, list(positions), code)
            assert read_back(universe, code, section, count) == list(positions)


@pytest.mark.parametrize("code", [BITMAP, RICE, RANGE, TENSORS, ROWS])
@pytest.mark.parametrize("entries", [1, 2, 7, 8, 9, 64, 65, 1000])
def test_one_all_but_one_and_all_entries_are_read_back(code: int, entries: int):
    universe = universe_of(entries)
    for positions in (
        [0], [entries - 1], list(range(entries)), list(range(1, entries)),
        list(range(entries - 1)),
    ):  # fmt: skip
        if positions:
            section = section_of(universe, positions, code)
            assert read_back(universe, code, section, len(positions)) == positions


@pytest.mark.parametrize("entries", [40, 1000, 30_000])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_size_of_a_range_code_is_known_before_it_is_made(entries: int, share: float):
    count = max(1, int(entries * share))
    for seed in range(5):
        positions = seeded(seed).choice(entries, count, replace=False)
        section = section_of(universe_of(entries), np.sort(positions).tolist(), RANGE)
        assert len(section) <= range_bytes(entries, count) + 1
        assert 8 * len(section) >= log2_choose(entries, count) - 8


def test_range_bytes_of_nothing_and_of_all_are_one():
    assert range_bytes(100, 0) == range_bytes(100, 100) == range_bytes(1, 1) == 1


# the choice


@pytest.mark.parametrize(
    ("entries", "count", "code"),
    [
        (10**7, 30, RICE), (20_000, 3, RANGE), (20_000, 2000, RANGE), (20_000, 10_000, BITMAP),
        (20_000, 20_000, NONE),
    ],
)  # fmt: skip
def test_uniform_positions_take_the_code_of_their_density(entries: int, count: int, code: int):
    positions = np.sort(seeded().choice(entries, count, replace=False))
    assert write(universe_of(entries), positions)[0] == code


def test_densities_that_differ_take_the_code_of_what_they_differ_by():
    layout, draw = adapters(4, 8, 200, 200), seeded()
    by_tensor = np.repeat(np.where(np.arange(12) % 3 == 1, 0.5, 0.01), layout.tensor_sizes)
    by_row = in_rows(
        layout, np.repeat(0.5 * draw.random(layout.row_sizes.size) ** 4, layout.row_sizes)
    )
    near = draw.random(layout.entries) < 0.1
    masks = {TENSORS: by_tensor, ROWS: by_row, HELD: np.where(near, 0.9, 0.01)}
    for code, density in masks.items():
        universe = Universe(layout, held=near if code == HELD else None)
        mask = draw.random(layout.entries) < density
        assert write(universe, np.flatnonzero(mask))[0] == code


def test_of_equal_sections_the_lowest_code_is_taken():
    """Of 8 entries the last: a byte as a bitmap, and one range-coded."""
    assert len(section_of(universe_of(8), [7], RANGE)) == range_bytes(8, 1) == 1
    assert write(universe_of(8), np.array([7]))[0] == BITMAP


# refusals


@pytest.mark.parametrize(
    ("code", "section", "entries", "count", "says"),
    [
        (7, b"", 8, 1, "unknown index code 7"),
        (255, b"", 8, 1, "unknown index code 255"),
        (NONE, b"\0", 8, 8, "without positions has 8 of 8 entries, not 0 or all"),
        (NONE, b"", 8, 7, "without positions has 7 of 8"),
        (BITMAP, b"\x07\x00", 8, 3, "bitmap of 2 bytes for 8"),
        (BITMAP, b"", 8, 0, "bitmap of 0 bytes for 8"),
        (BITMAP, b"\x07", 8, 2, "does not mark 2 of 8"),
        (BITMAP, b"\x07", 8, 4, "does not mark 4 of 8"),
        (BITMAP, b"\x00", 8, 1, "does not mark 1 of 8"),
        (BITMAP, b"\x30", 5, 2, "does not mark 2 of 5"),
        (RICE, b"", 8, 1, "gaps of 1 entries in 0 bytes"),
        (RICE, b"\x00", 8, 1, "gaps of 1 entries in 1 bytes"),
        (RICE, b"\x00\x01", 8, 0, "gaps of 0 entries"),
        (RICE, b"\x20\x00\x00\x00\x00\x01", 8, 1, "gaps of 1 entries"),
        (RICE, b"\xff\x01", 8, 1, "gaps of 1 entries"),
        (RICE, b"\x00" + bytes(2) + b"\x01", 8, 1, "gaps of 1 entries in 4 bytes"),
        (RICE, b"\x00" + bytes(1000), 8, 1, "gaps of 1 entries in 1001 bytes"),
        (RICE, b"\x00\x00", 8, 1, "does not hold the gaps of 1"),
        (RICE, b"\x00\x03", 8, 1, "does not hold the gaps of 1"),
        (RICE, b"\x00\x01", 8, 2, "does not hold the gaps of 2"),
        (RICE, b"\x00\x01\x00", 8, 1, "gaps"),
        (RICE, b"\x03\x01", 80, 4, "does not hold the gaps of 4"),
        (RICE, b"\x00\x80", 5, 1, "does not mark 1 of 5"),
        (RANGE, b"\xff" * 8, 64, 32, "damaged"),
        (RANGE, b"", 64, 32, "does not mark 32 of 64"),
        (TENSORS, b"", 8, 1, "lacks its levels"),
        (TENSORS, b"\x05", 8, 1, "lacks its levels"),
        (TENSORS, b"\x05\x00", 8, 1, "beyond its scale"),
        (TENSORS, bytes([FINE.last + 1, 1]), 8, 1, "beyond its scale"),
        (TENSORS, bytes([FINE.last, 2]), 8, 8, "beyond its scale"),
        (TENSORS, b"\xff\xff", 8, 1, "beyond its scale"),
        (TENSORS, bytes([HALF, 1]) + b"\xff" * 8, 64, 32, "damaged"),
        (TENSORS, bytes([0, 1]), 8, 8, "does not mark 8 of 8"),
        (TENSORS, bytes([FINE.last, 1]), 8, 7, "does not mark 7 of 8"),
        (ROWS, b"", 8, 1, "lacks its levels"),
        (ROWS, b"\x05\x00", 8, 1, "beyond its scale"),
        (ROWS, bytes([COARSE.last, 2, 0xFF]), 8, 1, "beyond its scale"),
        (ROWS, b"\x05\x01", 8, 1, "beyond its scale"),
        (ROWS, b"\x05\x03\xff", 8, 1, "beyond its scale"),
        (ROWS, b"\x05\x01\x00", 8, 1, "gives weight to no level, or to one beyond"),
        (ROWS, b"\x05\x01\xf0", 8, 1, "gives weight to no level, or to one beyond"),
        (HELD, b"\x05\x01", 8, 1, "needs a held mask, which this reader does not hold"),
    ],
)
def test_sections_that_no_writer_writes_are_refused(
    code: int, section: bytes, entries: int, count: int, says: str
):
    with pytest.raises(PayloadError, match=says):
        read_back(universe_of(entries), code, section, count)


@pytest.mark.parametrize("code", [TENSORS, ROWS])
def test_a_bit_beyond_the_end_of_its_cells_is_refused(code: int):
    """Five entries at one half leave three bits of their byte."""
    scale = {TENSORS: FINE, ROWS: COARSE}[code]
    half = scale.levels_of(np.array([1]), np.array([2])).item()
    header = bytes([half, 1]) if code == TENSORS else bytes([half, 1, 0x0F])
    for byte, fits in ((0b0001_0001, True), (0b0011_0001, False), (0b1000_0001, False)):
        writer = SymbolWriter()
        writer.write(np.array([byte]), scale.model(half))
        section = header + writer.finish()
        if fits:
            assert read_back(universe_of(5), code, section, 2) == [0, 4]
        else:
            with pytest.raises(PayloadError, match="beyond the end of its cell"):
                read_back(universe_of(5), code, section, 2)


def test_a_held_section_is_refused_by_a_reader_of_another_count():
    universe = Universe(flat(8), held=np.arange(8) < 3)
    section = section_of(universe, [0, 1, 7], HELD)
    with pytest.raises(PayloadError, match="does not mark 4 of 8"):
        read_back(universe, HELD, section, 4)
