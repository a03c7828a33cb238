"""Tiny models of many families of the model library with random weights, saved in a folder.

Sizes are stated as a user's ``config.json`` states them. Widths differ, key-value heads are
grouped, windows are shorter than the texts, and nothing drops out unless a test asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_models import IMAGES, LABELS, NEXT_TOKEN, TEXTS, WORDS


@dataclass(frozen=True)
class TinyFamily:
    """A family in one task kind.

    Args:
        kind: The task kind.
        sizes: Keys of its ``config.json``.
        targets: Targets of its adapters.
        model_type: Its name in the model library; None: the name of the case.
        learner: ``"bank"``, or ``"sequential"`` if the bank does not serve these targets.
    """

    kind: str
    sizes: Mapping[str, Any]
    targets: tuple[str, ...] = ("all",)
    model_type: str | None = None
    learner: str = "bank"


_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
          "intermediate_size": 24}  # fmt: skip
_STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_WORDS = {"vocab_size": WORDS, "max_position_embeddings": 16}
_ENCODER = {**_SMALL, **_WORDS, **_STILL}
_IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
_DECODER = {**_SMALL, **_WORDS, **_IDS, "num_key_value_heads": 2, "head_dim": 6}
_PIXELS = {**_SMALL, **_STILL, "image_size": 8, "patch_size": 4, "num_channels": 3}
_ROBERTA = {**_ENCODER, "pad_token_id": 1, "type_vocab_size": 1}
_GEMMA = {**_DECODER, "sliding_window": 4, "query_pre_attn_scalar": 6,
          "layer_types": ["sliding_attention", "full_attention"]}  # fmt: skip
_QWEN_MOE = {**_DECODER, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12,
             "decoder_sparse_step": 1, "mlp_only_layers": []}  # fmt: skip
_DEBERTA = {**_ENCODER, "relative_attention": True, "position_buckets": 4, "type_vocab_size": 0,
            "norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False, "pooler_hidden_size": 16}  # fmt: skip
_ATTENTION = ("q", "k", "v", "o")

FAMILIES: Mapping[str, TinyFamily] = {
    "bert": TinyFamily(TEXTS, _ENCODER),
    "roberta": TinyFamily(TEXTS, _ROBERTA),
    "xlm-roberta": TinyFamily(TEXTS, _ROBERTA),
    "camembert": TinyFamily(TEXTS, _ROBERTA),
    "distilbert": TinyFamily(TEXTS, {
        "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24, **_WORDS, "dropout": 0.0,
        "attention_dropout": 0.0, "seq_classif_dropout": 0.0, "pad_token_id": 0}),
    "electra": TinyFamily(TEXTS, {**_ENCODER, "embedding_size": 12}),
    "deberta-v2": TinyFamily(TEXTS, _DEBERTA, learner="sequential"),
    "deberta-v2-values": TinyFamily(TEXTS, _DEBERTA, ("v", "o"), "deberta-v2"),
    "albert": TinyFamily(TEXTS, {
        **_ENCODER, "embedding_size": 12, "num_hidden_groups": 1, "classifier_dropout_prob": 0.0}),
    "mpnet": TinyFamily(TEXTS, {**_ENCODER, "pad_token_id": 1}),
    "modernbert": TinyFamily(TEXTS, {
        **_SMALL, **_WORDS, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "cls_token_id": 1, "sep_token_id": 2, "local_attention": 4,
        "global_attn_every_n_layers": 2}),
    "gpt2-text": TinyFamily(TEXTS, {
        "n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": WORDS, "n_positions": 16,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, **_IDS}, model_type="gpt2"),
    "gpt2": TinyFamily(NEXT_TOKEN, {
        "n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": WORDS, "n_positions": 16,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, **_IDS}),
    "gpt_neox": TinyFamily(NEXT_TOKEN, {
        **_SMALL, **_WORDS, **_IDS, "hidden_dropout": 0.0, "attention_dropout": 0.0}),
    "opt": TinyFamily(NEXT_TOKEN, {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 24,
        "word_embed_proj_dim": 12, **_WORDS, "dropout": 0.0, "bos_token_id": 2, "eos_token_id": 2,
        "pad_token_id": 1}),
    "bloom": TinyFamily(NEXT_TOKEN, {
        "hidden_size": 16, "n_layer": 2, "n_head": 4, "vocab_size": WORDS, "hidden_dropout": 0.0,
        "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}),
    "falcon": TinyFamily(NEXT_TOKEN, {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "multi_query": True,
        "vocab_size": WORDS, "hidden_dropout": 0.0, "attention_dropout": 0.0, "alibi": False,
        "bos_token_id": 1, "eos_token_id": 1}),
    "llama": TinyFamily(NEXT_TOKEN, _DECODER),
    "mistral": TinyFamily(NEXT_TOKEN, {**_DECODER, "sliding_window": 4}),
    "mixtral": TinyFamily(NEXT_TOKEN, {
        **_DECODER, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4},
        _ATTENTION),
    "qwen2": TinyFamily(NEXT_TOKEN, {**_DECODER, "head_dim": 4, "tie_word_embeddings": True}),
    "qwen2-text": TinyFamily(TEXTS, {**_DECODER, "head_dim": 4}, model_type="qwen2"),
    "qwen3": TinyFamily(NEXT_TOKEN, {**_DECODER, "tie_word_embeddings": True}),
    "qwen3_moe": TinyFamily(NEXT_TOKEN, _QWEN_MOE, _ATTENTION),
    "qwen3_moe-experts": TinyFamily(
        NEXT_TOKEN, _QWEN_MOE, ("all-linear",), "qwen3_moe", "sequential"),
    "gemma": TinyFamily(NEXT_TOKEN, _DECODER),
    "gemma2": TinyFamily(NEXT_TOKEN, {
        **_GEMMA, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}),
    "gemma3_text": TinyFamily(NEXT_TOKEN, _GEMMA),
    "phi": TinyFamily(NEXT_TOKEN, {
        **_SMALL, **_WORDS, **_IDS, "num_key_value_heads": 2, "partial_rotary_factor": 0.5}),
    "phi3": TinyFamily(NEXT_TOKEN, {
        **_SMALL, **_WORDS, "num_key_value_heads": 2, "sliding_window": 4, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 3, "original_max_position_embeddings": 16}),
    "smollm3": TinyFamily(NEXT_TOKEN, {
        **_DECODER, "no_rope_layers": [1, 0], "tie_word_embeddings": True}),
    "stablelm": TinyFamily(NEXT_TOKEN, {
        **_SMALL, **_WORDS, **_IDS, "num_key_value_heads": 2, "use_qkv_bias": True,
        "use_parallel_residual": False}),
    "olmo": TinyFamily(NEXT_TOKEN, {**_SMALL, **_WORDS, **_IDS, "num_key_value_heads": 2}),
    "olmo2": TinyFamily(NEXT_TOKEN, {**_SMALL, **_WORDS, **_IDS, "num_key_value_heads": 2}),
    "vit": TinyFamily(IMAGES, _PIXELS),
    "deit": TinyFamily(IMAGES, _PIXELS),
    "beit": TinyFamily(IMAGES, {
        **_PIXELS, "vocab_size": WORDS, "drop_path_rate": 0.0,
        "use_relative_position_bias": True}),
    "dinov2": TinyFamily(IMAGES, {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2,
        **_STILL, "image_size": 8, "patch_size": 4, "num_channels": 3}),
    "swin": TinyFamily(IMAGES, {
        "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 4], "window_size": 2, "image_size": 8,
        "patch_size": 1, "num_channels": 3, "drop_path_rate": 0.0, **_STILL}),
    "convnext": TinyFamily(IMAGES, {
        "hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2, "patch_size": 2,
        "image_size": 8, "num_channels": 3, "drop_path_rate": 0.0}),
    "convnext-convolutions": TinyFamily(IMAGES, {
        "hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2, "patch_size": 2,
        "image_size": 8, "num_channels": 3, "drop_path_rate": 0.0},
        ("downsampling_layer.1",), "convnext", "sequential"),
    "resnet": TinyFamily(IMAGES, {
        "embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "num_channels": 3,
        "layer_type": "basic"}, ("re:.*stages.1.*convolution",), learner="sequential"),
    "swinv2": TinyFamily(IMAGES, {
        "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 4], "window_size": 2, "image_size": 8,
        "patch_size": 1, "num_channels": 3, "drop_path_rate": 0.0, **_STILL}),
    "xlnet": TinyFamily(TEXTS, {
        "vocab_size": WORDS, "d_model": 16, "n_layer": 2, "n_head": 4, "d_inner": 24,
        "dropout": 0.0, "summary_last_dropout": 0.0}, ("layer_1",), learner="sequential"),
    "fnet": TinyFamily(
        TEXTS, {**_ENCODER, "tpu_short_seq_length": 16}, ("mlp_in", "mlp_out"),
        learner="sequential"),
    "gpt_oss": TinyFamily(NEXT_TOKEN, {
        **_DECODER, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"]}, _ATTENTION),
    "granite": TinyFamily(NEXT_TOKEN, _DECODER),
    "cohere": TinyFamily(NEXT_TOKEN, _DECODER),
    "mpt": TinyFamily(NEXT_TOKEN, {
        "d_model": 16, "n_heads": 4, "n_layers": 2, "vocab_size": WORDS, "max_seq_len": 16}),
    "gptj": TinyFamily(NEXT_TOKEN, {
        "n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": WORDS, "n_positions": 16,
        "rotary_dim": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
    "siglip": TinyFamily(IMAGES, {
        "vision_config": {**_SMALL, "image_size": 8, "patch_size": 4, "num_channels": 3},
        "text_config": {**_SMALL, **_WORDS, "projection_size": 16}}),
}  # fmt: skip


def save_tiny(case: str, folder: Path, **changes: Any) -> Path:
    """Write a tiny model and its ``config.json`` into a folder, and return the folder."""
    import torch
    from transformers import AutoConfig

    from floss_sim.families.library_models import config_of, model_class

    family = FAMILIES[case]
    stated = {"model_type": family.model_type or case, **family.sizes, **changes}
    labels = {"num_labels": LABELS} if family.kind != NEXT_TOKEN else {}
    library = AutoConfig.for_model(**stated, **labels)
    chosen = model_class(family.kind, library)
    torch.manual_seed(7)
    model = chosen(config_of(chosen, library))
    for parameter in model.parameters():  # what begins at 0 or 1 would hide mistakes
        if parameter.dim() < 2:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        else:
            parameter.data.mul_(3)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder
