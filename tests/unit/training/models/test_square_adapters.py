"""Square adapters against block matrices formed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from floss_sim import RunConfig, load_task
from floss_sim.errors import LayoutError
from floss_sim.families.packaged import packaged_backbone
from floss_sim.methods import method_from_name
from floss_sim.training.models.square_adapters import fold_factors, square_product, with_factors
from floss_sim.vectors.layout import Layout, TensorSpec, build_layout, initial_values

TWO = Layout(
    (
        TensorSpec("head.bias", (2,), "head_bias"),
        TensorSpec("x.lora_square", (2, 1, 1), "lora_square"),
    ),
    local=(TensorSpec("x.lora_scale", (2,), "lora_scale"),),
)


def test_the_product_is_that_of_a_block_diagonal_matrix():
    b_OR, blocks = torch.randn(5, 6), torch.randn(4, 2, 3, 3)  # of four clients
    factors = torch.randn(4, 2)
    whole = torch.stack([
        b_OR @ torch.block_diag(*(s * h for s, h in zip(row, own, strict=True)))
        for row, own in zip(factors, blocks, strict=True)
    ])  # fmt: skip
    assert torch.allclose(square_product(b_OR, blocks, factors), whole, atol=1e-6)


def test_factors_start_at_one_and_are_multiplied_into_their_block():
    start = torch.tensor([[7.0, 8.0, 2.0, 3.0]])
    with_ones = with_factors(start, TWO)
    assert with_ones.tolist() == [[7, 8, 2, 3, 1, 1]]
    with_ones[0, 4:] = torch.tensor([10.0, 100.0])
    assert fold_factors(with_ones, TWO).tolist() == [[7, 8, 20, 300]]


@pytest.mark.parametrize(("kind", "shape"), [("basis_A", (3, 8)), ("basis_B", (8, 3))])
def test_frozen_matrices_are_orthonormal(kind: str, shape: tuple[int, int]):
    matrix = initial_values(TensorSpec("x", shape, kind), seed=1).reshape(shape)
    product = matrix @ matrix.T if kind == "basis_A" else matrix.T @ matrix
    assert np.abs(product - np.eye(3)).max() < 1e-6


@pytest.mark.parametrize(("trains", "heads"), [("square", 1), ("heads", 4)])
def test_a_module_has_as_many_values_as_its_blocks(trains: str, heads: int):
    """Llama-3.2 3B: 28 layers of seven adapted modules."""
    backbone = packaged_backbone("llama-3.2-3b").config
    every = ("q", "k", "v", "o", "mlp_gate", "mlp_in", "mlp_out")
    layout = build_layout(backbone, trains=trains, targets=every, rank=200, labels=0, heads=heads)
    assert layout.entries == 28 * 7 * 200**2 // heads
    assert layout.local_entries == (28 * 7 * heads if trains == "heads" else 0)


def test_a_rank_that_heads_do_not_divide_is_refused():
    with pytest.raises(LayoutError, match="rank 6 is no multiple of 4 heads"):
        _ = RunConfig.of(load_task("digits"), method_from_name("ravan"), rank=6).layout
