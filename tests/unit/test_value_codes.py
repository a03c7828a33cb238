"""Value codes by hand: what stands in the section, and the largest error that is documented."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from floss_sim.errors import PayloadError
from floss_sim.wire.value_codes import BY_CODE, VALUE_CODES

LOSSY = [name for name, code in VALUE_CODES.items() if not code.lossless]
LARGEST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)
LEAST = 1.4e-45  # the smallest subnormal
COUNTS = [0, 1, 2, 3, 511, 512, 513, 1024, 1025]


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def both_ways(name: str, values: np.ndarray, seed: int = 0) -> np.ndarray:
    code = VALUE_CODES[name]
    section = code.write(values.astype(np.float32), draw(seed))
    assert len(section) == code.nbytes(values.size)
    with np.errstate(over="ignore"):
        return np.asarray(code.read(memoryview(section), values.size)).astype(np.float32)


def largest_error(name: str, values: np.ndarray) -> np.ndarray:
    """The documented error of each value, and half a unit of float32 for the last rounding."""
    magnitude = np.abs(values.astype(np.float64))
    starts = range(0, values.size, 512)
    most = np.concatenate([np.full(512, magnitude[s : s + 512].max()) for s in starts])
    most = most[: values.size]
    error = {
        "fp32": 0 * magnitude,
        "fp16": np.maximum(2**-10 * magnitude, 2e-12 * most),
        "bf16": np.maximum(2**-7 * magnitude, 1.2e-38),
        "int8": np.maximum(most / 127, 1.2e-38),
        "int4": np.maximum(most / 7, 1.2e-38),
    }[name]
    return error + (0 if name == "fp32" else 2**-24 * (magnitude + error) + 2**-149)


@pytest.mark.parametrize("name", VALUE_CODES)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("scale", [1.0, 1e-30, TINY, 3e-44, LARGEST])
def test_every_value_is_read_back_within_the_documented_error(name: str, count: int, scale: float):
    values = (draw(count).uniform(-1, 1, count) ** 5 * scale).astype(np.float32)
    values[::7] = 0
    if count:
        values[count // 2] = scale  # the largest, and neither first nor last
        values[-1] = -scale
    decoded = both_ways(name, values)
    assert np.isfinite(decoded).all()
    if count:
        assert (np.abs(decoded.astype(np.float64) - values) <= largest_error(name, values)).all()
    assert not decoded[values == 0].any()
    assert (decoded * np.sign(values) >= 0).all()


@pytest.mark.parametrize("name", VALUE_CODES)
@pytest.mark.parametrize("value", [LARGEST, -LARGEST, TINY, -TINY, LEAST, -LEAST, 1.0, 1 / 3, 0.0])
def test_a_single_value_is_finite_and_within_the_error(name: str, value: float):
    values = np.array([value], np.float32)
    for seed in range(20):
        decoded = both_ways(name, values, seed)
        assert np.isfinite(decoded).all()
        error = np.abs(decoded.astype(np.float64) - values)
        assert error <= largest_error(name, values)


@pytest.mark.parametrize("name", ["fp16", "int8", "int4"])
def test_the_largest_of_a_bucket_is_exact_but_for_rounding(name: str):
    values = draw(1).standard_normal(700).astype(np.float32)
    decoded = both_ways(name, values)
    for start in (0, 512):
        place = start + np.abs(values[start : start + 512]).argmax()
        assert decoded[place] == pytest.approx(values[place], rel=2e-7)


def test_float32_is_bit_for_bit():
    values = np.array([0.0, -0.0, LEAST, -LEAST, TINY, LARGEST, -LARGEST, 1 / 3], np.float32)
    assert both_ways("fp32", values).tobytes() == values.tobytes()


@pytest.mark.parametrize(("name", "keeps"), [("fp16", 1.0009765625), ("bf16", 1.0078125)])
def test_values_on_the_grid_are_kept(name: str, keeps: float):
    values = np.array([1.0, -2.0, 0.5, keeps], np.float32)
    for seed in range(10):
        assert both_ways(name, values, seed).tolist() == values.tolist()


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_multiples_of_the_scale_are_kept(name: str):
    levels = {"int8": 127, "int4": 7}[name]
    values = np.arange(-levels, levels + 1, dtype=np.float32) / 8
    for seed in range(10):
        assert both_ways(name, values, seed).tolist() == values.tolist()


def test_int8_is_a_scale_then_signed_bytes():
    section = VALUE_CODES["int8"].write(np.array([-254, 2, 254, 0], np.float32), draw())
    assert section == struct.pack("<f4b", 2, -127, 1, 127, 0)


def test_int4_is_a_scale_then_nibbles_low_one_first_padded_with_zero():
    section = VALUE_CODES["int4"].write(np.array([-14, 2, 14], np.float32), draw())
    assert section == struct.pack("<f2B", 2, 0x1 | 0x9 << 4, 0xF)


def test_bf16_is_the_upper_half_of_float32():
    section = VALUE_CODES["bf16"].write(np.array([1, -2], np.float32), draw())
    assert section == struct.pack("<2H", 0x3F80, 0xC000)


def test_fp16_is_a_scale_then_halves():
    section = VALUE_CODES["fp16"].write(np.array([65536, -2, 0], np.float32), draw())
    assert section == struct.pack("<f3e", 2, 32768, -1, 0)


@pytest.mark.parametrize("name", ["fp16", "int8", "int4"])
def test_each_bucket_of_512_has_a_scale_of_its_own(name: str):
    """A value next to 1e30 would be lost in its bucket; in the next one it is not."""
    values = np.full(513, 1e-20, np.float32)
    values[0] = 1e30
    decoded = both_ways(name, values)
    assert abs(decoded[511] - 1e-20) > 1e-21
    assert decoded[512] == pytest.approx(1e-20, rel=1e-6)
    assert VALUE_CODES[name].nbytes(513) - VALUE_CODES[name].nbytes(512) in (4 + 1, 4 + 2)


@pytest.mark.parametrize("name", LOSSY)
def test_rounding_follows_its_draw_alone(name: str):
    values = draw(1).standard_normal(600).astype(np.float32)
    assert (both_ways(name, values, 1) == both_ways(name, values, 1)).all()
    assert (both_ways(name, values, 1) != both_ways(name, values, 2)).any()


@pytest.mark.parametrize("name", VALUE_CODES)
def test_more_values_never_take_fewer_bytes(name: str):
    sizes = [VALUE_CODES[name].nbytes(count) for count in range(1100)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 0


@pytest.mark.parametrize("name", ["fp16", "int8", "int4"])
@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), -float("inf")])
def test_a_scale_that_no_writer_writes_is_refused(name: str, scale: float):
    code = VALUE_CODES[name]
    section = struct.pack("<f", scale) + bytes(code.nbytes(3) - 4)
    with pytest.raises(PayloadError, match="scale"):
        code.read(memoryview(section), 3)


def test_a_padding_that_is_not_zero_is_refused():
    with pytest.raises(PayloadError, match="padding"):
        VALUE_CODES["int4"].read(memoryview(struct.pack("<fB", 1, 0x18)), 1)


def test_codes_are_numbered_apart():
    assert sorted(BY_CODE) == list(range(len(VALUE_CODES)))
