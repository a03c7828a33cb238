"""Memory of a client that trains adapters: weights, trained entries and activations, estimated.

Activations are the inputs and outputs of all matrices of the layers for each token of a batch,
three rows of attention weights for each head and token, and the logits of predicted tokens with
their gradients. They are kept for the backward pass. Of experts, those that a token passes through
are counted. Both stacks of an encoder-decoder model are counted, with the same number of tokens.

With checkpointing a layer keeps its input alone, and is computed again in the backward pass (Chen
et al., Training deep nets with sublinear memory cost, 2016); one layer at a time has all its
activations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod

from floss_sim.families import Config
from floss_sim.families.experts import active_experts, active_rows, expert_parameters
from floss_sim.families.model_table import CONV1D, LINEAR, ModelTable
from floss_sim.families.module_roles import layer_of, role_of, stack_of

PRECISIONS: Mapping[str, int] = {"fp32": 32, "bf16": 16, "int8": 8, "int4": 4}  # bits of a weight
_TRAINED_BYTES = 4  # bytes of a trained entry, of its gradient and of its momentum: float32
_HALF = 16  # bits of what is not quantised: activations, and all but the matrices of the layers
_ATTENTION_ROWS = 3  # scores, softmax and dropout
_LOGIT_BYTES = 8  # a logit and its gradient, in float32
_HEADS = re.compile(r"(\w+_)?attention_heads|n_heads?")


@dataclass(frozen=True)
class ClientMemory:
    """Bytes of memory of a client in training.

    Attributes:
        weights: Frozen weights of the backbone.
        trained: Trained entries, in float32.
        gradients: Gradients of the trained entries.
        optimiser: Momentum of SGD.
        activations: Activations of one batch.
    """

    weights: int
    trained: int
    gradients: int
    optimiser: int
    activations: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(asdict(self).values())

    def to_json(self) -> dict[str, int]:
        """Return the parts and their sum, in bytes."""
        return {**asdict(self), "total": self.total}


def client_memory(
    table: ModelTable,
    config: Config,
    entries: int,
    batch: int,
    tokens: int,
    precision: str,
    *,
    checkpointing: bool = False,
) -> ClientMemory:
    """Return the estimated memory of a client.

    Args:
        table: The model, its classes filled in.
        config: The content of its ``config.json``; gives the number of attention heads.
        entries: Number of trained entries.
        batch: Examples of a local batch.
        tokens: Tokens of an example; patches for images.
        precision: Precision of weights and activations, a key of ``PRECISIONS``; below 16 bits
            only the matrices of the layers have it, all else 16 bits.
        checkpointing: Whether a layer keeps its input alone.
    """
    trained = _TRAINED_BYTES * entries
    experts = expert_parameters(table)
    matrices = _matrices(table)
    per_token = sum(sum(shape) for name, shape in matrices.items() if name not in experts)
    per_token += active_rows(experts, active_experts(config))
    per_token += _ATTENTION_ROWS * _attentions(table) * _heads(config) * tokens
    if checkpointing:
        inputs = _layer_inputs(matrices)
        per_token = sum(inputs) + per_token // max(1, len(inputs))
    logits = _LOGIT_BYTES * batch * tokens * (table.output_shape or (0,))[0]
    bits, quantised = PRECISIONS[precision], sum(map(prod, matrices.values()))
    return ClientMemory(
        weights=(bits * quantised + max(bits, _HALF) * (table.entries - quantised)) // 8,
        trained=trained,
        gradients=trained,
        optimiser=trained,
        activations=max(bits, _HALF) // 8 * batch * tokens * per_token + logits,
    )


def _matrices(table: ModelTable) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the matrices in the layers, by name."""
    return {
        f"{path}.weight": table.parameters[f"{path}.weight"]
        for path, kind in table.modules.items()
        if kind in (LINEAR, CONV1D) and layer_of(path) is not None
    }


def _layer_inputs(matrices: Mapping[str, tuple[int, ...]]) -> list[int]:
    """Return the width of the input of each layer: that of its first matrix."""
    first: dict[tuple[str | None, int | None], int] = {}
    for name, shape in matrices.items():
        first.setdefault((stack_of(name), layer_of(name)), shape[-1])
    return list(first.values())


def _attentions(table: ModelTable) -> int:
    """Return the number of attentions: those that have keys, else one a layer."""
    found = [path for path in table.modules if layer_of(path) is not None]
    keys = sum(role_of(path) in ("k", "qkv") for path in found)
    return keys or len({(stack_of(path), layer_of(path)) for path in found})


def _heads(config: Config) -> int:
    """Return the number of attention heads, the largest where layers differ; 1 if unknown."""
    parts = [config, *(value for value in config.values() if isinstance(value, Mapping))]
    found = [value for part in parts for key, value in part.items() if _HEADS.fullmatch(str(key))]
    lists = [value for part in parts for value in [part.get("num_heads")] if value]
    numbers = [
        n for value in (*found, *lists) for n in (value if isinstance(value, list) else [value])
    ]
    return max((number for number in numbers if type(number) is int), default=1)
