"""Parameter names: from a layout's canonical tensor names to those of transformers and PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from floss_sim.errors import LayoutError
from floss_sim.families.canonical_names import canonical_module
from floss_sim.families.peft_names import tensor_of_name
from floss_sim.vectors.adapter_layout import canonical_tensor
from floss_sim.vectors.layout import (
    ADAPTED_WEIGHT,
    MAGNITUDE,
    MATRIX_KINDS,
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
    family, existing = model.config.model_type, dict[str, str]()
    for name, parameter in model.named_parameters():
        tensor = tensor_of_name(name, tuple(parameter.shape))
        existing.setdefault(canonical_tensor(family, tensor), name)
    wanted = [tensor.name for tensor in (*layout.tensors, *layout.frozen)]
    lacking = next((name for name in wanted if name not in existing), None)
    if lacking is not None:
        raise LayoutError(f"the backbone has no parameter of the tensor {lacking!r}")
    return {name: existing[name] for name in wanted}


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
        if found != tensor.shape and not _is_flat(tensor, found):
            raise LayoutError(
                f"the backbone's parameter {names[tensor.name]!r} has shape {found}, "
                f"expected {tensor.shape}"
            )
    unknown = sorted(set(parameters) - set(names.values()))
    if unknown and any(tensor.kind == WEIGHT for tensor in tensors):
        raise LayoutError(f"the backbone has a parameter {unknown[0]!r} that is in no layout")
    return {tensor: parameters[names[tensor.name]] for tensor in tensors}


def _is_flat(tensor: TensorSpec, found: tuple[int, ...]) -> bool:
    """Return whether a tensor is that of PEFT with its last sides in one, or its only long side."""
    if tensor.kind == MAGNITUDE:
        return prod(found) == tensor.size
    if tensor.kind == ADAPTED_WEIGHT and found == tensor.shape[::-1]:
        return True  # GPT-2's Conv1D and embeddings store (in, out)
    return (
        tensor.kind in (*MATRIX_KINDS, ADAPTED_WEIGHT)
        and (found[0], prod(found[1:])) == tensor.shape
    )


def module_paths(model: TransformersModel) -> dict[str, str]:
    """Return the path of each module of a model by its canonical name."""
    family = model.config.model_type
    return {canonical_module(family, path): path for path, _ in model.named_modules()}


def module_path(paths: dict[str, str], name: str) -> str:
    """Return the path of a canonical module.

    Args:
        paths: Paths by canonical name, from :func:`module_paths`.
        name: The canonical name.

    Raises:
        LayoutError: The model has no such module.
    """
    if name not in paths:
        raise LayoutError(f"the backbone has no module {name!r}")
    return paths[name]
