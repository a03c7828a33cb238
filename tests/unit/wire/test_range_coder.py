"""Scales of densities, and symbols through the range coder."""

from __future__ import annotations

import math
from contextlib import suppress

import constriction
import numpy as np
import pytest
from wire_messages import seeded

from floss_sim.errors import PayloadError
from floss_sim.wire.range_coder import (
    COARSE,
    FINE,
    Scale,
    SymbolReader,
    SymbolWriter,
    byte_model,
    weight_model,
)

SCALES = pytest.mark.parametrize("scale", [FINE, Scale(2), COARSE])


def entropy_bits(counts: np.ndarray, size: int) -> np.ndarray:
    share = counts / size
    return -size * (share * np.log2(share) + (1 - share) * np.log2(1 - share))


@SCALES
def test_densities_rise_from_none_to_all_and_mirror_at_one_half(scale: Scale):
    densities = scale.densities
    assert (np.diff(densities) > 0).all()
    assert (densities[0], densities[1], densities[-1]) == (0, 2.0**-20, 1)
    assert np.array_equal(densities + densities[::-1], np.ones(densities.size))
    assert 0.5 in densities
    assert scale.last == densities.size - 1 < 256  # a byte


@pytest.mark.parametrize(("scale", "an_octave"), [(FINE, 4), (Scale(2), 2), (COARSE, 1)])
def test_a_scale_has_so_many_densities_an_octave(scale: Scale, an_octave: int):
    low = scale.densities[(scale.densities > 0) & (scale.densities <= 0.5)]
    assert low.size == 19 * an_octave + 1
    steps = np.log2(low[2:] / low[1:-1])  # the lowest octave has but its end
    assert steps == pytest.approx(np.full(steps.size, 1 / an_octave), abs=2e-3)


@SCALES
def test_the_ends_are_for_cells_without_and_full_of_ones(scale: Scale):
    sizes = np.array([0, 1, 1, 7, 7, 10**9, 10**9, 10**9, 10**9])
    counts = np.array([0, 0, 1, 0, 7, 0, 1, 10**9 - 1, 10**9])
    levels = scale.levels_of(counts, sizes)
    last = scale.last
    assert levels.tolist() == [0, 0, last, 0, last, 0, 1, last - 1, last]
    ends = (levels == 0) | (levels == last)
    assert scale.cost_bits(counts[ends], sizes[ends], levels[ends]) == 0


@pytest.mark.parametrize(("scale", "most"), [(FINE, 1.005), (COARSE, 1.055)])
def test_a_level_costs_little_more_than_the_entropy_of_its_cell(scale: Scale, most: float):
    """From 2**-20 to 1/2 and mirrored: what half a step of the scale takes."""
    size = 10**9
    counts = np.round(size * 2.0 ** -np.linspace(1, 20, 2001)).astype(np.int64)
    for ones in (counts, size - counts):
        levels = scale.levels_of(ones, np.full(ones.size, size))
        costs = [
            scale.cost_bits(ones[i : i + 1], np.array([size]), levels[i : i + 1])
            for i in range(ones.size)
        ]
        ratio = np.array(costs) / entropy_bits(ones, size)
        assert 1 - 1e-12 <= ratio.min() <= ratio.max() <= most


def test_costs_add_up_over_cells():
    counts, sizes = np.array([3, 0, 50, 8]), np.array([100, 10, 60, 8])
    levels = FINE.levels_of(counts, sizes)
    alone = [
        FINE.cost_bits(counts[i : i + 1], sizes[i : i + 1], levels[i : i + 1]) for i in range(4)
    ]
    assert FINE.cost_bits(counts, sizes, levels) == pytest.approx(sum(alone))


@pytest.mark.parametrize("density", [2.0**-20, 0.001, 0.02, 0.3, 0.5, 0.9, 1 - 2.0**-20])
def test_bits_of_a_density_take_their_information(density: float):
    """A byte and what 2**-24, below which no byte's probability falls, takes come on top."""
    drawn = seeded().random(800_000) < density
    packed = np.packbits(drawn, bitorder="little")
    writer = SymbolWriter()
    writer.write(packed, byte_model(density))
    section = writer.finish()
    ones = int(drawn.sum())
    bits = -ones * math.log2(density) - (drawn.size - ones) * math.log2(1 - density)
    assert bits - 32 <= 8 * len(section) <= bits + 2e-4 * packed.size + 8
    read = SymbolReader(memoryview(section)).read(packed.size, byte_model(density))
    assert np.array_equal(read, packed)


def test_symbols_of_several_models_are_read_in_their_order():
    draw = seeded(1)
    parts = [
        (draw.integers(0, size, count), weight_model(draw.random(size)))
        for size, count in ((2, 300), (41, 7), (155, 1), (256, 1000), (3, 0))
    ]
    writer = SymbolWriter()
    for symbols, model in parts:
        writer.write(symbols, model)
    reader = SymbolReader(memoryview(writer.finish()))
    for symbols, model in parts:
        assert reader.read(symbols.size, model).tolist() == symbols.tolist()


def test_a_model_weighs_its_symbols():
    """Weights 1, 2, 4, 1 of 8: three, two, one and three bits."""
    model = weight_model(np.array([1.0, 2.0, 4.0, 1.0]))
    for symbol, bits in enumerate((3, 2, 1, 3)):
        writer = SymbolWriter()
        writer.write(np.array([2, *[symbol] * 10_000, 2]), model)  # its own would be all zeros
        assert 8 * len(writer.finish()) == pytest.approx(10_000 * bits, abs=64)


def test_nothing_and_zeros_at_the_end_are_not_sent():
    assert SymbolWriter().finish() == b""
    sections = []
    for count in range(200):
        writer = SymbolWriter()
        writer.write(np.zeros(count, np.int64), byte_model(0.5))
        sections.append(writer.finish())
    assert not any(section.endswith(b"\0") for section in sections)


def test_what_is_missing_at_the_end_is_zero():
    writer = SymbolWriter()
    symbols = seeded(2).integers(0, 256, 50)
    writer.write(symbols, byte_model(0.5))
    section = writer.finish()
    assert section[-1]
    reader = SymbolReader(memoryview(section))
    assert reader.read(50, byte_model(0.5)).tolist() == symbols.tolist()
    reader.check_end()
    for more in (b"\0", bytes(9), b"\1", b"\0\0\0\0\1"):
        reader = SymbolReader(memoryview(section + more))
        assert reader.read(50, byte_model(0.5)).tolist() == symbols.tolist()
        with pytest.raises(PayloadError, match="do not end in the fewest possible bytes"):
            reader.check_end()


@pytest.mark.parametrize("density", [2.0**-20, 0.02, 0.5, 0.9])
def test_no_fewer_bytes_read_back_so(density: float):
    """Shorter ends are tried, as they are and one up; the coder's own is never shorter."""
    draw, model, saved = seeded(3), byte_model(density), []
    for count in (1, 2, 5, 9, 20, 40) * 20:
        symbols = np.packbits(draw.random(8 * count) < density, bitorder="little")
        writer = SymbolWriter()
        writer.write(symbols, model)
        section = writer.finish()
        plain = constriction.stream.queue.RangeEncoder()
        plain.encode(symbols.astype(np.int32), model)
        saved.append(len(plain.get_compressed().astype(">u4").tobytes().rstrip(b"\0")))
        saved[-1] -= len(section)
        reader = SymbolReader(memoryview(section))
        assert reader.read(count, model).tolist() == symbols.tolist()
        reader.check_end()
        for shorter in neighbours(section[:-1]) if section else []:
            with suppress(PayloadError):
                read = SymbolReader(memoryview(shorter)).read(count, model)
                assert read.tolist() != symbols.tolist()
    assert min(saved) >= 0
    assert np.mean(saved) > 1 or density == 2.0**-20  # of which a few take no bytes at all


def neighbours(section: bytes) -> list[bytes]:
    """Return bytes, and those that count one up from them."""
    up = int.from_bytes(section, "big") + 1
    return [section, up.to_bytes(len(section), "big")] if section.strip(b"\xff") else [section]


def test_an_end_may_count_one_up_in_what_was_settled():
    """Likely symbols leave the range at the top of what the settled words say."""
    draw, model, carried = seeded(4), weight_model([1.0, 1e-7, 1e-7]), 0
    for _ in range(2000):
        symbols = draw.integers(0, 2, 13)
        plain, writer = constriction.stream.queue.RangeEncoder(), SymbolWriter()
        plain.encode(symbols.astype(np.int32), model)
        writer.write(symbols, model)
        section = writer.finish()
        words = plain.get_compressed().astype(">u4")[: plain.pos()[0]].tobytes()
        carried += section[: len(words)].ljust(len(words), b"\0") != words
        reader = SymbolReader(memoryview(section))
        assert reader.read(13, model).tolist() == symbols.tolist()
        reader.check_end()
    assert carried > 10


@pytest.mark.parametrize("density", [0.01, 0.3, 0.5])
def test_bytes_that_no_encoder_writes_are_refused(density: float):
    with pytest.raises(PayloadError, match="range-coded positions are damaged"):
        SymbolReader(memoryview(b"\xff" * 8)).read(20, byte_model(density))
