"""What the parts of the study share: layouts, the floor, rows as CSV and as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from math import lgamma, log
from pathlib import Path
from typing import Any

import numpy as np

from floss_sim.vectors.density import kept_count
from floss_sim.vectors.layout import (
    LORA_A,
    LORA_B,
    WEIGHT,
    Layout,
    TensorSpec,
)
from floss_sim.vectors.top_k import Mask, Vector, top_k_mask
from floss_sim.wire import framing

HERE = Path(__file__).parent
DENSITIES = {f"1/{parts}": 1 / parts for parts in (2, 4, 16, 64, 256, 1024)}
VIT_ENTRIES = 589_824  # rank 16 on q and v of ViT-B/16
_ADAPTERS = {10_000: (10, 4, 125), VIT_ENTRIES: (24, 16, 768), 10_000_000: (250, 16, 1250)}
Row = dict[str, Any]


def lora_layout(pairs: int, rank: int, width: int) -> Layout:
    """Return that many pairs of A of shape (rank, width) and B of shape (width, rank)."""
    shapes = {LORA_A: (rank, width), LORA_B: (width, rank)}
    return Layout(
        tuple(
            TensorSpec(f"layer.{i:03d}.{kind}", shape, kind)
            for i in range(pairs)
            for kind, shape in shapes.items()
        )
    )


def layout_of(entries: int) -> Layout:
    """Return a LoRA layout of one of three sizes; of others, weights of 1000 x 1000 each."""
    if entries in _ADAPTERS:
        return lora_layout(*_ADAPTERS[entries])
    count = entries // 1_000_000
    return Layout(tuple(TensorSpec(f"w{i:03d}", (1000, 1000), WEIGHT) for i in range(count)))


def normal_update(entries: int, density: float, seed: int = 0) -> tuple[Vector, Mask]:
    """Return normal values and the mask of the largest, which is uniform."""
    values_N = np.random.default_rng(seed).standard_normal(entries, dtype=np.float32)
    return values_N, top_k_mask(values_N, kept_count(entries, density))


def floor_bytes(entries: int, count: int) -> float:
    """Return log2 C(n, k) in bytes: what uniform positions take at least."""
    nats = lgamma(entries + 1) - lgamma(count + 1) - lgamma(entries - count + 1)
    return nats / log(2) / 8


def sections(blob: bytes) -> tuple[int, int]:
    """Return the bytes of a message's index section and of its value section."""
    frame = framing.fields(blob)[0]
    return len(frame.index), len(frame.values)


def write(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows beside this file as CSV."""
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read(name: str) -> list[Row]:
    """Return the rows of a CSV file beside this one, none where it is missing."""
    if not (HERE / name).exists():
        return []
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    head = f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}\n"
    return head + "".join(f"| {' | '.join(str(v) for v in row.values())} |\n" for row in rows)
