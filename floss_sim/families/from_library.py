"""Model tables and trained tensors from the model library and PEFT, on the meta device.

No weights are loaded and none are allocated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import ALL_LINEAR, AdapterSettings
from floss_sim.families.config_sizes import unstated_sizes
from floss_sim.families.experts import patterned_parameters
from floss_sim.families.family import NEXT_TOKEN, Config
from floss_sim.families.library_models import build_empty, library_config, refusals
from floss_sim.families.model_table import (
    CONV1D,
    CONV2D,
    EMBEDDING,
    LABELS,
    LINEAR,
    ModelTable,
    Shape,
)
from floss_sim.families.peft_names import tensor_of_name, values_by_path
from floss_sim.families.target_modules import resolve_modules
from floss_sim.families.trained_tensors import TrainedModel, check_rank, whole_tensors

_ADAPTABLE = ((Conv1D, CONV1D), (nn.Linear, LINEAR), (nn.Conv2d, CONV2D), (nn.Embedding, EMBEDDING))
_HEADS = ("classifier", "score", "pre_classifier", "pooler", "head")  # new modules by name
_MARK = 100_003  # classes of a model that is built for its table; no side of a model is as long


def model_table(config: Config, kind: str) -> ModelTable:
    """Return the table of a model, built on the meta device from its ``config.json``.

    Args:
        config: The content of ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.

    Raises:
        LayoutError: The library does not know the model type or has no model of this kind for it,
            the config lacks a main size, or the library cannot build the model.
    """
    model = build_empty(config, kind, 0 if kind == NEXT_TOKEN else _MARK)
    head = () if kind == NEXT_TOKEN else _new_modules(model)
    if kind != NEXT_TOKEN and any(_MARK in p.shape for name, p in model.named_parameters()
                                  if name.partition(".")[0] not in head):  # fmt: skip
        raise LayoutError(f"the head of a {config['model_type']} model of {kind} is not known here")
    output = model.get_output_embeddings() if kind == NEXT_TOKEN else None
    output_path = next((path for path, module in model.named_modules() if module is output), "")
    modules = dict(_adaptable(model, output_path))
    own = dict(model.named_parameters())
    return ModelTable(
        model_type=str(config["model_type"]),
        parameters={
            name: _marked(p.shape, name.partition(".")[0] in head) for name, p in own.items()
        },
        modules=modules,
        head=head,
        output=output_path,
        tied={
            path: tuple(model.get_parameter(f"{path}.weight").shape)
            for path in modules
            if path != output_path and f"{path}.weight" not in own
        },
        defaults=unstated_sizes(library_config(config, 0), config),
    )


def _marked(shape: Sequence[int], in_head: bool) -> Shape:
    """Return a shape; in a new head, the side of the classes is ``LABELS``."""
    return tuple(LABELS if in_head and side == _MARK else side for side in shape)


def peft_model(config: Config, kind: str, labels: int, settings: AdapterSettings) -> TrainedModel:
    """Return a model with the tensors that PEFT trains, in PEFT's order.

    Args:
        config: The content of ``config.json``.
        kind: The task kind.
        labels: Number of classes of the new head; 0 for next-token prediction.
        settings: The adapters.

    Raises:
        LayoutError: As for :func:`model_table`, a target matches nothing, or PEFT refuses them.
    """
    table = model_table(config, kind)
    paths = resolve_modules(table, settings)
    whole_tensors(table, settings)
    for path in paths:
        check_rank(table, settings, path)
    model = build_empty(config, kind, labels)
    with refusals(config, "adapters on"), torch.device("meta"):
        adapted = get_peft_model(model, lora_config(table, settings, paths))
    tensors = tuple(
        tensor_of_name(name, tuple(parameter.shape))
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad
    )
    return TrainedModel(table.model_type, table.with_labels(labels).entries, table.head, tensors)


def lora_config(
    table: ModelTable, settings: AdapterSettings, paths: Sequence[str], dropout: float = 0.0
) -> LoraConfig:
    """Return PEFT's config of adapters.

    Args:
        table: The model.
        settings: The adapters.
        paths: The modules that get an adapter, from :func:`resolve_modules`.
        dropout: Dropout of the adapters' inputs.
    """
    whole = settings.layers is None and settings.depth is None
    targets: Any = ALL_LINEAR if whole and settings.targets == (ALL_LINEAR,) else list(paths)
    ranked = (*paths, *patterned_parameters(table, settings))
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=dropout,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        target_modules=targets,
        # PEFT matches expressions without a limit of time; whole paths say the same.
        rank_pattern=values_by_path(ranked, settings.rank_pattern, settings.rank_of),
        alpha_pattern=values_by_path(paths, settings.alpha_pattern, settings.alpha_of),
        modules_to_save=[*table.head, *settings.modules_to_save] or None,
        bias=settings.bias,
        lora_bias=settings.lora_bias,
        fan_in_fan_out=any(table.modules[path] == CONV1D for path in paths),
    )


def _adaptable(model: nn.Module, output: str) -> Iterator[tuple[str, str]]:
    """Yield path and class of the modules that PEFT can adapt; tied: embeddings and the output."""
    own = {name for name, _ in model.named_parameters()}
    for path, module in model.named_modules():
        kind = next((kind for classes, kind in _ADAPTABLE if isinstance(module, classes)), None)
        if kind and (path == output or kind == EMBEDDING or f"{path}.weight" in own):
            yield path, kind


def _new_modules(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the modules outside the backbone that hold parameters: the new head."""
    return tuple(
        name
        for name, child in model.named_children()
        if any(True for _ in child.parameters())
        and (name in _HEADS or any(_MARK in p.shape for p in child.parameters()))
    )
