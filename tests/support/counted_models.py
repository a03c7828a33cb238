"""Tiny random models with adapters by PEFT, whose operations and memory the library measures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from transformers import AutoConfig

from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.backbone import TaskModel
from floss_sim.families.from_library import lora_config
from floss_sim.families.library_models import library_config, model_class
from floss_sim.families.target_modules import resolve_modules
from floss_sim.families.trained_tensors import TrainedModel

IMAGES, TEXTS, NEXT_TOKEN = "image-classification", "text-classification", "next-token"
LABELS = 3


@dataclass(frozen=True)
class CountedModel:
    """A model of the library, its adapters, and the inputs of a batch."""

    family: str
    kind: str
    sizes: dict[str, Any]
    adapters: AdapterSettings
    tokens: int = 24
    batch: int = 2
    dropout: float = 0.0

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of its ``config.json``."""
        return AutoConfig.for_model(self.family, **self.sizes).to_dict()

    @cached_property
    def task_model(self) -> TaskModel:
        """The backbone with its head, as plain data."""
        labels = 0 if self.kind == NEXT_TOKEN else LABELS
        return TaskModel(self.family, self.config, self.kind, labels)

    @cached_property
    def trained(self) -> TrainedModel:
        """What trains."""
        return self.task_model.trained_model(self.adapters)

    def model(self) -> PeftModel:
        """Return the real model in training mode, with random weights."""
        table, labels = self.task_model.full_table(), self.task_model.labels
        config = library_config(self.config, labels)
        chosen = model_class(self.kind, config)
        config._attn_implementation = "eager"  # the counter knows no fused attention of a CPU
        config.pad_token_id = 0
        torch.manual_seed(7)
        paths = resolve_modules(table, self.adapters)
        lora = lora_config(table, self.adapters, paths, self.dropout)
        made = get_peft_model(chosen(config), lora)
        return made.train()

    def inputs(self) -> dict[str, torch.Tensor]:
        """Return a batch with its labels."""
        labels = torch.zeros(self.batch, dtype=torch.long)
        if self.kind == IMAGES:
            side = self.config["image_size"]
            return {"pixel_values": torch.randn(self.batch, 3, side, side), "labels": labels}
        ids = torch.randint(3, 60, (self.batch, self.tokens))
        labels = ids if self.kind == NEXT_TOKEN else labels
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
