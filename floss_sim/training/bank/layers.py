"""Banked layers: layers that hold an adapter, a bias or a head for each of several clients.

A batch holds the examples of all clients, one client after another. The frozen layer multiplies
all examples in one large product. Each client's own weights are multiplied with its own examples.
Consecutive clients with equally many examples share one batched product, so nothing is padded::

    y = x W + b                    all E examples at once
    y += s (x_c A_c) B_c           for each of C clients, batched over groups of equal sizes

DoRA (Liu et al., ICML 2024, equation 5) scales the outputs of each client by its magnitude m over
the norm of the rows of its adapted weight; as in PEFT, the norm has no gradient::

    y = b + m_c / |W + s A_c B_c| (x W + s (x_c A_c) B_c)

Clients may belong to several *parties*. A party is the clients of one training run; runs of one
backbone may differ in rank and scale. Adapter products are never shared across parties, so a
party's results do not depend on the other parties of the pass.

Shapes: C clients, E examples, T tokens, I and O input and output width, R rank, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True)
class EqualSizes:
    """A group of consecutive clients with equally many examples each.

    Args:
        clients: Rows of the clients in their party.
        examples: Rows of their examples in the batch.
    """

    clients: slice
    examples: slice


@dataclass(frozen=True)
class Segments:
    """The segments of a batch that belong to the clients of one party.

    Args:
        sizes: Number of examples of each client; clients are consecutive in the batch.
        first: Index of the party's first example in the batch.
        scale: LoRA's alpha / rank of the party's adapters.
    """

    sizes: tuple[int, ...]
    first: int = 0
    scale: float = 1.0

    @cached_property
    def runs(self) -> tuple[EqualSizes, ...]:
        """The clients, in groups of consecutive clients with equal sizes."""
        return tuple(self._runs())

    def _runs(self) -> Iterator[EqualSizes]:
        client, example = 0, self.first
        for size, group in groupby(self.sizes):
            count = len(list(group))
            yield EqualSizes(slice(client, client + count), slice(example, example + count * size))
            client, example = client + count, example + count * size

    def parts(self, *batches: torch.Tensor) -> Iterator[tuple[Any, ...]]:
        """Yield each group with its part of every batch.

        Args:
            batches: Contiguous tensors (E, ..., width).

        Yields:
            The group, then a view (clients, rows, width) of each batch.
        """
        for run in self.runs:
            count = run.clients.stop - run.clients.start
            yield run, *(x[run.examples].view(count, -1, x.shape[-1]) for x in batches)


class _Adapt(torch.autograd.Function):
    """``y + s (x A) B`` for each client; an A shared by all clients has no client dimension."""

    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        x: torch.Tensor,
        parties: Sequence[Segments],
        *adapters: torch.Tensor,
    ) -> torch.Tensor:
        """Return the adapted output; ``adapters`` holds A and B of each party, alternating."""
        y, x = y.contiguous(), x.to(y.dtype).contiguous()
        adapters = tuple(tensor.to(y.dtype) for tensor in adapters)
        out, hidden = torch.empty_like(y), []
        for party, a, b_COR in zip(parties, adapters[::2], adapters[1::2], strict=True):
            for run, y_c, x_c, out_c in party.parts(y, x, out):
                h_c = torch.matmul(x_c, _adapter_slice(a, run).mT)
                torch.baddbmm(y_c, h_c, b_COR[run.clients].mT, alpha=party.scale, out=out_c)
                hidden.append(h_c)
        ctx.save_for_backward(x, *adapters, *hidden)
        ctx.parties = parties
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, *kept = ctx.saved_tensors
        adapters, hidden = kept[: 2 * len(ctx.parties)], iter(kept[2 * len(ctx.parties) :])
        dy, dx = dy.contiguous(), torch.empty_like(x)
        gradients: list[torch.Tensor | None] = []
        _, needs_x, _, *needed = ctx.needs_input_grad
        for party, a, b_COR, needs_a in zip(
            ctx.parties, adapters[::2], adapters[1::2], needed[::2], strict=True
        ):
            da, db_COR = torch.empty_like(a), torch.empty_like(b_COR)
            for run, dy_c, x_c, dx_c in party.parts(dy, x, dx):
                dh_c = torch.bmm(dy_c, b_COR[run.clients]).mul_(party.scale)
                torch.bmm(dy_c.mT, next(hidden), out=db_COR[run.clients])
                if needs_a:
                    torch.bmm(dh_c.mT, x_c, out=da[run.clients])
                if needs_x:
                    torch.matmul(dh_c, _adapter_slice(a, run), out=dx_c)
            gradients += [da if needs_a else None, db_COR.mul_(party.scale)]
        return dy, dx if needs_x else None, None, *gradients


def _adapter_slice(a: torch.Tensor, run: EqualSizes) -> torch.Tensor:
    return a if a.dim() == 2 else a[run.clients]


class BatchSegments:
    """The current batch's segments, one per party; shared by all banked layers of a model."""

    def __init__(self) -> None:
        self.parties: Sequence[Segments] = ()

    def by_example(self, x: torch.Tensor) -> torch.Tensor:
        """Return activations as (E, ..., width); they may have several rows an example.

        Raises:
            RuntimeError: The rows are no whole number for each example.
        """
        examples = sum(sum(party.sizes) for party in self.parties)
        if len(x) == examples:
            return x
        if len(x) % examples:
            raise RuntimeError(f"{len(x)} rows of {examples} examples")
        return x.reshape(examples, -1, x.shape[-1])


class BankLinear(nn.Module):
    """A frozen linear layer with a LoRA or DoRA adapter for each client.

    Attributes:
        a: A of each party, (C, R, I), or (R, I) if its clients share one A.
        b: B of each party, (C, O, R).
        magnitude: DoRA's magnitudes of each party, (C, O); an empty list without DoRA.

    Args:
        base: The frozen layer, (E, ..., I) to (E, ..., O): ``nn.Linear`` or GPT-2's ``Conv1D``.
        dropout: Dropout of the adapters' input; the attribute is ``lora_dropout``, as in PEFT.
        batch: The segments of the current batch.
    """

    def __init__(self, base: nn.Module, dropout: nn.Module, batch: BatchSegments) -> None:
        super().__init__()
        self.base = base
        self.lora_dropout = dropout
        self.a: list[torch.Tensor] = []
        self.b: list[torch.Tensor] = []
        self.magnitude: list[torch.Tensor] = []
        self._turned = isinstance(base, Conv1D)
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the frozen layer, such as its weight, whose type models read."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def clear(self) -> None:
        """Remove the adapters of all parties."""
        self.a.clear()
        self.b.clear()
        self.magnitude.clear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the adapted output, (E, ..., O)."""
        y = self.base(x)
        shape, y, x = y.shape, self._batch.by_example(y), self._batch.by_example(x)
        if self.magnitude:
            return self._scaled(y, x).view(shape)
        return self._adapted(y, self.lora_dropout(x)).view(shape)

    def _adapted(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        adapters = chain.from_iterable(zip(self.a, self.b, strict=True))
        adapted: torch.Tensor = _Adapt.apply(  # type: ignore[no-untyped-call]
            y, x, self._batch.parties, *adapters
        )
        return adapted

    def _scaled(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return DoRA's output; what it adds to ``y`` is made of inputs after dropout, as in PEFT.

        Args:
            y: Output of the frozen layer, (E, ..., O).
            x: Input, (E, ..., I).
        """
        dropped, bias = self.lora_dropout(x), cast("torch.Tensor | None", self.base.bias)
        plain = y if dropped is x else self.base(dropped)
        plain = plain if bias is None else plain - bias
        parties = self._batch.parties
        ratios = [
            m_CO / self._norms(a, b_COR, party.scale)
            for party, a, b_COR, m_CO in zip(parties, self.a, self.b, self.magnitude, strict=True)
        ]
        return y - plain + per_client(self._adapted(plain, dropped), parties, ratios)

    def _norms(self, a_CRI: torch.Tensor, b_COR: torch.Tensor, scale: float) -> torch.Tensor:
        """Return the norms of the rows of each client's adapted weight, (C, O), without gradient.

        The weights (C, O, I) are never formed: |w + s b A|^2 = |w|^2 + s (2 w A' + s b A A') b'.
        """
        with torch.no_grad():
            weight = cast("torch.Tensor", self.base.weight)
            weight_OI = weight.t() if self._turned else weight
            cross_COR = 2 * (weight_OI @ a_CRI.mT) + scale * (b_COR @ (a_CRI @ a_CRI.mT))
            squares_CO = weight_OI.square().sum(1) + scale * (cross_COR * b_COR).sum(2)
            return squares_CO.clamp_min(0).sqrt()


def per_client(
    y: torch.Tensor, parties: Sequence[Segments], factors: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return activations (E, ..., O) times the factors of each client, (C, O) for each party."""
    parts = []
    for party, factors_CO in zip(parties, factors, strict=True):
        for run in party.runs:
            y_c = y[run.examples]
            count = run.clients.stop - run.clients.start
            own = y_c.reshape(count, -1, y.shape[-1]) * factors_CO[run.clients].unsqueeze(1)
            parts.append(own.view(y_c.shape))
    return torch.cat(parts)


class _Shift(torch.autograd.Function):
    """``y + b`` with each client's own bias."""

    @staticmethod
    def forward(
        ctx: Any, y: torch.Tensor, parties: Sequence[Segments], *biases: torch.Tensor
    ) -> torch.Tensor:
        y = y.contiguous()
        out = torch.empty_like(y)
        for party, bias_CO in zip(parties, biases, strict=True):
            for run, y_c, out_c in party.parts(y, out):
                torch.add(y_c, bias_CO[run.clients].to(y.dtype).unsqueeze(1), out=out_c)
        ctx.parties, ctx.shapes = parties, [bias_CO.shape for bias_CO in biases]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dy = dy.contiguous()
        gradients = [dy.new_empty(shape) for shape in ctx.shapes]
        for party, dbias_CO in zip(ctx.parties, gradients, strict=True):
            for run, dy_c in party.parts(dy):
                torch.sum(dy_c, 1, out=dbias_CO[run.clients])
        return dy, None, *gradients


class BankBias(nn.Module):
    """A frozen layer with a bias for each client.

    Attributes:
        bias: Biases of each party, (C, O).

    Args:
        base: The layer: linear or a norm with output (E, ..., O), or a convolution with output
            (E, O, H, W). Its own bias is set to zero.
        batch: The segments of the current batch.
    """

    def __init__(self, base: nn.Module, batch: BatchSegments) -> None:
        super().__init__()
        self.base = base
        self.weight = base.weight  # transformers reads its dtype
        self.bias: list[torch.Tensor] = []
        self._channel = 1 if isinstance(base, nn.Conv2d) else -1
        self._batch = batch
        nn.init.zeros_(base.bias)  # type: ignore[arg-type]

    def clear(self) -> None:
        """Remove the biases of all parties."""
        self.bias.clear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, (E, ..., O) or (E, O, H, W), plus each client's bias."""
        y = self.base(x).movedim(self._channel, -1)
        shifted: torch.Tensor = _Shift.apply(  # type: ignore[no-untyped-call]
            y, self._batch.parties, *self.bias
        )
        return shifted.movedim(-1, self._channel)


class _Heads(torch.autograd.Function):
    """``x W + b`` with each client's own head; dW is written directly in W's memory layout."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        parties: Sequence[Segments],
        biased: bool,
        *heads: torch.Tensor,
    ) -> torch.Tensor:
        """Return the scores; ``heads`` holds all weights, then, if ``biased``, all biases."""
        x = x.contiguous()
        heads = tuple(tensor.to(x.dtype) for tensor in heads)
        weights, biases = heads[: len(parties)], heads[len(parties) :]
        out = x.new_empty(*x.shape[:-1], weights[0].shape[1])
        for index, (party, weight_CKI) in enumerate(zip(parties, weights, strict=True)):
            for run, x_c, out_c in party.parts(x, out):
                weight_cIK = weight_CKI[run.clients].mT
                if biased:
                    bias_c1K = biases[index][run.clients].unsqueeze(1)
                    torch.baddbmm(bias_c1K, x_c, weight_cIK, out=out_c)
                else:
                    torch.bmm(x_c, weight_cIK, out=out_c)
        ctx.save_for_backward(x, *weights)
        ctx.parties, ctx.biased = parties, biased
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        needs_x = ctx.needs_input_grad[0]
        dy, dx = dy.contiguous(), torch.empty_like(x) if needs_x else x
        slopes = [torch.empty_like(weight_CKI) for weight_CKI in weights]
        biases = [dy.new_empty(w.shape[:2]) for w in weights] if ctx.biased else []
        for index, (party, weight_CKI) in enumerate(zip(ctx.parties, weights, strict=True)):
            for run, dy_c, x_c, dx_c in party.parts(dy, x, dx):
                torch.bmm(dy_c.mT, x_c, out=slopes[index][run.clients])
                if ctx.biased:
                    torch.sum(dy_c, 1, out=biases[index][run.clients])
                if needs_x:
                    torch.bmm(dy_c, weight_CKI[run.clients], out=dx_c)
        return dx if needs_x else None, None, None, *slopes, *biases


class BankHead(nn.Module):
    """A linear head for each client.

    Attributes:
        weight: Weights of each party, (C, K, I).
        bias: Biases of each party, (C, K); an empty list if heads have no bias.

    Args:
        batch: The segments of the current batch.
    """

    def __init__(self, batch: BatchSegments) -> None:
        super().__init__()
        self.weight: list[torch.Tensor] = []
        self.bias: list[torch.Tensor] = []
        self._batch = batch

    def clear(self) -> None:
        """Remove the heads of all parties."""
        self.weight.clear()
        self.bias.clear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores, (E, ..., K), of inputs (E, ..., I)."""
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        scores: torch.Tensor = _Heads.apply(  # type: ignore[no-untyped-call]
            x, self._batch.parties, bool(self.bias), *self.weight, *self.bias
        )
        return scores


class BankNorm(nn.Module):
    """A norm whose scale, and bias if it has one, is each client's own: part of a new head.

    Attributes:
        scale: Scales of each party, (C, O).
        bias: Biases of each party, (C, O); an empty list if norms have no bias.

    Args:
        base: The norm, (E, ..., O) to (E, ..., O). Its own scale is set to one, its bias to zero.
        batch: The segments of the current batch.
    """

    def __init__(self, base: nn.Module, batch: BatchSegments) -> None:
        super().__init__()
        self.base = base
        self.scale: list[torch.Tensor] = []
        self.bias: list[torch.Tensor] = []
        self._batch = batch
        nn.init.ones_(base.weight)  # type: ignore[arg-type]
        if getattr(base, "bias", None) is not None:
            nn.init.zeros_(base.bias)  # type: ignore[arg-type]

    def clear(self) -> None:
        """Remove scales and biases of all parties."""
        self.scale.clear()
        self.bias.clear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the norm's output, (E, ..., O), scaled and shifted by each client's own values."""
        y = per_client(self.base(x), self._batch.parties, self.scale)
        if not self.bias:
            return y
        shifted: torch.Tensor = _Shift.apply(  # type: ignore[no-untyped-call]
            y, self._batch.parties, *self.bias
        )
        return shifted
