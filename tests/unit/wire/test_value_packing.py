"""Packed numbers: as they were, small, and refused in any other form."""

from __future__ import annotations

import numpy as np
import pcodec
import pytest
from pcodec import wrapped
from wire_messages import seeded

from floss_sim.errors import PayloadError
from floss_sim.wire.value_packing import pack_numbers, unpack_numbers

CHUNK = 1 << 18
TYPES = ["float32", "float16", "int16"]


def numbers(dtype: str, count: int, seed: int = 0) -> np.ndarray:
    """Return numbers of any bits, NaN and infinity included."""
    size = np.dtype(dtype).itemsize
    return np.frombuffer(seeded(seed).bytes(size * count), dtype)


def both_ways(values: np.ndarray) -> np.ndarray:
    return unpack_numbers(memoryview(pack_numbers(values)), values.size, values.dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 5000])
def test_any_bits_are_read_back(dtype: str, count: int):
    values = numbers(dtype, count)
    read = both_ways(values)
    assert read.dtype == dtype
    assert read.tobytes() == values.tobytes()


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_a_chunk_has_an_end(count: int):
    values = (seeded().standard_normal(count) * 100).astype(np.int16)
    assert np.array_equal(both_ways(values), values)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_signs_of_zero_and_subnormals_are_kept(dtype: str):
    tiny = np.finfo(dtype).smallest_subnormal
    values = np.array([0.0, -0.0, tiny, -tiny, 1, -1] * 50, dtype)
    assert both_ways(values).tobytes() == values.tobytes()


def test_numbers_that_lie_apart_in_memory_are_read_back():
    values = np.arange(2000, dtype=np.int16)[::-2]
    assert np.array_equal(both_ways(values), values)


def test_few_different_numbers_take_few_bits():
    """Entropy of a fair choice among 8: 3 bits each."""
    values = seeded().integers(-4, 4, 50_000).astype(np.int16)
    assert 3 * values.size <= 8 * len(pack_numbers(values)) <= 3.01 * values.size + 8 * 64


@pytest.mark.parametrize("dtype", TYPES)
def test_every_shorter_section_is_refused(dtype: str):
    section = pack_numbers(numbers(dtype, 60))
    for length in range(len(section)):
        with pytest.raises(PayloadError):
            unpack_numbers(memoryview(section[:length]), 60, dtype)


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 8, b"abc"])
def test_bytes_behind_the_numbers_are_refused(tail: bytes):
    section = pack_numbers(numbers("int16", 60)) + tail
    with pytest.raises(PayloadError, match=f"{len(tail)} bytes follow the packed values"):
        unpack_numbers(memoryview(section), 60, "int16")


@pytest.mark.parametrize("count", [0, 1, 59, 61, CHUNK + 60])
def test_another_count_is_refused(count: int):
    section = pack_numbers(numbers("int16", 60))
    with pytest.raises(PayloadError):
        unpack_numbers(memoryview(section), count, "int16")


def test_a_section_of_two_chunks_has_one_count():
    section = pack_numbers(numbers("int16", CHUNK + 7))
    for count in (7, CHUNK, CHUNK + 6, CHUNK + 8, 2 * CHUNK, 2 * CHUNK + 7):
        with pytest.raises(PayloadError):
            unpack_numbers(memoryview(section), count, "int16")


@pytest.mark.parametrize("section", [b"", b"\0", b"\xff" * 40, bytes(40), b"FLSS" * 10])
def test_bytes_that_are_not_packed_are_refused(section: bytes):
    with pytest.raises(PayloadError):
        unpack_numbers(memoryview(section), 10, "float32")


@pytest.mark.parametrize(
    "changes",
    [
        {"mode_spec": pcodec.ModeSpec.try_int_mult(16)},
        {"delta_spec": pcodec.DeltaSpec.try_consecutive(1)},
        {"delta_spec": pcodec.DeltaSpec.try_lookback()},
    ],
)
def test_another_mode_of_the_library_is_refused(changes: dict[str, object]):
    """Only one of its modes is in the format: what the others may allocate is not our matter."""
    values = np.arange(0, 1600, 16, dtype=np.int16)
    file = wrapped.FileCompressor()
    settings = {
        "mode_spec": pcodec.ModeSpec.classic(),
        "delta_spec": pcodec.DeltaSpec.no_op(),
        "paging_spec": pcodec.PagingSpec.exact_page_sizes([100]),
    }
    chunk = file.chunk_compressor(values, pcodec.ChunkConfig(**(settings | changes)))
    section = file.write_header() + chunk.write_meta() + chunk.write_page(0)
    with pytest.raises(PayloadError, match="not in classic mode"):
        unpack_numbers(memoryview(section), 100, "int16")


def test_changed_bytes_are_refused_or_as_many_numbers():
    section, draw = bytearray(pack_numbers(numbers("float16", 300))), seeded(1)
    for _ in range(2000):
        changed = bytearray(section)
        for place in draw.integers(0, len(section), 2):
            changed[place] = draw.integers(0, 256)
        try:
            read = unpack_numbers(memoryview(bytes(changed)), 300, "float16")
        except PayloadError:
            continue
        assert (read.size, read.dtype) == (300, np.float16)
