"""The layout: what every entry of the flat adapter vector means.

A layout lists the trained tensors in sorted order of canonical names (never the order of a file),
so that client and server agree on every index without sending names. It is built from a backbone's
``config.json`` alone; no framework is needed. Canonical names use *roles* (``q``, ``mlp_in``, ...)
that do not change when a model library renames its modules.

======  ==========================================  ==============================
trains  entries of the vector                       seeded, frozen, never sent
======  ==========================================  ==============================
lora    A and B of every target, head
ffa     B of every target, head                     A, as ``lora`` begins with it
bitfit  every bias of the backbone, head
full    every parameter of the backbone, head
head    head
======  ==========================================  ==============================

What is ranked, masked and sent are offsets from a *base*, which both ends can build without
traffic: the pretrained values of the kinds ``bias`` and ``weight``, zero for all others. It needs
the weights, so the model holds it (``floss_sim.training.models.flat_model.FlatModel.base``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import LayoutError
from floss_sim.families import NEXT_TOKEN, Config, Family, family_of, resolve_targets
from floss_sim.rng import stream
from floss_sim.vectors.top_k import Vector

LORA_A, LORA_B, HEAD_WEIGHT, HEAD_BIAS = "lora_A", "lora_B", "head_weight", "head_bias"
BIAS, WEIGHT = "bias", "weight"
PRETRAINED_KINDS = (BIAS, WEIGHT)  # kinds whose offsets are from the backbone's own values
LAYOUTS = ("lora", "ffa", "bitfit", "full", "head")
ADAPTER_LAYOUTS = ("lora", "ffa")  # those with adapters, whose rank matters
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

    @property
    def rows(self) -> int:
        """Ranks of an adapter's tensor, classes of the head, 1 of any other tensor."""
        if self.kind == LORA_B:
            return self.shape[1]
        return self.shape[0] if self.kind in (LORA_A, HEAD_WEIGHT) else 1


@dataclass(frozen=True)
class Layout:
    """Tensors in sorted order of their names, laid end to end in one vector of ``entries``.

    Args:
        tensors: What trains and travels.
        frozen: What both ends draw from the run's seed (:func:`initial_values`) and keep.

    Raises:
        LayoutError: Names are not sorted and unique.
    """

    tensors: tuple[TensorSpec, ...]
    frozen: tuple[TensorSpec, ...] = ()

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in self.tensors]
        if names != sorted(set(names)):
            raise LayoutError("the tensors of a layout must have unique names in sorted order")

    def __hash__(self) -> int:
        return hash(self.digest)

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

    @cached_property
    def tensor_sizes(self) -> NDArray[np.int64]:
        """Number of entries of each tensor."""
        return np.array([tensor.size for tensor in self.tensors], dtype=np.int64)

    @cached_property
    def row_sizes(self) -> NDArray[np.int64]:
        """Number of entries of each row, tensor after tensor.

        An adapter's tensor has a row for each rank, the head one for each class; of another
        tensor all is one row.
        """
        sizes = [[t.size // t.rows] * t.rows for t in self.tensors]
        return np.array([size for rows in sizes for size in rows], dtype=np.int64)

    @cached_property
    def row_order(self) -> NDArray[np.int64] | None:
        """The entries, row after row; None where that is the order of the vector."""
        if not any(tensor.kind == LORA_B for tensor in self.tensors):
            return None
        order_N = np.arange(self.entries)
        for tensor in self.tensors:
            if tensor.kind == LORA_B:  # (out, rank): a rank is a column
                part = self.slices[tensor.name]
                order_N[part] = order_N[part].reshape(tensor.shape).T.ravel()
        return order_N

    def initial_vector(self, seed: int) -> Vector:
        """Return the first global vector of offsets, float32 of shape (entries,)."""
        return np.concatenate([initial_values(tensor, seed) for tensor in self.tensors])


def initial_values(tensor: TensorSpec, seed: int) -> Vector:
    """Return the first offsets of a tensor, float32 and flat, from its own named stream.

    A is uniform in ±1/sqrt(fan_in) and B is zero, as PEFT initialises them; the head's weight is
    normal with deviation 0.02 and its bias zero, as a new classifier of the model library.
    Pretrained tensors begin at their base.
    """
    draw = stream(seed, "initial", tensor.name)
    if tensor.kind == LORA_A:
        bound = 1 / np.sqrt(tensor.shape[1])
        return draw.uniform(-bound, bound, tensor.size).astype(np.float32)
    if tensor.kind == HEAD_WEIGHT:
        return draw.normal(0, HEAD_INIT_STD, tensor.size).astype(np.float32)
    return np.zeros(tensor.size, dtype=np.float32)


def build_layout(
    backbone: Config, *, trains: str, targets: Sequence[str], rank: int, labels: int
) -> Layout:
    """Return the layout of a method's trained entries on a backbone.

    Args:
        backbone: The backbone's ``config.json``.
        trains: One of ``LAYOUTS``.
        targets: What gets an adapter, as :func:`floss_sim.families.resolve_targets` reads it;
            only for ``lora`` and ``ffa``.
        rank: The LoRA rank, for the same: A has shape (rank, in) and B (out, rank).
        labels: Number of classes of the new head; 0 for next-token prediction without one.

    Raises:
        LayoutError: Unknown family or target, a config without the sizes, a rank outside 1 .. the
            layer's width, a family that does not predict tokens, or nothing to train.
    """
    if trains not in LAYOUTS:
        raise LayoutError(f"unknown layout {trains!r}; valid: {', '.join(LAYOUTS)}")
    family = family_of(backbone)
    if labels == 0 and NEXT_TOKEN not in family.kinds:
        raise LayoutError(f"a {backbone['model_type']} backbone does not predict next tokens")
    specs = [*_head_specs(family, backbone, labels)]
    frozen: list[TensorSpec] = []
    if trains in ("lora", "ffa"):
        roles = resolve_targets(str(backbone["model_type"]), targets)
        for spec in _adapter_specs(family, backbone, roles, rank):
            (frozen if trains == "ffa" and spec.kind == LORA_A else specs).append(spec)
    elif trains in ("bitfit", "full"):
        kinds = (BIAS,) if trains == "bitfit" else PRETRAINED_KINDS
        specs += [
            spec for spec in _pretrained_specs(family, backbone, labels) if spec.kind in kinds
        ]
    if not specs:
        lacks = "no new head" if trains == "head" else f"no bias in {backbone['model_type']}"
        raise LayoutError(f"layout {trains!r} leaves nothing to train: there is {lacks}")
    return Layout(_sort_by_name(specs), _sort_by_name(frozen))


def _sort_by_name(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    return tuple(sorted(specs, key=lambda spec: spec.name))


def _head_specs(family: Family, backbone: Config, labels: int) -> Iterator[TensorSpec]:
    if labels:
        width = family.sizes["width"](backbone)
        yield TensorSpec("head.weight", (labels, width), HEAD_WEIGHT)
        if family.head_bias:
            yield TensorSpec("head.bias", (labels,), HEAD_BIAS)


def _adapter_specs(
    family: Family, backbone: Config, roles: Sequence[str], rank: int
) -> Iterator[TensorSpec]:
    for role in roles:
        fan_out, fan_in = family.shape(backbone, family.roles[role].shape)
        if not 1 <= rank <= min(fan_out, fan_in):
            raise LayoutError(
                f"rank {rank} does not fit role {role!r} of shape {fan_out} x {fan_in}; "
                f"valid: 1 to {min(fan_out, fan_in)}"
            )
        for layer in range(family.depth(backbone)):
            name = f"layer.{layer:03d}.{role}"
            yield TensorSpec(f"{name}.lora_A", (rank, fan_in), LORA_A)
            yield TensorSpec(f"{name}.lora_B", (fan_out, rank), LORA_B)


def _pretrained_specs(family: Family, backbone: Config, labels: int) -> Iterator[TensorSpec]:
    for name, shape in family.parameters(backbone, labels).items():
        yield TensorSpec(name, shape, BIAS if name.endswith(".bias") else WEIGHT)
