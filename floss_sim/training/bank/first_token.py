"""The last layer of a classifier that reads one token computes that token alone.

A ViT's head reads what the last layer makes of the class token, BERT's pooler what it makes of the
first word. Keys and values there are those of all tokens; the query, its attention, the output and
the MLP are needed of one. Only the bank does so: PEFT's model, its twin, computes all.

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
    """The model library's layer, (E, T, W) to (E, 1, W)."""

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
    """The model library's layer, (E, T, W) to (E, 1, W)."""

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
    """Return what the first token attends to, (E, 1, W).

    Args:
        module: The model library's attention.
        query_E1W: The first token's query.
        key_ETW: All keys.
        value_ETW: All values.
        mask: Which tokens each token sees, (E, 1, T, T); None: all.
        rate: The chance that training drops an attention weight.
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


# By what reads one token: how the last layer goes then, and of what the library makes a layer.
_LAST_LAYERS: dict[type[PreTrainedModel], tuple[type[nn.Module], dict[str, type[nn.Module]]]] = {
    ViTForImageClassification: (_ViTLastLayer, {"": ViTLayer, "attention": ViTAttention}),
    BertForSequenceClassification: (
        _BertLastLayer,
        {"": BertLayer, "attention": BertAttention, "attention.self": BertSelfAttention},
    ),
}


def read_first_token(backbone: PreTrainedModel, draws: DropoutStreams) -> None:
    """Let a backbone's last layer compute what is read of it; leave what is not known as it is.

    Args:
        backbone: As the model library loaded it, or with banked layers in their places.
        draws: What its dropouts will draw from.
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
