"""Adapters from PEFT, added to a backbone if the layout has adapters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from floss_sim.families.adapter_settings import ALL_LINEAR, AdapterSettings
from floss_sim.families.library_models import refusals
from floss_sim.tasks import Task
from floss_sim.training.models.loading import head_paths
from floss_sim.training.models.parameter_names import TransformersModel, module_paths
from floss_sim.vectors.layout import MATRIX_KINDS, Layout


def with_adapters(
    backbone: PreTrainedModel, layout: Layout, task: Task, settings: AdapterSettings
) -> TransformersModel:
    """Return PEFT's model around a backbone, or the backbone if the layout has no adapters.

    Args:
        backbone: The loaded backbone; PEFT replaces its target layers in place.
        layout: The layout; its adapter tensors name the target layers.
        task: The task: LoRA's dropout, and whether there is a head.
        settings: The adapters.

    Raises:
        LayoutError: PEFT cannot adapt a module of the layout.
    """
    tensors = (*layout.tensors, *layout.frozen)
    adapted = {t.name.rpartition(".")[0] for t in tensors if t.kind in MATRIX_KINDS}
    if not adapted:
        return backbone
    existing = module_paths(backbone)
    paths = sorted(existing[name] for name in adapted if name in existing)
    turned = any(isinstance(backbone.get_submodule(path), Conv1D) for path in paths)
    with refusals(task.backbone_config, "adapters on"):
        return get_peft_model(
            backbone,
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=task.lora.dropout,
                use_dora=settings.dora,
                use_rslora=settings.rslora,
                target_modules=_targets(settings, paths),
                modules_to_save=[*head_paths(task)] or None,
                fan_in_fan_out=turned,
            ),
        )


@contextmanager
def scaled_adapters(model: TransformersModel, factor: float) -> Iterator[None]:
    """Multiply LoRA's scale of all layers by a factor for the block.

    Args:
        model: PEFT's model, or a backbone without adapters.
        factor: The factor; 1 leaves the model as it is.
    """
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)] if factor != 1 else []
    before = [dict(layer.scaling) for layer in layers]
    for layer in layers:
        layer.scaling.update({name: factor * scale for name, scale in layer.scaling.items()})
    try:
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)


def _targets(settings: AdapterSettings, paths: list[str]) -> Any:
    """Return PEFT's targets: paths, or ``all-linear``, by which it adapts experts besides."""
    whole = settings.layers is None and settings.depth is None
    return ALL_LINEAR if whole and settings.targets == (ALL_LINEAR,) else paths
