"""Memory of a client that trains adapters: weights, trained entries and activations, estimated.

The peak is that of a step in steady state: weights, trained entries with gradients and momentum,
the activations that the layers keep for the backward pass (:mod:`.layer_activations`), and the
larger of two further needs: the gradients of a layer in its backward pass, or, of predicted tokens,
the logarithms of their probabilities, the gradients of these, and those of the logits, in float32.
Estimates agree with measured peaks of a processor within 15 % (experiments/client_memory); fused
attention is assumed. The libraries themselves take some hundred MB more.

With checkpointing a layer keeps its input alone, and is computed again in the backward pass (Chen
et al., Training deep nets with sublinear memory cost, 2016); one layer at a time has all its
activations, and none while the loss is computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod

from floss_sim.analysis.layer_activations import layer_activations
from floss_sim.families import Config
from floss_sim.families.model_table import CONV1D, LINEAR, ModelTable
from floss_sim.families.module_roles import layer_of
from floss_sim.families.trained_tensors import TrainedModel

PRECISIONS: Mapping[str, int] = {"fp32": 32, "bf16": 16, "int8": 8, "int4": 4}  # bits of a weight
_TRAINED_BYTES = 4  # bytes of a trained entry, of its gradient and of its momentum: float32
_HALF = 16  # bits of what is not quantised: activations, and all but the matrices of the layers
_LOGIT_BYTES = 12  # log-probability of a token, its gradient and that of the logit, in float32
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
    trained: TrainedModel,
    batch: int,
    tokens: int,
    precision: str,
    *,
    checkpointing: bool = False,
    dropout: bool = False,
) -> ClientMemory:
    """Return the estimated peak memory of a client.

    Args:
        table: The model, its classes filled in.
        config: The content of its ``config.json``; gives heads, activation function and dropout.
        trained: What trains.
        batch: Examples of a local batch.
        tokens: Tokens of an example; patches for images.
        precision: Precision of weights and activations, a key of ``PRECISIONS``; below 16 bits
            only the matrices of the layers have it, all else 16 bits.
        checkpointing: Whether a layer keeps its input alone.
        dropout: Whether the input of adapters has dropout.
    """
    layers = layer_activations(
        table, config, trained.tensors, tokens, _heads(config), dropout=dropout
    )
    kept = sum(layer.kept for layer in layers)
    working = max((layer.working for layer in layers), default=0)
    if checkpointing:
        kept = sum(layer.input for layer in layers)
        working = max((layer.kept + layer.working for layer in layers), default=0)
    bits, quantised = PRECISIONS[precision], _quantised_entries(table)
    value_bytes, examples = max(bits, _HALF) // 8, batch * tokens
    logits = _LOGIT_BYTES * (table.output_shape or (0,))[0]
    entries = _TRAINED_BYTES * trained.entries
    return ClientMemory(
        weights=(bits * quantised + max(bits, _HALF) * (table.entries - quantised)) // 8,
        trained=entries,
        gradients=entries,
        optimiser=entries,
        activations=examples * (value_bytes * kept + max(value_bytes * working, logits)),
    )


def _quantised_entries(table: ModelTable) -> int:
    """Return the entries of the matrices in the layers."""
    return sum(
        prod(table.parameters[f"{path}.weight"])
        for path, kind in table.modules.items()
        if kind in (LINEAR, CONV1D) and layer_of(path) is not None
    )


def _heads(config: Config) -> int:
    """Return the number of attention heads, the largest where layers differ; 1 if unknown."""
    parts = [config, *(value for value in config.values() if isinstance(value, Mapping))]
    found = [value for part in parts for key, value in part.items() if _HEADS.fullmatch(str(key))]
    lists = [value for part in parts for value in [part.get("num_heads")] if value]
    numbers = [
        n for value in (*found, *lists) for n in (value if isinstance(value, list) else [value])
    ]
    return max((number for number in numbers if type(number) is int), default=1)
