"""The families that floss-sim knows, with the module names of the installed model library.

Older names of a module stand behind today's. Roles and the other names on the left are ours: they
make canonical names such as ``layer.003.q.weight``, which no renaming changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from floss_sim.families.family import IMAGES, NEXT_TOKEN, TEXTS, Family, Part, Shape
from floss_sim.families.sizes import key, patches_and_class, side, times

_WIDTH = key("hidden_size")
_DEPTH = key("num_hidden_layers")
_HEADS = key("num_attention_heads")
_HEAD_WIDTH = key("head_dim", lambda config: _WIDTH(config) // _HEADS(config))
_SQUARE: Shape = ("width", "width")
_NORM: Shape = ("width",)

_VIT = Family(
    kinds=(IMAGES,),
    layers=("vit.layers", "vit.encoder.layer"),
    depth=_DEPTH,
    sizes={
        "width": _WIDTH,
        "inner": key("intermediate_size"),
        "channels": key("num_channels", 3),
        "patch_rows": side("patch_size", 0, 16),
        "patch_columns": side("patch_size", 1, 16),
        "positions": patches_and_class,
    },
    head="classifier",
    head_bias=True,
    roles={
        "q": Part(("attention.q_proj", "attention.attention.query"), _SQUARE, ("qkv_bias", True)),
        "k": Part(("attention.k_proj", "attention.attention.key"), _SQUARE, ("qkv_bias", True)),
        "v": Part(("attention.v_proj", "attention.attention.value"), _SQUARE, ("qkv_bias", True)),
        "o": Part(("attention.o_proj", "attention.output.dense"), _SQUARE),
        "mlp_in": Part(("mlp.fc1", "intermediate.dense"), ("inner", "width")),
        "mlp_out": Part(("mlp.fc2", "output.dense"), ("width", "inner")),
    },
    norms={
        "norm_before": Part(("layernorm_before",), _NORM),
        "norm_after": Part(("layernorm_after",), _NORM),
    },
    around={
        "embed.class": Part(("vit.embeddings.cls_token",), (1, 1, "width"), False, bare=True),
        "embed.position": Part(
            ("vit.embeddings.position_embeddings",), (1, "positions", "width"), False, bare=True
        ),
        "embed.patch": Part(
            ("vit.embeddings.patch_embeddings.projection",),
            ("width", "channels", "patch_rows", "patch_columns"),
        ),
        "norm": Part(("vit.layernorm",), _NORM),
    },
)

_BERT = Family(
    kinds=(TEXTS,),
    layers=("bert.encoder.layer",),
    depth=_DEPTH,
    sizes={
        "width": _WIDTH,
        "inner": key("intermediate_size"),
        "words": key("vocab_size"),
        "positions": key("max_position_embeddings", 512),
        "segments": key("type_vocab_size", 2),
    },
    head="classifier",
    head_bias=True,
    roles={
        "q": Part(("attention.self.query",), _SQUARE),
        "k": Part(("attention.self.key",), _SQUARE),
        "v": Part(("attention.self.value",), _SQUARE),
        "o": Part(("attention.output.dense",), _SQUARE),
        "mlp_in": Part(("intermediate.dense",), ("inner", "width")),
        "mlp_out": Part(("output.dense",), ("width", "inner")),
    },
    norms={
        "norm_attention": Part(("attention.output.LayerNorm",), _NORM),
        "norm_mlp": Part(("output.LayerNorm",), _NORM),
    },
    around={
        "embed.word": Part(("bert.embeddings.word_embeddings",), ("words", "width"), False),
        "embed.position": Part(
            ("bert.embeddings.position_embeddings",), ("positions", "width"), False
        ),
        "embed.segment": Part(
            ("bert.embeddings.token_type_embeddings",), ("segments", "width"), False
        ),
        "embed.norm": Part(("bert.embeddings.LayerNorm",), _NORM),
        "pooler": Part(("bert.pooler.dense",), _SQUARE),
    },
)

_GPT2_WIDTH = key("n_embd")
_GPT2 = Family(
    kinds=(TEXTS, NEXT_TOKEN),
    layers=("transformer.h",),
    depth=key("n_layer"),
    sizes={
        "width": _GPT2_WIDTH,
        "qkv": times(lambda config: 3, _GPT2_WIDTH),
        "inner": key("n_inner", times(lambda config: 4, _GPT2_WIDTH)),
        "words": key("vocab_size"),
        "positions": key("n_positions", 1024),
    },
    head="score",
    head_bias=False,
    roles={
        "qkv": Part(("attn.c_attn",), ("qkv", "width")),
        "o": Part(("attn.c_proj",), _SQUARE),
        "mlp_in": Part(("mlp.c_fc",), ("inner", "width")),
        "mlp_out": Part(("mlp.c_proj",), ("width", "inner")),
    },
    norms={
        "norm_attention": Part(("ln_1",), _NORM),
        "norm_mlp": Part(("ln_2",), _NORM),
    },
    around={
        "embed.word": Part(("transformer.wte",), ("words", "width"), False),
        "embed.position": Part(("transformer.wpe",), ("positions", "width"), False),
        "norm": Part(("transformer.ln_f",), _NORM),
        "language_head": Part(("lm_head",), ("words", "width"), False),
    },
    language_head="language_head",
    tied=True,
    transposed=True,
)

_LLAMA = Family(
    kinds=(TEXTS, NEXT_TOKEN),
    layers=("model.layers",),
    depth=_DEPTH,
    sizes={
        "width": _WIDTH,
        "heads": times(_HEADS, _HEAD_WIDTH),
        "key_heads": times(key("num_key_value_heads", _HEADS), _HEAD_WIDTH),
        "inner": key("intermediate_size"),
        "words": key("vocab_size"),
    },
    head="score",
    head_bias=False,
    roles={
        "q": Part(("self_attn.q_proj",), ("heads", "width"), ("attention_bias", False)),
        "k": Part(("self_attn.k_proj",), ("key_heads", "width"), ("attention_bias", False)),
        "v": Part(("self_attn.v_proj",), ("key_heads", "width"), ("attention_bias", False)),
        "o": Part(("self_attn.o_proj",), ("width", "heads"), ("attention_bias", False)),
        "mlp_gate": Part(("mlp.gate_proj",), ("inner", "width"), ("mlp_bias", False)),
        "mlp_in": Part(("mlp.up_proj",), ("inner", "width"), ("mlp_bias", False)),
        "mlp_out": Part(("mlp.down_proj",), ("width", "inner"), ("mlp_bias", False)),
    },
    norms={
        "norm_attention": Part(("input_layernorm",), _NORM, False),
        "norm_mlp": Part(("post_attention_layernorm",), _NORM, False),
    },
    around={
        "embed.word": Part(("model.embed_tokens",), ("words", "width"), False),
        "norm": Part(("model.norm",), _NORM, False),
        "language_head": Part(("lm_head",), ("words", "width"), False),
    },
    language_head="language_head",
)

FAMILIES: Mapping[str, Family] = {"vit": _VIT, "bert": _BERT, "gpt2": _GPT2, "llama": _LLAMA}
