"""Square adapters: PEFT's B as the product of a frozen B and a small trained matrix R.

The update of a layer is scale * B R A, with A and B frozen (Fed-SB; Ravan). PEFT has no such
adapter, but ``B R`` is LoRA's B of the same rank. R has a block for each head on its diagonal; in
Ravan (algorithm 1) clients also train a factor s of each head, which is multiplied into the head's
block when local training ends.

Shapes: C clients, N entries of the layout, L entries of the local factors, O output width, R rank,
H heads, J = R / H rank of a head.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from floss_sim.errors import LayoutError
from floss_sim.training.models.parameter_names import TransformersModel, parameter_names
from floss_sim.vectors.layout import LORA_B, SQUARE, SQUARE_SCALE, Layout


def square_product(
    b_OR: torch.Tensor, square: torch.Tensor, factors: torch.Tensor | None
) -> torch.Tensor:
    """Return B R, (..., O, R), of a frozen B and the blocks of R.

    Args:
        b_OR: The frozen B.
        square: The blocks of R, (..., H, J, J).
        factors: The factors of the heads, (..., H); None: one.
    """
    heads, rank = square.shape[-3:-1]
    blocks = square if factors is None else square * factors[..., None, None]
    b_HOJ = b_OR.view(-1, heads, rank).transpose(0, 1)
    return (b_HOJ @ blocks).transpose(-3, -2).flatten(-2)


class SquareProduct(nn.Module):
    """Parametrization of the weight of PEFT's B by R.

    Attributes:
        scale: The factors of the heads, (H,); None if they do not train.

    Args:
        frozen: The frozen B, (O, R), or (O, R, 1, 1) of a convolution.
        heads: Number of heads.
        scaled: Whether each head has a factor that trains.
    """

    def __init__(self, frozen: torch.Tensor, heads: int, scaled: bool) -> None:
        super().__init__()
        self._heads = heads
        self.register_buffer("frozen", frozen.detach().clone())
        self.scale = nn.Parameter(torch.ones(heads)) if scaled else None

    def forward(self, square_HJJ: torch.Tensor) -> torch.Tensor:
        """Return the weight, in float32 under autocast, too."""
        frozen = cast("torch.Tensor", self.frozen)
        with torch.autocast(square_HJJ.device.type, enabled=False):
            return square_product(frozen.flatten(1), square_HJJ, self.scale).view(frozen.shape)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return R = 0, whatever the weight."""
        rank = weight.shape[1] // self._heads
        return torch.zeros(self._heads, rank, rank)


def add_squares(model: TransformersModel, layout: Layout) -> None:
    """Give each adapter of a layout its R; PEFT's B must hold the frozen B.

    Args:
        model: PEFT's model; changed in place.
        layout: The layout; one without R changes nothing.

    Raises:
        LayoutError: An adapted module is an embedding.
    """
    squares = [tensor for tensor in layout.tensors if tensor.kind == SQUARE]
    names = parameter_names(Layout((), layout.frozen), model) if squares else {}
    for tensor in squares:
        module, _, parameter = names[f"{_module(tensor.name)}.{LORA_B}"].rpartition(".")
        if parameter != "weight":
            raise LayoutError(f"the adapter of the embedding {module!r} cannot have a matrix R")
        b = model.get_submodule(module)
        product = SquareProduct(cast("torch.Tensor", b.weight), tensor.shape[0], bool(layout.local))
        parametrize.register_parametrization(b, "weight", product)


def merge_squares(model: TransformersModel) -> None:
    """Write B R as LoRA's B of each adapter with R, so that PEFT can save it."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def with_factors(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return values (..., N) followed by local factors of one, (..., N + L)."""
    if not layout.local:
        return values
    ones = values.new_ones(*values.shape[:-1], layout.local_entries)
    return torch.cat([values, ones], dim=-1)


def fold_factors(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return values (..., N) whose blocks are multiplied by the factors of values (..., N + L)."""
    if not layout.local:
        return values
    folded = values[..., : layout.entries].clone()
    for factor in layout.local:
        module, heads = _module(factor.name), factor.size
        block = folded[..., layout.slices[f"{module}.{SQUARE}"]]
        factors = values[..., layout.local_slices[f"{module}.{SQUARE_SCALE}"]]
        block.view(*block.shape[:-1], heads, -1).mul_(factors.unsqueeze(-1))
    return folded


def _module(name: str) -> str:
    return name.rpartition(".")[0]
