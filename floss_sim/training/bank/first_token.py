"""Last-layer shortcut: ViT and BERT heads read one token, so the last layer computes that alone.

A ViT's head reads the last layer's output for the class token, BERT's pooler that for the first
token. Keys and values are needed for all tokens; the query, attention, output and MLP only for the
first. Only the bank uses this shortcut. PEFT's model, the reference, computes all tokens.

Shapes: E examples, T tokens, W width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import (
    BertForSequenceClassification,
    PreTrainedModel,
    ViTForImageClassification,
)
from transformers.models.bert.modeling_bert import BertAttention, BertLayer, BertSelfAttention
from transformers.models.vit.modeling_vit import ViTAttention, ViTLayer

from floss_sim.families import family_of
from floss_sim.training.models.dropout import DropoutStreams, attention


class _ViTLastLayer(ViTLayer):  # type: ignore[misc]
    """ViT layer that computes the first token alone, (E, T, W) to (E, 1, W)."""

    draws: DropoutStreams

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor | None = None, **_: Any
    ) -> torch.Tensor:
        inside, before = self.attention, self.layernorm_before(hidden)
        with self.draws.draw_for(hidden.shape[1]):
            query, key = inside.q_proj(_first_token(before)), inside.k_proj(before)
            attended = _first_token_attention(
                inside, query, key, inside.v_proj(before), mask, inside.attention_dropout
            )
            middle = self.dropout(inside.o_proj(attended)) + _first_token(hidden)
            out: torch.Tensor = self.dropout(self.mlp(self.layernorm_after(middle))) + middle
        return out


class _BertLastLayer(BertLayer):  # type: ignore[misc]
    """BERT layer that computes the first token alone, (E, T, W) to (E, 1, W)."""

    draws: DropoutStreams

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        inside, first = self.attention.self, _first_token(hidden)
        with self.draws.draw_for(hidden.shape[1]):
            query, key = inside.query(first), inside.key(hidden)
            attended = _first_token_attention(
                inside, query, key, inside.value(hidden), mask, inside.dropout.p
            )
            out: torch.Tensor = self.feed_forward_chunk(self.attention.output(attended, first))
        return out


def _first_token(x_ETW: torch.Tensor) -> torch.Tensor:
    return x_ETW[:, :1].contiguous()


def _first_token_attention(
    module: Any,
    query_E1W: torch.Tensor,
    key_ETW: torch.Tensor,
    value_ETW: torch.Tensor,
    mask: torch.Tensor | None,
    rate: float,
) -> torch.Tensor:
    """Return the attention output of the first token, (E, 1, W).

    Args:
        module: The attention module of transformers.
        query_E1W: Query of the first token.
        key_ETW: Keys of all tokens.
        value_ETW: Values of all tokens.
        mask: Attention mask, bool of shape (E, 1, T, T), True where a token sees another; None:
            every token sees all.
        rate: Probability to drop an attention weight in training mode.
    """
    query, key, value = (
        x.view(len(x), x.shape[1], module.num_attention_heads, -1).transpose(1, 2)
        for x in (query_E1W, key_ETW, value_ETW)
    )
    attended, _ = attention(
        module, query, key, value, None if mask is None else mask[:, :, :1],
        dropout=rate if module.training else 0.0, scaling=module.scaling,
    )  # fmt: skip
    return attended.flatten(2)


# For each model class whose head reads one token: the class of the shortened last layer, and the
# module classes that a layer of transformers must have to be replaced by it.
_LAST_LAYERS: dict[type[PreTrainedModel], tuple[type[nn.Module], dict[str, type[nn.Module]]]] = {
    ViTForImageClassification: (_ViTLastLayer, {"": ViTLayer, "attention": ViTAttention}),
    BertForSequenceClassification: (
        _BertLastLayer,
        {"": BertLayer, "attention": BertAttention, "attention.self": BertSelfAttention},
    ),
}


def read_first_token(backbone: PreTrainedModel, draws: DropoutStreams) -> None:
    """Replace a backbone's last layer by one that computes the first token alone.

    A backbone of an unknown class or structure is not changed.

    Args:
        backbone: The backbone, with or without banked layers.
        draws: The random streams of the backbone's dropouts.
    """
    config = backbone.config
    plain = config._attn_implementation == "sdpa" and not getattr(config, "is_decoder", False)
    if type(backbone) not in _LAST_LAYERS or not plain:
        return
    last, known = _LAST_LAYERS[type(backbone)]
    family = family_of({"model_type": config.model_type})
    stacks = [m for name, m in backbone.named_modules() if name == family.layers[0]]
    for *_, layer in stacks:
        found = {path: type(module) for path, module in layer.named_modules()}
        parts = [part.modules[0] for part in (*family.roles.values(), *family.norms.values())]
        if found.items() >= known.items() and found.keys() >= set(parts):
            layer.__class__ = last
            layer.draws = draws
