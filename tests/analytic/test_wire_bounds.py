"""Encoded sizes against information theory: what no code can beat, and how near ours come."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
from wire_messages import adapters, flat, in_rows, log2_choose, seeded, vit

from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import random_k_mask, top_k_mask
from floss_sim.wire import INDEX_CODES, VALUE_CODES, encode
from floss_sim.wire.framing import OVERHEAD_BYTES, fields
from floss_sim.wire.index_codes import HELD, ROWS, TENSORS

VIT = vit()
SMALL = adapters(6, 8, 100, 120, classes=10, width=100)  # 17,810 entries of 20 tensors


def payload_over_floor(layout: Layout, count: int, values: str, seed: int) -> float:
    """Return a payload over log2 C(n, k) and what its values take, for a uniform mask."""
    draw = seeded(seed)
    mask = random_k_mask(layout.entries, count, draw)
    vector = draw.standard_normal(layout.entries).astype(np.float32)
    vector[vector == 0] = 1
    blob = encode(layout, vector, mask, values=values, draw=draw)
    value_bits = 8 * len(fields(blob)[0].values)
    return 8 * (len(blob) - OVERHEAD_BYTES) / (log2_choose(layout.entries, count) + value_bits)


def entropy_bits(counts: np.ndarray, sizes: np.ndarray) -> float:
    """Return the information of so many ones in cells, when the counts are known."""
    share = counts / sizes
    inner = share[(share > 0) & (share < 1)]
    bits = -inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner)
    return float(sizes[(share > 0) & (share < 1)] @ bits)


def index_of(
    layout: Layout, mask: np.ndarray, index: str | None = None, held: np.ndarray | None = None
) -> tuple[int, int]:
    """Return the code and the bits of an index section."""
    ones = np.ones(layout.entries, np.float32)
    frame, _ = fields(encode(layout, ones, mask, index=index, held_N=held))
    return frame.index_code, 8 * len(frame.index)


# uniform masks


@pytest.mark.parametrize("density", [0.001, 0.003, 0.01, 1 / 64, 1 / 16, 0.1, 0.25, 0.4, 0.5])
@pytest.mark.parametrize("layout", [flat(100_000), VIT], ids=["1e5", "ViT"])
def test_a_large_payload_is_within_half_a_percent_of_the_floor(layout: Layout, density: float):
    count = max(1000, int(layout.entries * density))
    for seed in range(2):
        for values in ("fp32", "fp16", "sign"):
            assert 1 - 1e-3 < payload_over_floor(layout, count, values, seed) <= 1.005


@pytest.mark.parametrize("layout", [flat(10_000), SMALL, flat(60_000)], ids=["1e4", "20", "6e4"])
@pytest.mark.parametrize("count", [150, 200, 400, 1000, 2500, 5000, 9000, 9900])
def test_no_payload_is_more_than_two_percent_over_the_floor(layout: Layout, count: int):
    for seed in range(5):
        for values in VALUE_CODES:
            assert payload_over_floor(layout, count, values, seed) <= 1.02


@pytest.mark.parametrize("count", [1, 2, 5, 10, 20, 50, 100, 149])
def test_few_positions_take_a_byte_and_five_percent_over_the_floor(count: int):
    """Rice's gaps of a geometric law take up to 0.03 bits over their entropy each."""
    for entries in (1000, 30_000, 589_824):
        for seed in range(5):
            mask = random_k_mask(entries, count, seeded(seed))
            _, index_bits = index_of(flat(entries), mask)
            assert index_bits <= 1.05 * log2_choose(entries, count) + 16


# the choice of the code


def random_layout(draw: np.random.Generator) -> Layout:
    sizes = [int(draw.integers(1, most)) for most in (7, 17, 300, 300)]
    return adapters(*sizes, classes=int(draw.integers(0, 20)), width=int(draw.integers(1, 100)))


def random_mask(layout: Layout, draw: np.random.Generator) -> np.ndarray:
    """Return a mask of one density, of one for each tensor, or of one for each row."""
    density, n = 10 ** draw.uniform(-4, 0), layout.entries
    if (kind := draw.integers(0, 3)) == 0:
        return draw.random(n) < density
    sizes = layout.tensor_sizes if kind == 1 else layout.row_sizes
    by_cell = np.repeat(np.clip(density * draw.lognormal(0, 1.5, sizes.size), 0, 1), sizes)
    return draw.random(n) < (by_cell if kind == 1 else in_rows(layout, by_cell))


def excess_bytes(
    layout: Layout, mask: np.ndarray, held: np.ndarray | None, known: np.ndarray | None
) -> int:
    """Return by how much a message is larger than the smallest under any code."""
    ones = np.ones(layout.entries, np.float32)
    sizes = {
        index: len(encode(layout, ones, mask, index=index, held_N=held, known_N=known))
        for index in (None, *INDEX_CODES)
        if index != "none" and (index != "held" or held is not None)
    }
    return sizes[None] - min(sizes.values())


@pytest.mark.parametrize("seed", range(8))
def test_the_code_that_is_taken_is_within_four_bytes_of_the_smallest(seed: int):
    draw = seeded(seed)
    for _ in range(60):
        layout = random_layout(draw)
        mask = random_mask(layout, draw)
        held = mask ^ (draw.random(mask.size) < 0.02) if draw.random() < 0.4 else None
        known = mask | (draw.random(mask.size) < draw.random()) if draw.random() < 0.3 else None
        if mask.any() and not mask.all() and not (known is not None and mask[known].all()):
            assert excess_bytes(layout, mask, held, known) <= 4


@pytest.mark.parametrize("known_density", [1 / 4, 1 / 16, 1 / 64])
@pytest.mark.parametrize("least", [0.5, 0.7, 0.9])
def test_bits_that_fill_up_bytes_count_where_most_of_a_known_mask_is_sent(
    known_density: float, least: float
):
    """Rows of a few known entries each: what fills up their bytes costs more than rows save."""
    draw = seeded(7)
    known = draw.random(VIT.entries) < known_density
    by_cell = np.repeat(draw.uniform(least, 0.99, VIT.row_sizes.size), VIT.row_sizes)
    mask = known & (draw.random(VIT.entries) < in_rows(VIT, by_cell))
    assert excess_bytes(VIT, mask, None, known) <= 4


# structured masks


@pytest.mark.parametrize("kind", ["tensors", "rows"])
def test_densities_that_differ_by_cell_cost_the_entropy_of_their_cells(kind: str):
    """And what their levels take: half a step of the scale each, and their own bits."""
    layout, draw = VIT, seeded(3)
    sizes = layout.tensor_sizes if kind == "tensors" else layout.row_sizes
    density = np.clip(draw.lognormal(math.log(1 / 16), 1.5, sizes.size), 0, 1)
    by_cell = np.repeat(density, sizes)
    mask = draw.random(layout.entries) < (
        by_cell if kind == "tensors" else in_rows(layout, by_cell)
    )
    in_cells = mask if kind == "tensors" else mask[layout.row_order]
    counts = np.add.reduceat(in_cells, np.cumsum(sizes) - sizes, dtype=np.int64)
    code, bits = index_of(layout, mask)
    scale, level_bits = {"tensors": (1.005, 8), "rows": (1.055, 4)}[kind]
    assert code == {"tensors": TENSORS, "rows": ROWS}[kind]
    assert bits <= scale * entropy_bits(counts, sizes) + level_bits * sizes.size + 8 * 28
    assert bits <= 0.85 * log2_choose(layout.entries, int(mask.sum()))


def test_all_of_a_and_nothing_of_b_costs_its_levels():
    kinds = np.repeat([t.kind == "lora_A" for t in VIT.tensors], VIT.tensor_sizes)
    code, bits = index_of(VIT, kinds)
    assert code in (TENSORS, ROWS)
    assert bits <= 8 * (2 + 48)
    assert log2_choose(kinds.size, int(kinds.sum())) > 500_000


@pytest.mark.parametrize("moved", [0.001, 0.01, 0.03, 0.1])
def test_a_mask_near_the_one_that_is_held_costs_what_moved(moved: float):
    draw, n, count = seeded(4), VIT.entries, VIT.entries // 16
    held = random_k_mask(n, count, draw)
    gone = draw.choice(np.flatnonzero(held), int(moved * count), replace=False)
    come = draw.choice(np.flatnonzero(~held), gone.size, replace=False)
    mask = held.copy()
    mask[gone], mask[come] = False, True
    kept = count - gone.size
    entropy = entropy_bits(np.array([kept, gone.size]), np.array([count, n - count]))
    code, bits = index_of(VIT, mask, held=held)
    assert code == HELD
    assert bits <= 1.005 * entropy + 8 * 12
    assert bits <= 0.75 * log2_choose(n, count)


def test_a_held_mask_of_chance_costs_nothing():
    draw = seeded(5)
    mask, held = (random_k_mask(VIT.entries, 9216, draw) for _ in range(2))
    assert index_of(VIT, mask, held=held) == index_of(VIT, mask)


# values


@lru_cache(maxsize=4)
def largest(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return normal values over ViT's entries, and the mask of the largest 1/16."""
    values = seeded(seed).standard_normal(VIT.entries).astype(np.float32)
    return values, top_k_mask(values, VIT.entries // 16)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("code", "value_bits", "all_bits"), [("fp16", 11.1, 16.5), ("fp32", 23.6, 29)]
)
def test_a_kept_value_of_a_sixteenth_takes_so_many_bits(
    code: str, value_bits: float, all_bits: float, seed: int
):
    values, mask = largest(seed)
    blob = encode(VIT, values, mask, values=code, draw=seeded(seed))
    kept = mask.sum()
    assert 8 * len(fields(blob)[0].values) <= value_bits * kept
    assert 8 * (len(blob) - OVERHEAD_BYTES) <= all_bits * kept


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("fp32", 25),
        ("fp16", 12),
        ("bf16", 9),
        ("int8", 8),
        ("int4", 4),
        ("tail", 6),
        ("sign", 1.01),
    ],
)
def test_a_value_takes_no_more_bits_than_its_code_states(code: str, most: float):
    values, mask = largest(0)
    blob = encode(VIT, values, mask, values=code, draw=seeded())
    assert 8 * len(fields(blob)[0].values) <= most * mask.sum()


@pytest.mark.parametrize("entries", [40, 589_824])
def test_signs_that_are_fair_coins_take_a_bit_each(entries: int):
    values = np.sign(seeded(6).standard_normal(entries)).astype(np.float32)
    section, _ = VALUE_CODES["sign"].write(values, seeded())
    assert len(section) == 4 + -(-entries // 8)


def test_equal_symbols_take_their_entropy():
    """int4 of magnitudes 1 .. 7, of which 7 stands in each bucket: 14 levels alike."""
    draw = seeded(7)
    values = (draw.integers(1, 8, 100_000) * draw.choice([-1, 1], 100_000)).astype(np.float32)
    section, is_packed = VALUE_CODES["int4"].write(values, draw)
    assert is_packed
    symbols = 8 * (len(section) - 4 * VALUE_CODES["int4"].scales(values.size))
    assert (
        math.log2(14) * values.size * 0.999 <= symbols <= math.log2(14) * values.size * 1.005 + 800
    )
