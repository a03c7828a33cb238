"""LoRA adapters from PEFT, added to a backbone if the layout has adapters."""

from __future__ import annotations

import warnings

from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from floss_sim.families import family_of
from floss_sim.tasks import Task
from floss_sim.training.models.parameter_names import TransformersModel, existing_name
from floss_sim.vectors.layout import LORA_A, LORA_B, Layout


def with_adapters(
    backbone: PreTrainedModel, layout: Layout, task: Task, rank: int
) -> TransformersModel:
    """Return PEFT's model around a backbone, or the backbone if the layout has no adapters.

    Args:
        backbone: The loaded backbone; PEFT replaces its target layers in place.
        layout: The layout; its adapter tensors name the target layers.
        task: The task: LoRA's alpha and dropout, and whether there is a head.
        rank: LoRA rank.
    """
    adapted = {
        tensor.name.rpartition(".")[0]
        for tensor in (*layout.tensors, *layout.frozen)
        if tensor.kind in (LORA_A, LORA_B)
    }
    if not adapted:
        return backbone
    family = family_of({"model_type": backbone.config.model_type})
    modules = {name for name, _ in backbone.named_modules()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns that a local backbone has no hub id
        return get_peft_model(
            backbone,
            LoraConfig(
                r=rank,
                lora_alpha=task.lora.alpha,
                lora_dropout=task.lora.dropout,
                target_modules=sorted(
                    existing_name(family.spellings(name), modules) for name in adapted
                ),
                modules_to_save=[family.head] if task.labels else None,
                fan_in_fan_out=family.transposed,
            ),
        )
