"""A small slice of ``mutations.py``, and the same verdict from the second decoder."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
import pytest
import reference_decoder as reference
from mutated_messages import KINDS, Broken, Reader, broken, read, sealed
from sample_messages import SMALL

from floss_sim.wire import INDEX_CODES, VALUE_CODES, decode
from floss_sim.wire.value_packing import pack_numbers


def test_a_broken_message_is_refused_or_within_the_layout():
    outcomes: Counter[str] = Counter()
    for message in broken(3000, seed=7):
        outcomes[read(message.reader, message.blob)] += 1
        outcomes[message.kind] += 1
        outcomes["sealed"] += message.sealed
    assert outcomes["sealed"] > 1500
    assert outcomes["valid"] > 300
    assert outcomes["refused"] > 1000
    assert all(outcomes[kind] > 100 for kind in KINDS)


NOTHING = np.zeros(SMALL.entries, bool)
ONE_SCALE = struct.pack("<f", 1)
FOUND = {
    "a scale cut in two": ("none", "sign", 0, SMALL.entries, b"abc", None),
    "range-coded positions of no entries": ("range", "fp32", 0, 0, b"", NOTHING),
    "the symbol -32768, whose int16 magnitude is negative": (
        "none", "int8", 2, SMALL.entries,
        ONE_SCALE + pack_numbers(np.resize(np.array([-32768, 1], np.int16), SMALL.entries)), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_stays_refused(name: str):
    index, value, flags, count, section, known = FOUND[name]
    reader = Reader(name, SMALL, known, None)
    codes = bytes([INDEX_CODES[index], VALUE_CODES[value].code, flags])
    blob = bytes(5) + codes + bytes(8) + struct.pack("<II", count, 0) + section + bytes(4)
    assert read(reader, sealed(reader, blob)) == "refused"


def test_both_decoders_agree_on_every_broken_message():
    for message in broken(3000, seed=8):
        if message.reader.layout.entries < 1000:
            agree(message)


def agree(message: Broken) -> None:
    reader = message.reader
    tensors = [(t.name, t.shape, t.kind) for t in reader.layout.tensors]
    masks = [None if mask is None else mask.tolist() for mask in (reader.known, reader.held)]
    try:
        values, mask = reference.decode(tensors, message.blob, *masks)
    except reference.RefusedError:
        assert read(reader, message.blob) == "refused", message.blob.hex()
        return
    assert read(reader, message.blob) == "valid", message.blob.hex()
    own_values, own_mask = decode(reader.layout, message.blob, reader.known, reader.held)
    assert own_mask.tolist() == mask
    bits = np.array(values, np.float32).view(np.uint32)
    assert np.array_equal(own_values.view(np.uint32), bits)
