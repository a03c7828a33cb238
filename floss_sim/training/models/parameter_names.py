"""Parameter names: from a layout's canonical tensor names to those of transformers and PEFT."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TypeAlias

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from floss_sim.errors import LayoutError
from floss_sim.families import Family, family_of
from floss_sim.vectors.layout import (
    HEAD_BIAS,
    HEAD_WEIGHT,
    LORA_A,
    LORA_B,
    WEIGHT,
    Layout,
    TensorSpec,
)

TransformersModel: TypeAlias = PreTrainedModel | PeftModel  # a backbone, or PEFT's model around it


def parameter_names(layout: Layout, model: TransformersModel) -> dict[str, str]:
    """Return the model's parameter name of each tensor of a layout, frozen tensors included.

    Args:
        layout: A layout of the model's family.
        model: The backbone, or PEFT's model around it.

    Raises:
        LayoutError: The model has no parameter for a tensor.
    """
    family = family_of({"model_type": model.config.model_type})
    existing = {name for name, _ in model.named_parameters()}
    return {
        tensor.name: existing_name(_names(tensor, family), existing)
        for tensor in (*layout.tensors, *layout.frozen)
    }


def tensor_parameters(
    tensors: Sequence[TensorSpec], model: TransformersModel
) -> dict[TensorSpec, nn.Parameter]:
    """Return the model's parameter of each tensor, in the order of the tensors.

    Raises:
        LayoutError: A parameter is missing or has a different shape, or the layout trains all
            weights of the backbone and does not contain one of its parameters.
    """
    parameters = dict(model.named_parameters())
    names = parameter_names(Layout(tuple(tensors)), model)
    for tensor in tensors:
        found = tuple(parameters[names[tensor.name]].shape)
        if found != tensor.shape:
            raise LayoutError(
                f"the backbone's parameter {names[tensor.name]!r} has shape {found}, "
                f"expected {tensor.shape}"
            )
    unknown = sorted(set(parameters) - set(names.values()))
    if unknown and any(tensor.kind == WEIGHT for tensor in tensors):
        raise LayoutError(f"the backbone has a parameter {unknown[0]!r} that is in no layout")
    return {tensor: parameters[names[tensor.name]] for tensor in tensors}


def _names(tensor: TensorSpec, family: Family) -> list[str]:
    module, _, last = tensor.name.rpartition(".")
    if tensor.kind in (HEAD_WEIGHT, HEAD_BIAS):
        saved = f"base_model.model.{family.head}.modules_to_save.default.{last}"
        return [saved, f"{family.head}.{last}"]
    if tensor.kind in (LORA_A, LORA_B):
        paths = family.spellings(module)
        return [f"base_model.model.{path}.{last}.default.weight" for path in paths]
    if family.is_bare(module):
        return family.spellings(module)
    return [f"{path}.{last}" for path in family.spellings(module)]


def existing_name(names: Sequence[str], existing: Container[str]) -> str:
    """Return the first name that exists in the model.

    Args:
        names: Possible names of one parameter or module, in order of preference.
        existing: All parameter or module names of the model.

    Raises:
        LayoutError: None of the names exists.
    """
    for name in names:
        if name in existing:
            return name
    raise LayoutError(f"the backbone has no parameter or module {names[0]!r}")
