"""Supported model families, with the module names of the installed model library.

Each module lists its current name first and its older names after it. The dictionary keys are
floss-sim's own: they form canonical names such as ``layer.003.q.weight``, which stay the same when
the model library renames its modules.
"""

from __future__ import annotations

from collections.abc import Mapping

from floss_sim.families.family import IMAGES, NEXT_TOKEN, TEXTS, Family, ModuleSpec, SymbolicShape
from floss_sim.families.sizes import image_positions, key_reader, product, side_reader

_WIDTH = key_reader("hidden_size")
_MOST_LAYERS = 1000  # canonical names hold three digits
_DEPTH = key_reader("num_hidden_layers", most=_MOST_LAYERS)
_HEADS = key_reader("num_attention_heads")
_HEAD_WIDTH = key_reader("head_dim", lambda config: _WIDTH(config) // _HEADS(config))
_SQUARE: SymbolicShape = ("width", "width")
_NORM: SymbolicShape = ("width",)

_VIT = Family(
    kinds=(IMAGES,),
    layers=("vit.layers", "vit.encoder.layer"),
    depth=_DEPTH,
    sizes={
        "width": _WIDTH,
        "inner": key_reader("intermediate_size"),
        "channels": key_reader("num_channels", 3),
        "patch_rows": side_reader("patch_size", 0, 16),
        "patch_columns": side_reader("patch_size", 1, 16),
        "positions": image_positions,
    },
    head="classifier",
    head_bias=True,
    other_heads=("classifier", "pooler", "decoder", "embeddings.mask_token"),
    roles={
        "q": ModuleSpec(
            ("attention.q_proj", "attention.attention.query"), _SQUARE, ("qkv_bias", True)
        ),
        "k": ModuleSpec(
            ("attention.k_proj", "attention.attention.key"), _SQUARE, ("qkv_bias", True)
        ),
        "v": ModuleSpec(
            ("attention.v_proj", "attention.attention.value"), _SQUARE, ("qkv_bias", True)
        ),
        "o": ModuleSpec(("attention.o_proj", "attention.output.dense"), _SQUARE),
        "mlp_in": ModuleSpec(("mlp.fc1", "intermediate.dense"), ("inner", "width")),
        "mlp_out": ModuleSpec(("mlp.fc2", "output.dense"), ("width", "inner")),
    },
    norms={
        "norm_before": ModuleSpec(("layernorm_before",), _NORM),
        "norm_after": ModuleSpec(("layernorm_after",), _NORM),
    },
    around={
        "embed.class": ModuleSpec(("vit.embeddings.cls_token",), (1, 1, "width"), False, bare=True),
        "embed.position": ModuleSpec(
            ("vit.embeddings.position_embeddings",), (1, "positions", "width"), False, bare=True
        ),
        "embed.patch": ModuleSpec(
            ("vit.embeddings.patch_embeddings.projection",),
            ("width", "channels", "patch_rows", "patch_columns"),
        ),
        "norm": ModuleSpec(("vit.layernorm",), _NORM),
    },
)

_BERT = Family(
    kinds=(TEXTS,),
    layers=("bert.encoder.layer",),
    depth=_DEPTH,
    sizes={
        "width": _WIDTH,
        "inner": key_reader("intermediate_size"),
        "words": key_reader("vocab_size"),
        "positions": key_reader("max_position_embeddings", 512),
        "segments": key_reader("type_vocab_size", 2),
    },
    head="classifier",
    head_bias=True,
    special_tokens={"pad_token_id": 0},
    other_heads=("cls", "classifier", "qa_outputs"),
    roles={
        "q": ModuleSpec(("attention.self.query",), _SQUARE),
        "k": ModuleSpec(("attention.self.key",), _SQUARE),
        "v": ModuleSpec(("attention.self.value",), _SQUARE),
        "o": ModuleSpec(("attention.output.dense",), _SQUARE),
        "mlp_in": ModuleSpec(("intermediate.dense",), ("inner", "width")),
        "mlp_out": ModuleSpec(("output.dense",), ("width", "inner")),
    },
    norms={
        "norm_attention": ModuleSpec(("attention.output.LayerNorm",), _NORM),
        "norm_mlp": ModuleSpec(("output.LayerNorm",), _NORM),
    },
    around={
        "embed.word": ModuleSpec(("bert.embeddings.word_embeddings",), ("words", "width"), False),
        "embed.position": ModuleSpec(
            ("bert.embeddings.position_embeddings",), ("positions", "width"), False
        ),
        "embed.segment": ModuleSpec(
            ("bert.embeddings.token_type_embeddings",), ("segments", "width"), False
        ),
        "embed.norm": ModuleSpec(("bert.embeddings.LayerNorm",), _NORM),
        "pooler": ModuleSpec(("bert.pooler.dense",), _SQUARE),
    },
)

_GPT2_WIDTH = key_reader("n_embd")
_GPT2 = Family(
    kinds=(TEXTS, NEXT_TOKEN),
    layers=("transformer.h",),
    depth=key_reader("n_layer", most=_MOST_LAYERS),
    sizes={
        "width": _GPT2_WIDTH,
        "qkv": product(lambda config: 3, _GPT2_WIDTH),
        "inner": key_reader("n_inner", product(lambda config: 4, _GPT2_WIDTH)),
        "words": key_reader("vocab_size"),
        "positions": key_reader("n_positions", 1024),
    },
    head="score",
    head_bias=False,
    special_tokens={"eos_token_id": 50256},
    other_heads=("lm_head", "score", "classifier", "multiple_choice_head", "qa_outputs"),
    roles={
        "qkv": ModuleSpec(("attn.c_attn",), ("qkv", "width")),
        "o": ModuleSpec(("attn.c_proj",), _SQUARE),
        "mlp_in": ModuleSpec(("mlp.c_fc",), ("inner", "width")),
        "mlp_out": ModuleSpec(("mlp.c_proj",), ("width", "inner")),
    },
    norms={
        "norm_attention": ModuleSpec(("ln_1",), _NORM),
        "norm_mlp": ModuleSpec(("ln_2",), _NORM),
    },
    around={
        "embed.word": ModuleSpec(("transformer.wte",), ("words", "width"), False),
        "embed.position": ModuleSpec(("transformer.wpe",), ("positions", "width"), False),
        "norm": ModuleSpec(("transformer.ln_f",), _NORM),
        "language_head": ModuleSpec(("lm_head",), ("words", "width"), False),
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
        "heads": product(_HEADS, _HEAD_WIDTH),
        "key_heads": product(key_reader("num_key_value_heads", _HEADS), _HEAD_WIDTH),
        "inner": key_reader("intermediate_size"),
        "words": key_reader("vocab_size"),
        "positions": key_reader("max_position_embeddings", 2048),
    },
    head="score",
    head_bias=False,
    special_tokens={"eos_token_id": 2},
    other_heads=("lm_head", "score", "classifier", "qa_outputs"),
    roles={
        "q": ModuleSpec(("self_attn.q_proj",), ("heads", "width"), ("attention_bias", False)),
        "k": ModuleSpec(("self_attn.k_proj",), ("key_heads", "width"), ("attention_bias", False)),
        "v": ModuleSpec(("self_attn.v_proj",), ("key_heads", "width"), ("attention_bias", False)),
        "o": ModuleSpec(("self_attn.o_proj",), ("width", "heads"), ("attention_bias", False)),
        "mlp_gate": ModuleSpec(("mlp.gate_proj",), ("inner", "width"), ("mlp_bias", False)),
        "mlp_in": ModuleSpec(("mlp.up_proj",), ("inner", "width"), ("mlp_bias", False)),
        "mlp_out": ModuleSpec(("mlp.down_proj",), ("width", "inner"), ("mlp_bias", False)),
    },
    norms={
        "norm_attention": ModuleSpec(("input_layernorm",), _NORM, False),
        "norm_mlp": ModuleSpec(("post_attention_layernorm",), _NORM, False),
    },
    around={
        "embed.word": ModuleSpec(("model.embed_tokens",), ("words", "width"), False),
        "norm": ModuleSpec(("model.norm",), _NORM, False),
        "language_head": ModuleSpec(("lm_head",), ("words", "width"), False),
    },
    language_head="language_head",
)

FAMILIES: Mapping[str, Family] = {"vit": _VIT, "bert": _BERT, "gpt2": _GPT2, "llama": _LLAMA}
