"""FORMAT.md against the package: a decoder that was written from it alone reads the same."""

from __future__ import annotations

import numpy as np
import pytest
import reference_decoder as reference
from sample_messages import LAYOUTS, SMALL, Sample, sample, samples

from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.wire import INDEX_CODES, VALUE_CODES, decode, encode
from floss_sim.wire.range_coder import COARSE, FINE


def tensors_of(layout):
    return [(t.name, t.shape, t.kind) for t in layout.tensors]


def read_twice(made: Sample, blob: bytes | None = None) -> None:
    blob = blob or made.encoded()
    masks = made.known, made.held
    values, mask = decode(made.layout, blob, *masks)
    lists = [None if mask_N is None else mask_N.tolist() for mask_N in masks]
    own_values, own_mask = reference.decode(tensors_of(made.layout), blob, *lists)
    assert mask.tolist() == own_mask
    bits = np.array(own_values, np.float32).view(np.uint32)  # tells -0.0 from 0.0
    assert np.array_equal(values.view(np.uint32), bits)


@pytest.mark.parametrize("made", list(samples(["small"])), ids=lambda made: made.name)
def test_every_code_is_read_alike(made: Sample):
    blob = made.encoded()
    assert (blob[5], blob[6]) == (INDEX_CODES[made.index], VALUE_CODES[made.value_code].code)
    read_twice(made, blob)


@pytest.mark.parametrize("index", INDEX_CODES)
@pytest.mark.parametrize("has_known", [False, True])
def test_positions_of_a_larger_layout_are_read_alike(index: str, has_known: bool):
    made = sample("middle", index, "sign", has_known)
    read_twice(made)


@pytest.mark.parametrize("code", VALUE_CODES)
def test_packed_values_are_read_alike(code: str):
    made = sample("middle", "rows", code, False)
    blob = made.encoded()
    assert bool(blob[7] & 2) == (VALUE_CODES[code].dtype is not None)
    read_twice(made, blob)


@pytest.mark.parametrize("code", ["fp32", "int4"])
def test_packed_values_of_two_chunks_are_read_alike(code: str):
    layout = Layout((TensorSpec("x", (2**18 + 700,), "bias"),))
    values = (np.random.default_rng(3).standard_normal(layout.entries) ** 3).astype(np.float32)
    every = np.ones(layout.entries, bool)
    read_twice(Sample("", layout, values, every, None, None, "none", code))


@pytest.mark.parametrize("code", VALUE_CODES)
def test_zeros_that_are_kept_and_subnormals_are_read_alike(code: str):
    values = np.resize(np.array([0.0, -0.0, 1e-45, -1e-39, 3e38, -1.5], np.float32), SMALL.entries)
    mask = np.arange(SMALL.entries) % 4 != 1
    draw = np.random.default_rng(0)
    blob = encode(SMALL, values, mask, values=code, keep_zeros=True, draw=draw)
    same = Sample("", SMALL, values, mask, None, None, "", code)
    read_twice(same, blob)
    assert np.array_equal(decode(SMALL, blob)[1], mask)


def test_the_scales_are_the_documented_ones():
    assert FINE.densities.tolist() == reference.FINE
    assert COARSE.densities.tolist() == reference.COARSE
    assert (FINE.last, COARSE.last) == (154, 40)


def test_layouts_have_the_documented_digest():
    for layout in LAYOUTS.values():
        assert layout.digest == reference.digest_of(tensors_of(layout))
