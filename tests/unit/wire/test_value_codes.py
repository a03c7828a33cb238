"""Value codes by hand: what stands in the section, and the largest error that is documented."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from wire_messages import bits, seeded

from floss_sim.wire.value_codes import BUCKET, VALUE_CODES, VALUE_CODES_BY_NUMBER

UNBIASED = [name for name, code in VALUE_CODES.items() if code.kind == "unbiased"]
LARGEST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)
LEAST = 1.4e-45  # the smallest subnormal


def written(name: str, values: object, seed: int = 0) -> tuple[bytes, bool]:
    return VALUE_CODES[name].write(np.array(values, np.float32), seeded(seed))


def both_ways(name: str, values: object, seed: int = 0) -> np.ndarray:
    section, is_packed = written(name, values, seed)
    return VALUE_CODES[name].read(memoryview(section), np.size(values), is_packed)


def largest_error(name: str, values: np.ndarray) -> np.ndarray:
    """The documented error of each value, and half a unit of float32 for the last rounding."""
    magnitude = np.abs(values.astype(np.float64))
    most = np.concatenate(
        [np.full(BUCKET, magnitude[s : s + BUCKET].max()) for s in range(0, values.size, BUCKET)]
    )[: values.size]
    scale = max(magnitude.min(), magnitude.max() / 2**15, TINY)
    error = {
        "fp32": 0 * magnitude,
        "fp16": np.maximum(2**-10 * magnitude, 2**-24 * scale),
        "bf16": np.maximum(2**-7 * magnitude, 1.2e-38),
        "int8": np.maximum(most / 127, 1.2e-38),
        "int4": np.maximum(most / 7, 1.2e-38),
        "tail": np.full(values.size, (magnitude.max() - magnitude.min()) / 63),
        "sign": np.abs(magnitude - magnitude.mean()),
    }[name]
    return error + (0 if name == "fp32" else 2**-24 * (magnitude + error) + 2**-149)


# errors


@pytest.mark.parametrize("name", VALUE_CODES)
@pytest.mark.parametrize("count", [1, 2, 3, 511, 512, 513, 1025])
@pytest.mark.parametrize("scale", [1.0, 1e-30, TINY, 3e-44, LARGEST])
@pytest.mark.parametrize("least", [0.0, 0.4])
def test_every_value_is_read_back_within_the_documented_error(
    name: str, count: int, scale: float, least: float
):
    draw = seeded(count)
    spread = least + (1 - least) * draw.random(count) ** 5
    values = (np.copysign(spread, draw.standard_normal(count)) * scale).astype(np.float32)
    values[:: 7 if least == 0 else count + 1] = 0
    values[count // 2] = scale  # the largest, and neither first nor last
    values[-1] = -scale
    decoded = both_ways(name, values)
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()
    assert (np.abs(decoded.astype(np.float64) - values) <= largest_error(name, values)).all()
    assert (decoded * np.sign(values) >= 0).all()
    if name not in ("tail", "sign"):
        assert not decoded[values == 0].any()


@pytest.mark.parametrize("name", VALUE_CODES)
@pytest.mark.parametrize("value", [LARGEST, -LARGEST, TINY, -TINY, LEAST, -LEAST, 1.0, 1 / 3, 0.0])
def test_a_single_value_is_finite_and_within_the_error(name: str, value: float):
    values = np.array([value], np.float32)
    for seed in range(20):
        decoded = both_ways(name, values, seed)
        assert np.isfinite(decoded).all()
        assert np.abs(decoded.astype(np.float64) - values) <= largest_error(name, values)


@pytest.mark.parametrize("name", UNBIASED)
def test_values_next_to_the_largest_float_stay_finite(name: str):
    """Rounding up must not carry them to infinity."""
    values = np.nextafter(np.full(600, LARGEST, np.float32), np.float32(0)) * seeded().choice(
        [-1, 1], 600
    ).astype(np.float32)
    values[::5] = LARGEST
    for seed in range(10):
        assert np.isfinite(both_ways(name, values, seed)).all()


def test_float32_is_bit_for_bit():
    values = [0.0, -0.0, LEAST, -LEAST, TINY, LARGEST, -LARGEST, 1 / 3]
    for repeated in (values, values * 100):  # as they are, and packed
        assert bits(both_ways("fp32", repeated)) == bits(repeated)
    assert [written("fp32", values * times)[1] for times in (1, 100)] == [False, True]


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_the_largest_of_a_bucket_is_exact_but_for_rounding(name: str):
    values = seeded(1).standard_normal(700).astype(np.float32)
    decoded = both_ways(name, values)
    for start in (0, BUCKET):
        place = start + np.abs(values[start : start + BUCKET]).argmax()
        assert decoded[place] == pytest.approx(values[place], rel=2e-7)


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_each_bucket_of_512_has_a_scale_of_its_own(name: str):
    """A value next to 1e30 would be lost in its bucket; in the next one it is not."""
    values = np.full(513, 1e-20, np.float32)
    values[0] = 1e30
    decoded = both_ways(name, values)
    assert abs(decoded[511] - 1e-20) > 1e-21
    assert decoded[512] == pytest.approx(1e-20, rel=1e-6)
    assert [VALUE_CODES[name].scales(count) for count in (1, 512, 513, 1025)] == [1, 1, 2, 3]


def test_tail_keeps_the_smallest_and_the_largest_magnitude():
    values = np.array([0.5, -3.0, 1.0, 3.0, -0.5, 2.0], np.float32)
    for seed in range(20):
        decoded = both_ways("tail", values, seed)
        assert decoded[[0, 1, 3, 4]].tolist() == [0.5, -3.0, 3.0, -0.5]


@pytest.mark.parametrize("size", [TINY, LEAST, 1.0, LARGEST])
def test_tail_keeps_magnitudes_that_are_all_alike(size: float):
    values = np.array([size, -size] * 300, np.float32)
    assert bits(both_ways("tail", values)) == bits(values)


def test_sign_sends_the_sign_and_the_mean_magnitude():
    assert both_ways("sign", [1.0, -2.0, 6.0]).tolist() == [3, -3, 3]
    assert both_ways("sign", [LARGEST, -LARGEST]).tolist() == [LARGEST, -LARGEST]


@pytest.mark.parametrize("name", UNBIASED)
def test_a_code_is_unbiased(name: str):
    """The mean of many decodings differs from each value by less than 5 of its own errors."""
    values = seeded(5).laplace(size=40).astype(np.float32)
    times = 3000
    draw, code = seeded(6), VALUE_CODES[name]
    decoded = np.empty((times, values.size))
    for i in range(times):
        section, is_packed = code.write(values, draw)
        decoded[i] = code.read(memoryview(section), values.size, is_packed)
    slack = 2**-23 * np.abs(values)  # of the last rounding to float32
    error = np.abs(decoded.mean(axis=0) - values)
    assert (error <= 5 * decoded.std(axis=0) / np.sqrt(times) + slack).all()
    assert decoded.std(axis=0).max() > 0


# grids and draws


@pytest.mark.parametrize(("name", "keeps"), [("fp16", 1.0009765625), ("bf16", 1.0078125)])
def test_values_on_the_grid_are_kept(name: str, keeps: float):
    values = [1.0, -2.0, 0.5, keeps]
    for seed in range(10):
        assert both_ways(name, values, seed).tolist() == values


@pytest.mark.parametrize(("name", "levels"), [("int8", 127), ("int4", 7)])
def test_multiples_of_the_scale_are_kept(name: str, levels: int):
    values = np.arange(-levels, levels + 1, dtype=np.float32) / 8
    for seed in range(10):
        assert both_ways(name, values, seed).tolist() == values.tolist()


def test_steps_of_the_tail_are_kept():
    values = np.concatenate([np.arange(4, 68), -np.arange(4, 68)]).astype(np.float32)
    for seed in range(10):
        assert both_ways("tail", values, seed).tolist() == values.tolist()


@pytest.mark.parametrize("name", UNBIASED)
def test_rounding_follows_its_draw_alone(name: str):
    values = seeded(1).standard_normal(600).astype(np.float32)
    assert written(name, values, 1) == written(name, values, 1)
    assert written(name, values, 1) != written(name, values, 2)


@pytest.mark.parametrize("name", sorted(set(VALUE_CODES) - set(UNBIASED)))
def test_a_code_that_does_not_round_takes_no_draw(name: str):
    draw = seeded(1)
    VALUE_CODES[name].write(np.ones(600, np.float32), draw)
    assert draw.bit_generator.state == seeded(1).bit_generator.state
    assert not VALUE_CODES[name].rounds_at_random


# sections by hand


def test_sections_as_they_are_written_by_hand():
    for name, values, section in (
        ("fp32", [1.5, -2], struct.pack("<2f", 1.5, -2)),
        ("fp16", [6, -2, 4], struct.pack("<f3e", 2, 3, -1, 2)),
        ("bf16", [1, -2], struct.pack("<2H", 0x3F80, 0xC000)),
        ("int8", [-254, 2, 254, 0], struct.pack("<f4b", 2, -127, 1, 127, 0)),
        ("int4", [-14, 2, 14], struct.pack("<f2B", 2, 0x1 | 0x9 << 4, 0xF)),
        ("tail", [4, -67, -4], struct.pack("<2f3b", 4, 67, 1, -64, -1)),
        ("sign", [1, -2, 3, 2] * 3, struct.pack("<fH", 2, 0b1101_1101_1101)),
    ):
        assert written(name, values) == (section, False)
        assert VALUE_CODES[name].read(memoryview(section), len(values), False).size == len(values)


def test_halves_whose_range_is_too_wide_are_scaled_by_the_largest():
    section, _ = written("fp16", [2.0**20, 1])
    assert section[:4] == struct.pack("<f", 2.0**5)


@pytest.mark.parametrize("name", [name for name in VALUE_CODES if name != "sign"])
def test_symbols_are_packed_where_that_is_smaller(name: str):
    code, values = VALUE_CODES[name], np.full(4000, 1.25, np.float32)
    section, is_packed = written(name, values)
    assert is_packed
    assert len(section) < 4 * code.scales(4000) + 4000 * code.bits // 8
    assert both_ways(name, values) == pytest.approx(values, rel=0.01)


@pytest.mark.parametrize("name", VALUE_CODES)
def test_no_section_is_larger_than_its_symbols_as_they_are(name: str):
    code = VALUE_CODES[name]
    for count in (0, 1, 2, 3, 17, 511, 512, 513, 3000):
        values = np.frombuffer(seeded(count).bytes(4 * count), np.float32)
        values = np.where(np.isfinite(values), values, np.float32(1))
        section, _ = written(name, values)
        scales = code.scales(count) if count else 0
        assert len(section) <= 4 * scales + -(-count * code.bits // 8)


@pytest.mark.parametrize("name", VALUE_CODES)
def test_no_values_are_no_bytes(name: str):
    assert written(name, []) == (b"", False)
    assert both_ways(name, []).size == 0


def test_codes_are_numbered_apart():
    assert sorted(VALUE_CODES_BY_NUMBER) == list(range(len(VALUE_CODES)))
    assert all(VALUE_CODES_BY_NUMBER[code.code] is code for code in VALUE_CODES.values())
