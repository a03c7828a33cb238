"""Dropout with a random stream per client, so that a batch can hold several clients' examples.

Each dropout of the model is a *site*, identified by its module's name. A client's dropout mask at a
site depends only on the client's stream, the step and the site. It does not depend on the other
clients of the batch, on the order of the sites, or on the number of calls: recomputed activations
(gradient checkpointing) get the same mask.

Shapes: E examples, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from floss_sim.rng import stream_seed
from floss_sim.training.models.functional_dropout import use_in_functions

_ATTENTION = "floss_sim_streams"
_SITE = "floss_sim_site"
_MODULO = 2**63
_SHARED = ("pos_dropout",)  # modules that drop entries of relative positions
_ATTENTION_RATES = ("attention_probs_dropout_prob", "attn_pdrop", "attention_dropout")


@dataclass(frozen=True)
class Share:
    """One client's part of a batch.

    Args:
        examples: Number of the client's examples; clients are consecutive in the batch.
        seed: Seed of the client's stream at this step.
        tokens: Tokens of the client's longest text, if the batch may be padded further; None: the
            batch's length.
    """

    examples: int
    seed: int
    tokens: int | None = None


class DropoutStreams:
    """Random streams for all dropouts of a model; :meth:`set_shares` names a batch's clients.

    Attributes:
        sites: Number of dropout sites in the model; 0: the model has no dropout.
        drawn: Number of masks that have been drawn.

    Args:
        device: Device of the random generator.
    """

    def __init__(self, device: torch.device) -> None:
        self.sites = 0
        self.drawn = 0
        self._generator = torch.Generator(device)
        self._shares: Sequence[Share] = ()
        self._step = 0
        self._whole = 1

    @contextmanager
    def draw_for(self, tokens: int) -> Iterator[None]:
        """Draw masks for ``tokens`` tokens in the block, even for activations of one token.

        A layer that computes the first token alone then drops the same entries as a full layer.
        """
        self._whole = tokens
        try:
            yield
        finally:
            self._whole = 1

    def set_shares(self, shares: Sequence[Share], step: int = 0) -> None:
        """Set the clients of the next batch, in the order of their examples, and their step."""
        self._shares, self._step = shares, step

    def by_example(self, x: torch.Tensor) -> torch.Tensor:
        """Return activations as (E, ...); an example may have several rows, as in (E T, width)."""
        each = self._rows_of_an_example(len(x))
        return x if each == 1 else x.reshape(-1, each, *x.shape[1:])

    def _rows_of_an_example(self, rows: int) -> int:
        return max(1, rows // max(1, sum(share.examples for share in self._shares)))

    def shared_factors(self, like: torch.Tensor, rate: float, site: int) -> torch.Tensor:
        """Return the dropout factors of a tensor that all clients share, drawn for each step."""
        self.drawn += 1
        kept = torch.empty_like(like)
        self._generator.manual_seed((self._step ^ site) % _MODULO)
        return kept.bernoulli_(1 - rate, generator=self._generator).div_(1 - rate)

    @contextmanager
    def sharing(self, shares: Sequence[Share]) -> Iterator[None]:
        """Set the clients of the batches in the block; the earlier ones return after it."""
        before, self._shares = self._shares, shares
        try:
            yield
        finally:
            self._shares = before

    def factors(
        self, like: torch.Tensor, rate: float, site: int, tokens: Sequence[int]
    ) -> torch.Tensor:
        """Return the dropout factors of activations: 0 for a dropped entry, else 1 / (1 - rate).

        Args:
            like: The activations; dimension 0 is E. Inside :meth:`draw_for` they may hold the
                first token alone; its factors are the same as among all tokens.
            rate: Probability to drop an entry.
            site: Number of the site.
            tokens: The dimensions of length T.
        """
        self.drawn += 1
        ragged = bool(tokens) and any(share.tokens is not None for share in self._shares)
        shape = list(like.shape)
        for dimension in tokens:
            shape[dimension] = max(shape[dimension], self._whole)
        whole = like.expand(shape)
        kept = torch.zeros_like(whole) if ragged else torch.empty_like(whole)
        first = 0
        each = self._rows_of_an_example(len(like))
        for share in self._shares:
            part = kept[first : first + share.examples * each]
            first += share.examples * each
            if ragged:
                for dimension in tokens:
                    part = part.narrow(dimension, 0, share.tokens or shape[dimension])
            self._generator.manual_seed((share.seed ^ site) % _MODULO)
            drawn = part if part.is_contiguous() else torch.empty_like(part).contiguous()
            drawn.bernoulli_(1 - rate, generator=self._generator)
            if drawn is not part:
                part.copy_(drawn)
        for dimension in tokens:
            kept = kept.narrow(dimension, 0, like.shape[dimension])
        return kept.div_(1 - rate)


class StreamDropout(nn.Dropout):
    """``nn.Dropout`` that draws from the clients' streams.

    Activations are (E, ...), (E, T, width) or attention weights (E, heads, T, T). An example may
    have several rows, as in (E T, width).

    Args:
        rate: Probability to drop an entry.
        draws: The clients' streams.
        site: Number of the site.
    """

    def __init__(self, rate: float, draws: DropoutStreams, site: int) -> None:
        super().__init__(rate)
        self._draws = draws
        self._site = site

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activations, with dropout in training mode."""
        if not self.training:
            return x
        return stream_dropout(x, self.p, self._draws, self._site)


class SharedDropout(StreamDropout):
    """Dropout of a tensor that all clients share, such as relative positions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tensor, with dropout in training mode."""
        if not self.training:
            return x
        return x * self._draws.shared_factors(x.detach(), self.p, self._site)


class StreamDropPath(StreamDropout):
    """Stochastic depth (Huang et al. 2016): all activations of an example are dropped, or none."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activations (E, ...), with some examples dropped in training mode."""
        if not self.training:
            return x
        one = x.detach()[(slice(None), *[slice(1)] * (x.dim() - 1))]
        return x * self._draws.factors(one, self.p, self._site, ())


def stream_dropout(x: torch.Tensor, rate: float, draws: DropoutStreams, site: int) -> torch.Tensor:
    """Return activations with dropout from the clients' streams.

    Args:
        x: Activations, in a form of :class:`StreamDropout`.
        rate: Probability to drop an entry.
        draws: The clients' streams.
        site: Number of the site.
    """
    parted = draws.by_example(x)
    tokens = {3: (1,), 4: (2, 3)}.get(parted.dim(), ())
    return (parted * draws.factors(parted.detach(), rate, site, tokens)).view(x.shape)


def use_stream_dropout(model: nn.Module, backbone: PreTrainedModel, draws: DropoutStreams) -> None:
    """Replace every dropout of a model, so that it draws from the clients' streams.

    Args:
        model: The backbone, or PEFT's model around it.
        backbone: The backbone; its attention function is replaced if it drops attention weights.
        draws: The clients' streams.
    """
    for path, module in list(model.named_modules()):
        for name, child in module.named_children():
            kind, rate = _stream_class(name, child)
            if kind and rate > 0:
                setattr(module, name, kind(rate, draws, _site(f"{path}.{name}")))
                draws.sites += 1
    draws.sites += use_in_functions(
        model, lambda x, rate, path: stream_dropout(x, rate, draws, _site(path))
    )
    text = backbone.config.get_text_config()
    if any(getattr(text, rate, 0) for rate in _ATTENTION_RATES):
        for path, module in model.named_modules():
            setattr(module, _SITE, (draws, _site(f"{path}.weights")))
        draws.sites += 1
        AttentionInterface.register(_ATTENTION, attention)
        AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
        backbone.set_attn_implementation(_ATTENTION)


def _stream_class(name: str, module: nn.Module) -> tuple[type[StreamDropout] | None, float]:
    """Return what replaces a module that drops activations, and its rate; None for others."""
    if isinstance(module, nn.Dropout):
        return SharedDropout if name in _SHARED else StreamDropout, module.p
    if type(module).__name__.endswith("DropPath"):
        return StreamDropPath, float(getattr(module, "drop_prob", None) or 0)
    return None, 0


def _site(path: str) -> int:
    """Return a site's number; it is the same with and without PEFT around the layer."""
    plain = path.removeprefix("base_model.model.").removeprefix(".").removesuffix(".default")
    plain = plain.replace(".modules_to_save.default", "")
    return stream_seed(0, "dropout", plain)


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention as in transformers, with dropout of attention weights from the clients' streams.

    Shapes: query, key and value (E, heads, T, width); the mask is bool.

    Returns:
        (attended values, attention weights); the weights are None if torch's own attention is used.
    """
    softcap, sinks = options.get("softcap"), options.get("s_aux")
    if not dropout and softcap is None and sinks is None:
        attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask,
            scaling=scaling, is_causal=is_causal, **options,
        )  # fmt: skip
        return attended
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.mT * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if attention_mask is None and causal:
        attention_mask = torch.ones_like(scores[:1, :1], dtype=torch.bool).tril()
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    if sinks is not None:  # a score of each head that attends to nothing (GPT-OSS)
        sink_column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, sink_column], dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)[..., : key.shape[2]]
    if dropout:
        draws, site = getattr(module, _SITE)
        weights = weights * draws.factors(weights.detach(), dropout, site, (2, 3))
    return (weights @ value).transpose(1, 2).contiguous(), weights
