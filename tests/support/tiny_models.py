"""Tiny models of each family with random weights on disk, and runs on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.runs.config import adapter_settings
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.sections import ClientSection, LoraSection
from floss_sim.vectors.adapter_layout import layout_of
from floss_sim.vectors.layout import Layout

IMAGES, TEXTS, NEXT_TOKEN = "image-classification", "text-classification", "next-token"
AUTO = {
    IMAGES: AutoModelForImageClassification,
    TEXTS: AutoModelForSequenceClassification,
    NEXT_TOKEN: AutoModelForCausalLM,
}
# Every family with every task that it can do.
CASES = [
    ("vit", IMAGES),
    ("bert", TEXTS),
    ("gpt2", TEXTS),
    ("gpt2", NEXT_TOKEN),
    ("llama", TEXTS),
    ("llama", NEXT_TOKEN),
]
WORDS, LABELS = 30, 3
ROLES = {
    "vit": ("q", "k", "v", "o", "mlp_in", "mlp_out"),
    "bert": ("q", "k", "v", "o", "mlp_in", "mlp_out"),
    "gpt2": ("qkv", "o", "mlp_in", "mlp_out"),
    "llama": ("q", "k", "v", "o", "mlp_gate", "mlp_in", "mlp_out"),
}


def tiny_model(family: str, **changes: Any) -> PreTrainedModel:
    """Return a model of two layers whose widths all differ, without any dropout."""
    shared = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(7)
    if family == "vit":
        pixels = {"image_size": 8, "patch_size": 4, "num_channels": 3, "intermediate_size": 24}
        config = ViTConfig(**{**shared, **still, **pixels, **changes})
        model = ViTForImageClassification(config)
    elif family == "bert":
        words = {"vocab_size": WORDS, "max_position_embeddings": 12, "intermediate_size": 24}
        config = BertConfig(**{**shared, **still, **words, **changes})
        model = BertModel(config)
    elif family == "gpt2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": WORDS, "n_positions": 12}
        drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        ends = {"bos_token_id": WORDS - 1, "eos_token_id": WORDS - 1}
        model = GPT2LMHeadModel(GPT2Config(**{**sizes, **drops, **ends, **changes}))
    else:
        words = {"vocab_size": WORDS, "max_position_embeddings": 12, "intermediate_size": 24}
        heads = {"num_key_value_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(**{**shared, **words, **heads, **changes}))
    for name, parameter in model.named_parameters():  # what begins at 0 or 1 would hide mistakes
        if name.endswith("bias") or "norm" in name.lower() or "ln_" in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


@dataclass(frozen=True)
class TinyRun:
    """As much of a run's config as the room of training reads."""

    folder: Path
    kind: str
    trains: str = "lora"
    targets: tuple[str, ...] = ("all",)
    rank: int = 2
    seed: int = 0
    dropout: float = 0.0
    precision: str = "fp32"
    checkpointing: bool = False
    keeps_prefix: bool = False
    drops_below: bool = True
    lora: dict[str, Any] | None = None

    @cached_property
    def client(self) -> ClientSection:
        """Local SGD over two batches."""
        return ClientSection(
            learning_rate=0.1,
            momentum=0.9,
            batch_size=4,
            epochs=1,
            precision=self.precision,
            gradient_checkpointing=self.checkpointing,
            frozen_dropout=self.drops_below,
        )

    @cached_property
    def task(self) -> Any:
        """The task's contract."""
        return SimpleNamespace(
            name="tiny",
            kind=self.kind,
            labels=0 if self.kind == NEXT_TOKEN else LABELS,
            lora=LoraSection(
                targets=self.targets, alpha=16, dropout=self.dropout, **(self.lora or {})
            ),
            preprocess=SimpleNamespace(image_size=None, mean=None, std=None, max_length=None),
            backbone_path=self.folder,
            backbone_config=json.loads((self.folder / "config.json").read_text(encoding="utf-8")),
            backbone_files=BackboneFiles(str(self.folder), self.folder, False, "task 'tiny'"),
            backbone_hash="",
            hub_id=None,
            backbone_name=self.folder.name,
            normalisation=None,
            tokenizer_use=None,
            content=SimpleNamespace(names=()),
        )

    @cached_property
    def adapters(self) -> AdapterSettings:
        """The settings of the adapters."""
        return adapter_settings(self.task, self.rank)

    @cached_property
    def layout(self) -> Layout:
        """The layout, from the config alone."""
        return layout_of(
            self.task.backbone_config,
            self.kind,
            self.task.labels,
            trains=self.trains,
            settings=self.adapters,
            heads=self.rank,
        )


def examples(kind: str, count: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and classes; texts have 3 to 9 tokens, none of them the last word."""
    draw = np.random.default_rng(1)
    y = torch.from_numpy(draw.integers(0, LABELS, count))
    if kind == IMAGES:
        return torch.from_numpy(draw.normal(size=(count, 3, 8, 8)).astype(np.float32)), y
    tokens = draw.integers(1, WORDS - 1, (count, 9)).astype(np.int32)
    tokens[np.arange(9) >= draw.integers(3, 10, count)[:, None]] = -1
    return torch.from_numpy(tokens), y
