"""PEFT's names of trained parameters, and expressions that PEFT reads as whole paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from floss_sim.families.adapter_settings import NumberT
from floss_sim.families.model_table import Shape
from floss_sim.families.trained_tensors import (
    LORA_A,
    LORA_B,
    LORA_B_BIAS,
    LORA_SCALE,
    LORA_SQUARE,
    MAGNITUDE,
    WHOLE,
    TrainedTensor,
)

_PARTS = {  # ends of PEFT's parameter names, by part
    ".lora_A.default.weight": LORA_A,
    ".lora_B.default.weight": LORA_B,
    ".lora_embedding_A.default": LORA_A,
    ".lora_embedding_B.default": LORA_B,
    ".lora_B.default.bias": LORA_B_BIAS,
    ".lora_B.default.parametrizations.weight.original": LORA_SQUARE,
    ".lora_B.default.parametrizations.weight.0.scale": LORA_SCALE,
    ".lora_magnitude_vector.default.weight": MAGNITUDE,
}
_BASE = "base_model.model."
_SAVED = ".modules_to_save.default"


def tensor_of_name(name: str, shape: Shape) -> TrainedTensor:
    """Return the trained tensor of a parameter of a model with adapters.

    Args:
        name: The parameter's name in PEFT's model.
        shape: Its shape.
    """
    plain = name.removeprefix(_BASE)
    for end, part in _PARTS.items():
        if plain.endswith(end):
            return TrainedTensor(plain.removesuffix(end), part, shape)
    return TrainedTensor(plain.replace(_SAVED, "").replace(".base_layer", ""), WHOLE, shape)


def values_by_path(
    paths: Sequence[str], patterns: Mapping[str, NumberT], value_of: Callable[[str], NumberT]
) -> dict[str, NumberT]:
    """Return the value of each module by an expression for its path; none if no pattern is set.

    PEFT takes the first expression that matches the end of a path, so long paths come first.
    """
    longest_first = sorted(paths, key=len, reverse=True) if patterns else ()
    return {re.escape(path): value_of(path) for path in longest_first}
