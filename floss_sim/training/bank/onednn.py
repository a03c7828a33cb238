"""Frozen linear layers that use oneDNN's matrix product instead of MKL's slower one.

In float32 on x86 torch multiplies with MKL, which uses only AVX2 on processors not made by Intel.
oneDNN, which also ships with torch, uses AVX-512 on every processor that has it. It is then twice
as fast from about a hundred rows on. Torch offers its product for weights that do not train; if a
build of torch lacks it, the layers are not replaced. A row of oneDNN's product is bit-identical
whatever the other rows are.

Shapes: E examples, I and O input and output width.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.pytorch_utils import Conv1D


def _product(x: torch.Tensor, weight_OI: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    one_row = x.numel() == x.shape[-1]  # duplicated: a product with one row rounds differently
    rows = torch.cat([x, x]) if one_row else x
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        rows, weight_OI, bias, "none", [], ""
    )
    return product[: len(x)] if one_row else product


class _FrozenProduct(torch.autograd.Function):
    """``x W + b`` with a frozen W: the backward pass computes the gradient of x only."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight_OI: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight_OI)
        return _product(x, weight_OI, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight_OI,) = ctx.saved_tensors
        return _product(dy, weight_OI.t(), None), None, None


class FrozenLinear(nn.Module):
    """A frozen linear layer, (E, ..., I) to (E, ..., O).

    Args:
        layer: ``nn.Linear``, weight (O, I), or GPT-2's ``Conv1D``, weight (I, O). Weight and bias
            are not copied.
    """

    def __init__(self, layer: nn.Linear | Conv1D) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self._transposed = isinstance(layer, Conv1D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, (E, ..., O); oneDNN's product is used in float32 only."""
        weight_OI = self.weight.t() if self._transposed else self.weight
        if x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type):
            return functional.linear(x, weight_OI, self.bias)
        product: torch.Tensor = _FrozenProduct.apply(  # type: ignore[no-untyped-call]
            x, weight_OI, self.bias
        )
        return product


def use_onednn(backbone: nn.Module, device: torch.device) -> None:
    """Replace a frozen backbone's linear layers on an x86 CPU if torch has oneDNN's product."""
    if device.type != "cpu" or not _has_product():
        return
    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if type(child) in (nn.Linear, Conv1D):
                setattr(module, name, FrozenLinear(child))


@cache
def _has_product() -> bool:
    """Return whether the processor is x86 and torch has oneDNN's product."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return bool(_product(torch.ones(2, 3), torch.ones(4, 3), None).eq(3).all())
    except (AttributeError, RuntimeError):  # a build without oneDNN
        return False
