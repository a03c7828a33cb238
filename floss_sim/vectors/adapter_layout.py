"""Layouts of adapters in PEFT's settings, on any model of the model library."""

from __future__ import annotations

from math import prod

from floss_sim.families.canonical_names import canonical_module, canonical_parameter
from floss_sim.families.trained_tensors import WHOLE, TrainedModel, TrainedTensor
from floss_sim.vectors.layout import (
    BIAS,
    HEAD_BIAS,
    HEAD_WEIGHT,
    LORA_A,
    LORA_B,
    WEIGHT,
    Layout,
    TensorSpec,
)

_MATRICES = (LORA_A, LORA_B)


def adapter_layout(model: TrainedModel) -> Layout:
    """Return the layout of the tensors of a model that train.

    Adapters of convolutions, which PEFT stores with four sides, have two sides here: the rank and
    all others.
    """
    specs = (_spec(model, tensor) for tensor in model.tensors)
    return Layout(tuple(sorted(specs, key=lambda spec: spec.name)))


def _spec(model: TrainedModel, tensor: TrainedTensor) -> TensorSpec:
    if tensor.part != WHOLE:
        name = f"{canonical_module(model.model_type, tensor.module)}.{tensor.part}"
        shape = _flat(tensor) if tensor.part in _MATRICES else (tensor.entries,)
        return TensorSpec(name, shape, tensor.part)
    name = canonical_parameter(model.model_type, tensor.module)
    if any(tensor.module.startswith(f"{path}.") for path in model.head):
        kind = HEAD_WEIGHT if len(tensor.shape) > 1 else HEAD_BIAS
    else:
        kind = BIAS if name.endswith("bias") else WEIGHT
    return TensorSpec(name, tensor.shape, kind)


def _flat(tensor: TrainedTensor) -> tuple[int, int]:
    first, *rest = tensor.shape
    return first, prod(rest)
