"""Layouts, masks and bytes for tests of the wire."""

from __future__ import annotations

import math
import zlib

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.wire import decode
from floss_sim.wire.index_codes import HELD

Array = np.ndarray


def flat(entries: int) -> Layout:
    """Return a layout of one tensor that is one row."""
    return Layout((TensorSpec("t", (entries,), "bias"),))


def adapters(
    layers: int, rank: int, fan_in: int, fan_out: int, classes: int = 0, width: int = 7
) -> Layout:
    """Return a layout of adapters, a bias each, and a head of ``classes`` if there are any."""
    specs = [
        spec
        for layer in range(layers)
        for spec in (
            TensorSpec(f"layer.{layer:03d}.bias", (fan_out,), "bias"),
            TensorSpec(f"layer.{layer:03d}.q.lora_A", (rank, fan_in), "lora_A"),
            TensorSpec(f"layer.{layer:03d}.q.lora_B", (fan_out, rank), "lora_B"),
        )
    ]
    if classes:
        specs.append(TensorSpec("head.bias", (classes,), "head_bias"))
        specs.append(TensorSpec("head.weight", (classes, width), "head_weight"))
    return Layout(tuple(sorted(specs, key=lambda spec: spec.name)))


def vit() -> Layout:
    """Return the 589,824 entries of rank 16 on q and v of ViT-B/16, without a head."""
    shapes = {"A": (16, 768), "B": (768, 16)}
    return Layout(
        tuple(
            TensorSpec(f"layer.{layer:03d}.{role}.lora_{kind}", shapes[kind], f"lora_{kind}")
            for layer in range(12)
            for role in "qv"
            for kind in "AB"
        )
    )


def in_rows(layout: Layout, by_row: Array) -> Array:
    """Return a vector over the entries of values that are given row after row."""
    order = layout.row_order
    vector = np.empty_like(by_row)
    vector[slice(None) if order is None else order] = by_row
    return vector


def seeded(seed: int = 0) -> np.random.Generator:
    """Return a generator for draws whose stream does not matter."""
    return np.random.default_rng(seed)


def bits(values: Array) -> list[int]:
    """Return the bit patterns, which tell -0.0 from 0.0."""
    return np.asarray(values, np.float32).view(np.uint32).tolist()


def log2_choose(entries: int, count: int) -> float:
    """Return log2 of the number of masks of ``count`` of ``entries``."""
    ways = math.lgamma(entries + 1) - math.lgamma(count + 1) - math.lgamma(entries - count + 1)
    return ways / math.log(2)


def sealed(content: bytes, known: Array | None = None, held: Array | None = None) -> bytes:
    """Return bytes with the checksum that a frame of them needs, beside these masks."""
    crc = zlib.crc32(content)
    masks = [known, held if len(content) > 5 and content[5] == HELD else None]
    for mask in masks:
        crc = crc if mask is None else zlib.crc32(np.packbits(mask).tobytes(), crc)
    return content + crc.to_bytes(4, "little")


def by_hand(
    layout: Layout,
    index_code: int,
    count: int,
    index: bytes = b"",
    values: bytes = b"",
    *,
    value_code: int = 0,
    flags: int = 0,
    known: Array | None = None,
    held: Array | None = None,
) -> bytes:
    """Write a message as the table of offsets says."""
    head = b"FLSS" + bytes([3, index_code, value_code, flags]) + layout.digest
    lengths = count.to_bytes(4, "little") + len(index).to_bytes(4, "little")
    return sealed(head + lengths + index + values, known, held)


def refused(
    layout: Layout, blob: bytes, known: Array | None = None, held: Array | None = None
) -> bool:
    """Decode; any exception but the one that is promised fails the test."""
    try:
        decode(layout, blob, known, held)
    except PayloadError:
        return True
    return False
