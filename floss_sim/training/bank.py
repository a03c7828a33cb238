"""The LoRA bank: layers that hold an adapter or a head for each of several clients.

A batch is the examples of all clients, one client after another. The frozen layer sees it as one
large matrix; the clients' own weights meet their own examples in batched products. Clients with
as many examples as their neighbours share one product, so that nothing is ever padded::

    y = x W + b                    E examples at once
    y += s (x_c A_c) B_c           for c of C clients, in runs of equal sizes

Shapes: C clients, E examples, T tokens, I and O input and output width, R rank, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Run:
    """Neighbouring clients with equally many examples each."""

    clients: slice
    examples: slice


@dataclass(frozen=True)
class Segments:
    """Which examples of a batch belong to which client: so many each, one after another."""

    sizes: tuple[int, ...]

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The clients, in runs of equal sizes."""
        return tuple(self._runs())

    def _runs(self) -> Iterator[Run]:
        client = example = 0
        for size, group in groupby(self.sizes):
            count = len(list(group))
            yield Run(slice(client, client + count), slice(example, example + count * size))
            client, example = client + count, example + count * size

    def parts(self, *batches: torch.Tensor) -> Iterator[tuple[Any, ...]]:
        """Yield each run with its views of contiguous (E, ..., width) as (clients, rows, width)."""
        for run in self.runs:
            count = run.clients.stop - run.clients.start
            yield run, *(x[run.examples].view(count, -1, x.shape[-1]) for x in batches)


class _Adapt(torch.autograd.Function):
    """``y + s (x A) B`` client by client; an A that all clients share has no client dimension."""

    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        x: torch.Tensor,
        a: torch.Tensor,
        b_COR: torch.Tensor,
        scale: float,
        segments: Segments,
    ) -> torch.Tensor:
        y, x = y.contiguous(), x.to(y.dtype).contiguous()
        a, b_COR = a.to(y.dtype), b_COR.to(y.dtype)
        out, hidden = torch.empty_like(y), []
        for run, y_c, x_c, out_c in segments.parts(y, x, out):
            h_c = torch.matmul(x_c, _of(a, run).mT)
            torch.baddbmm(y_c, h_c, b_COR[run.clients].mT, alpha=scale, out=out_c)
            hidden.append(h_c)
        ctx.save_for_backward(x, a, b_COR, *hidden)
        ctx.scale, ctx.segments = scale, segments
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, a, b_COR, *hidden = ctx.saved_tensors
        dy, dx = dy.contiguous(), torch.empty_like(x)
        da, db_COR = torch.empty_like(a), torch.empty_like(b_COR)
        needs_x, needs_a = ctx.needs_input_grad[1:3]
        parts = ctx.segments.parts(dy, x, dx)
        for h_c, (run, dy_c, x_c, dx_c) in zip(hidden, parts, strict=True):
            dh_c = torch.bmm(dy_c, b_COR[run.clients]).mul_(ctx.scale)
            torch.bmm(dy_c.mT, h_c, out=db_COR[run.clients])
            if needs_a:
                torch.bmm(dh_c.mT, x_c, out=da[run.clients])
            if needs_x:
                torch.matmul(dh_c, _of(a, run), out=dx_c)
        db_COR.mul_(ctx.scale)
        return dy, dx if needs_x else None, da if needs_a else None, db_COR, None, None


def _of(a: torch.Tensor, run: Run) -> torch.Tensor:
    return a if a.dim() == 2 else a[run.clients]


class Batch:
    """What the banked layers of a model share: which examples of the batch belong to whom."""

    def __init__(self) -> None:
        self.segments = Segments(())


class BankLinear(nn.Module):
    """A frozen linear layer with a LoRA adapter for each client.

    Attributes:
        a: (C, R, I), or (R, I) where all clients share it.
        b: (C, O, R).

    Args:
        base: The frozen layer, (E, ..., I) to (E, ..., O): ``nn.Linear``, GPT-2's ``Conv1D``.
        scale: LoRA's alpha / rank.
        dropout: Stands before the adapters; called ``lora_dropout``, as by PEFT.
        batch: The segments of the batch.
    """

    a: torch.Tensor
    b: torch.Tensor

    def __init__(self, base: nn.Module, scale: float, dropout: nn.Module, batch: Batch) -> None:
        super().__init__()
        self.base = base
        self.lora_dropout = dropout
        self._scale = scale
        self._batch = batch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (E, ..., O)."""
        adapted: torch.Tensor = _Adapt.apply(  # type: ignore[no-untyped-call]
            self.base(x), self.lora_dropout(x), self.a, self.b, self._scale, self._batch.segments
        )
        return adapted


class BankHead(nn.Module):
    """A linear head for each client.

    Attributes:
        weight: (C, K, I).
        bias: (C, K), or None.

    Args:
        batch: The segments of the batch.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self._batch = batch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (E, ..., K) of (E, ..., I)."""
        scores = [
            self._scores(run.clients, x_c).reshape(-1, *x.shape[1:-1], self.weight.shape[1])
            for run, x_c in self._batch.segments.parts(x.contiguous())
        ]
        return scores[0] if len(scores) == 1 else torch.cat(scores)

    def _scores(self, clients: slice, x_c: torch.Tensor) -> torch.Tensor:
        weight = self.weight[clients].mT
        if self.bias is None:
            return torch.bmm(x_c, weight)
        return torch.baddbmm(self.bias[clients].unsqueeze(1), x_c, weight)
