"""Value sections that no writer writes are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from wire_messages import seeded

from floss_sim.errors import PayloadError
from floss_sim.wire.value_codes import VALUE_CODES
from floss_sim.wire.value_packing import pack_numbers

SCALED = {"fp16": 1, "int8": 1, "int4": 1, "tail": 2, "sign": 1}  # scales of up to 512 values


def written(name: str, values: object, seed: int = 0) -> tuple[bytes, bool]:
    return VALUE_CODES[name].write(np.array(values, np.float32), seeded(seed))


def refuse(
    name: str, section: bytes, count: int, says: str | None, is_packed: bool = False
) -> None:
    with pytest.raises(PayloadError, match=says):
        VALUE_CODES[name].read(memoryview(section), count, is_packed)


def scale_bytes(name: str, scale: float) -> bytes:
    return struct.pack("<f", scale) * SCALED[name]


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), -float("inf")])
def test_a_scale_that_is_not_a_magnitude_is_refused(name: str, scale: float):
    refuse(name, scale_bytes(name, scale) + b"\x01" * 8, 8, "scale that is negative or not finite")


@pytest.mark.parametrize("name", VALUE_CODES)
def test_every_shorter_and_longer_section_is_refused(name: str):
    for count in (3, 400):
        section, is_packed = written(name, seeded().standard_normal(count))
        for length in range(len(section)):
            refuse(name, section[:length], count, None, is_packed)
        refuse(name, section + b"\0", count, None, is_packed)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_section_that_ends_within_a_scale_is_refused(name: str, length: int):
    refuse(name, bytes(length), 3, "lacks its scales")


@pytest.mark.parametrize("name", VALUE_CODES)
def test_a_section_of_no_values_is_empty(name: str):
    refuse(name, b"\0", 0, "value section of 1 bytes for 0")
    refuse(name, b"", 0, "packs values, but has none or has value code sign", is_packed=True)


def test_signs_are_never_packed():
    section = struct.pack("<f", 1) + pack_numbers(np.ones(8, np.int16))
    refuse("sign", section, 8, "packs values, but has none or has value code sign", is_packed=True)


@pytest.mark.parametrize(
    ("name", "section", "count", "says"),
    [
        ("int4", struct.pack("<fB", 1, 0x18), 1, "padding"),
        ("int4", struct.pack("<fB", 1, 0x80), 2, "magnitude above 7"),
        ("int8", struct.pack("<fb", 1, -128), 1, "magnitude above 127"),
        ("tail", struct.pack("<2fb", 1, 2, 65), 1, "magnitude above 64"),
        ("tail", struct.pack("<2fb", 1, 2, -128), 1, "magnitude above 64"),
        ("tail", struct.pack("<2fb", 1, 2, 0), 1, "low > high or a symbol 0"),
        ("tail", struct.pack("<2fb", 2, 1, 1), 1, "low > high or a symbol 0"),
        ("sign", struct.pack("<fB", 1, 0b1_0001), 4, "padding"),
        ("fp32", struct.pack("<f", float("nan")), 1, "not finite"),
        ("fp32", struct.pack("<2f", 0, float("-inf")), 2, "not finite"),
        ("fp16", struct.pack("<fH", 1, 0x7C00), 1, "not finite"),
        ("fp16", struct.pack("<fH", 0, 0x7C00), 1, "not finite"),
        ("fp16", struct.pack("<fe", 3e38, 2), 1, "not finite"),
        ("bf16", struct.pack("<H", 0x7F80), 1, "not finite"),
        ("bf16", struct.pack("<H", 0xFFC0), 1, "not finite"),
        ("int8", struct.pack("<fb", 3e38, 127), 1, "not finite"),
        ("int4", struct.pack("<fB", 3e38, 0xF), 1, "not finite"),
    ],
)
def test_symbols_that_no_writer_writes_are_refused(
    name: str, section: bytes, count: int, says: str
):
    refuse(name, section, count, says)


@pytest.mark.parametrize(("name", "most"), [("int8", 127), ("int4", 7)])
@pytest.mark.parametrize("beyond", [128, -128, 32767, -32768])
def test_packed_symbols_beyond_the_largest_are_refused(name: str, most: int, beyond: int):
    symbols = np.full(20, beyond, np.int16)
    section = struct.pack("<f", 1) + pack_numbers(symbols)
    refuse(name, section, 20, f"magnitude above {most}", is_packed=True)


@pytest.mark.parametrize("beyond", [65, -65, 0, 32767, -32768])
def test_packed_steps_beyond_the_tail_are_refused(beyond: int):
    section = struct.pack("<2f", 1, 2) + pack_numbers(np.full(20, beyond, np.int16))
    refuse("tail", section, 20, "magnitude above 64|low > high or a symbol 0", is_packed=True)
