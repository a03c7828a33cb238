"""The layout: what every entry of the flat adapter vector means.

A layout lists the trained tensors in sorted order of canonical names (never the order of a file),
so that client and server agree on every index without sending names. It is built from a backbone's
``config.json`` alone; no framework is needed. Canonical names use *roles* (``q``, ``k``, ``v``,
``o``, ``mlp_in``, ``mlp_out``) that do not change when a model library renames its modules.

What is ranked, masked and sent are offsets from the layout's *base*, which both ends can build
without traffic. For LoRA with a head, as in FLoSS, the base is zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from floss_sim.errors import LayoutError
from floss_sim.rng import stream
from floss_sim.sparsity import Vector

LORA_A, LORA_B, HEAD_WEIGHT, HEAD_BIAS = "lora_A", "lora_B", "head_weight", "head_bias"
HEAD_INIT_STD = 0.02  # the initializer_range of the supported families


@dataclass(frozen=True)
class TensorSpec:
    """One trained tensor: canonical name, shape and kind (``lora_A``, ``head_bias``, ...)."""

    name: str
    shape: tuple[int, ...]
    kind: str

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Tensors in sorted order of their names, laid end to end in one vector of ``entries``.

    Raises:
        LayoutError: Names are not sorted and unique.
    """

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in self.tensors]
        if names != sorted(set(names)):
            raise LayoutError("the tensors of a layout must have unique names in sorted order")

    @cached_property
    def entries(self) -> int:
        """Length of the flat vector."""
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def slices(self) -> Mapping[str, slice]:
        """Where each tensor lies in the flat vector, by name."""
        ends = accumulate(tensor.size for tensor in self.tensors)
        return {t.name: slice(end - t.size, end) for t, end in zip(self.tensors, ends, strict=True)}

    @cached_property
    def digest(self) -> bytes:
        """Eight bytes that name this layout in every message header."""
        text = json.dumps([[t.name, t.shape, t.kind] for t in self.tensors])
        return hashlib.sha256(text.encode()).digest()[:8]

    def base(self) -> Vector:
        """Return the vector, float32 of shape (entries,), that offsets are added to: zero."""
        return np.zeros(self.entries, dtype=np.float32)

    def initial(self, seed: int) -> Vector:
        """Return the first global vector, float32 of shape (entries,).

        A is uniform in ±1/sqrt(fan_in) and B is zero, as PEFT initialises them; the head's weight
        is normal with deviation 0.02 and its bias zero, as a new classifier of the model library.
        Each tensor draws from its own named stream of the run's seed.
        """
        vector_N = np.zeros(self.entries, dtype=np.float32)
        for tensor in self.tensors:
            draw = stream(seed, "initial", tensor.name)
            if tensor.kind == LORA_A:
                bound = 1 / np.sqrt(tensor.shape[1])
                vector_N[self.slices[tensor.name]] = draw.uniform(-bound, bound, tensor.size)
            elif tensor.kind == HEAD_WEIGHT:
                vector_N[self.slices[tensor.name]] = draw.normal(0, HEAD_INIT_STD, tensor.size)
        return vector_N


@dataclass(frozen=True)
class _Family:
    """How a model family's config gives the (out, in) shape of each role's weight."""

    layers: str
    width: str
    roles: Mapping[str, Callable[[Mapping[str, Any]], tuple[int, int]]]


def _whole(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise LayoutError(f"backbone config: {key} must be a whole number above 0, not {value!r}")
    return value


def _square(config: Mapping[str, Any]) -> tuple[int, int]:
    return _whole(config, "hidden_size"), _whole(config, "hidden_size")


_FAMILIES: Mapping[str, _Family] = {
    "vit": _Family(
        layers="num_hidden_layers",
        width="hidden_size",
        roles={
            "q": _square,
            "k": _square,
            "v": _square,
            "o": _square,
            "mlp_in": lambda c: (_whole(c, "intermediate_size"), _whole(c, "hidden_size")),
            "mlp_out": lambda c: (_whole(c, "hidden_size"), _whole(c, "intermediate_size")),
        },
    ),
}


def lora_layout(
    backbone: Mapping[str, Any], roles: Sequence[str], rank: int, labels: int
) -> Layout:
    """Return the layout of LoRA on every layer's ``roles`` plus the classification head.

    Args:
        backbone: The backbone's ``config.json`` as a mapping.
        roles: Which projections get an adapter, such as ``("q", "v")``.
        rank: The LoRA rank; A has shape (rank, in) and B (out, rank).
        labels: Number of classes; the head has shape (labels, width) and a bias.

    Raises:
        LayoutError: Unknown model family or role, a config without the sizes, or a rank outside
            1 .. the layer's width.
    """
    family = _FAMILIES.get(str(backbone.get("model_type")))
    if family is None:
        raise LayoutError(
            f"backbone family {backbone.get('model_type')!r} is not supported; "
            f"valid: {', '.join(_FAMILIES)}"
        )
    specs = [
        TensorSpec("head.bias", (labels,), HEAD_BIAS),
        TensorSpec("head.weight", (labels, _whole(backbone, family.width)), HEAD_WEIGHT),
    ]
    for role in roles:
        if role not in family.roles:
            raise LayoutError(f"unknown LoRA role {role!r}; valid: {', '.join(family.roles)}")
        fan_out, fan_in = family.roles[role](backbone)
        if not 1 <= rank <= min(fan_out, fan_in):
            raise LayoutError(
                f"rank {rank} does not fit role {role!r} of shape {fan_out} x {fan_in}; "
                f"valid: 1 to {min(fan_out, fan_in)}"
            )
        for layer in range(_whole(backbone, family.layers)):
            name = f"layer.{layer:03d}.{role}"
            specs.append(TensorSpec(f"{name}.lora_A", (rank, fan_in), LORA_A))
            specs.append(TensorSpec(f"{name}.lora_B", (fan_out, rank), LORA_B))
    return Layout(tuple(sorted(specs, key=lambda spec: spec.name)))
