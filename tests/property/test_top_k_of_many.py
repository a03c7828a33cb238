"""Masks of many clients at once, as a device makes them, against numpy's one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from floss_sim.methods import TopK
from floss_sim.training.gpu.device_top_k import select, top_k_masks
from floss_sim.vectors.layout import Layout, build_layout
from floss_sim.vectors.top_k import top_k_mask

FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-45, -1e-45, 3e-45, float("inf")])
ANY = st.floats(width=32, allow_nan=False)
VIT = {"model_type": "vit", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
LAYOUT = build_layout(VIT, trains="lora", targets=("q", "v"), rank=2, labels=3)
HEAD = build_layout(VIT, trains="head", targets=(), rank=2, labels=3)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    """Values of a few clients, ties galore or none, and how many each of them keeps."""
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    values_CN = draw(arrays(np.float32, shape, elements=draw(st.sampled_from([FEW, ANY]))))
    counts = draw(st.lists(st.integers(1, shape[1]), min_size=shape[0], max_size=shape[0]))
    return values_CN, counts


def one_by_one(values_CN: np.ndarray, counts: list[int]) -> np.ndarray:
    return np.stack([top_k_mask(v_N, k) for v_N, k in zip(values_CN, counts, strict=True)])


def at_once(values_CN: np.ndarray, counts: list[int]) -> np.ndarray:
    return top_k_masks(torch.from_numpy(values_CN), counts).numpy()


@given(cohorts())
def test_masks_are_numpys_to_the_last_bit(cohort):
    assert np.array_equal(at_once(*cohort), one_by_one(*cohort))


@given(cohorts())
def test_each_client_may_keep_one_or_all(cohort):
    values_CN, counts = cohort
    for same in (1, values_CN.shape[1]):
        counts = [same] * len(counts)
        assert np.array_equal(at_once(values_CN, counts), one_by_one(values_CN, counts))


@pytest.mark.parametrize("entries", [1, 2, 31, 32, 33, 1000, 4096, 8970, 100_003])
def test_sizes_and_rounded_values_of_any_scale(entries: int):
    draw = np.random.default_rng(entries)
    scales = np.float32([1e-44, 1e-38, 1e-3, 1.0, 1e30])[:, None]
    values_CN = (draw.integers(-9, 10, (5, entries)) * scales).astype(np.float32)
    counts = np.maximum(1, (entries * draw.random(5)).astype(int)).tolist()
    assert np.array_equal(at_once(values_CN, counts), one_by_one(values_CN, counts))


def test_subnormal_values_are_ranked_where_arithmetic_flushes_them():
    values_CN = np.float32([[0, 1e-45, -3e-45, 0], [1e-39, 0, -1e-45, 2e-39]])
    expected_CN = one_by_one(values_CN, [2, 1])
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush")
    try:
        assert np.array_equal(at_once(values_CN, [2, 1]), expected_CN)
    finally:
        torch.set_flush_denormal(False)


@given(cohorts(), st.data())
def test_a_nan_is_met_by_who_reads_its_own_row_and_by_nobody_else(cohort, data):
    values_CN, counts = cohort
    row = data.draw(st.integers(0, len(values_CN) - 1))
    broken_CN = values_CN.copy()
    place = data.draw(st.integers(0, values_CN.shape[1] - 1))
    broken_CN[row, place] = data.draw(st.sampled_from([np.nan, -np.nan]))
    masks_CN = at_once(broken_CN, counts)
    assert masks_CN[row, place]
    others = np.arange(len(values_CN)) != row
    assert np.array_equal(masks_CN[others], one_by_one(values_CN, counts)[others])


@given(cohorts())
def test_what_is_cut_to_its_mask_has_the_same_mask(cohort):
    """So that an update that was cut on a device goes on from a checkpoint like any other."""
    values_CN, counts = cohort
    masks_CN = one_by_one(values_CN, counts)
    cut_CN = np.where(masks_CN, values_CN, np.float32(0))
    assert np.array_equal(one_by_one(cut_CN, counts), masks_CN)


@pytest.mark.parametrize("counts", [[0, 1], [1, 4], [-1, 3]])
def test_a_count_outside_one_to_all_is_refused(counts: list[int]):
    with pytest.raises(ValueError, match="valid: 1 to 3"):
        top_k_masks(torch.zeros(2, 3), counts)


DENSITIES = st.floats(1e-3, 1)
SCOPES, LAYOUTS = st.sampled_from(["global", "tensor"]), st.sampled_from([LAYOUT, HEAD])


@given(
    st.lists(st.builds(TopK, DENSITIES, SCOPES, st.booleans()), min_size=1, max_size=4),
    LAYOUTS,
    st.integers(0, 2**32 - 1),
)
def test_every_selector_of_a_cohort_gets_its_own_mask(
    selectors: list[TopK], layout: Layout, seed: int
):
    draw = np.random.default_rng(seed)
    shape = len(selectors), layout.entries
    values_CN = draw.integers(-5, 6, shape).astype(np.float32)
    found_CN = select(torch.from_numpy(values_CN), selectors, layout).numpy()
    for selector, values_N, mask_N in zip(selectors, values_CN, found_CN, strict=True):
        own_N = selector.mask(layout, values_N, lambda: draw)
        assert np.array_equal(mask_N, own_N)
        assert mask_N.sum() == selector.count(layout)
