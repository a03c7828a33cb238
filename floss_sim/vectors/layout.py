"""Layout of the flat vector: which trained tensor each entry belongs to.

A layout lists the trained tensors sorted by canonical name, not in the order of any file. Client
and server therefore agree on every index without sending names. A layout is built from a
backbone's ``config.json`` alone; no training framework is needed. Canonical names use *roles*
(``q``, ``mlp_in``, ...) that do not change when the model library renames its modules.

======  ==========================================  ==============================
trains  entries of the vector                       seeded, frozen, never sent
======  ==========================================  ==============================
lora    A and B of every target, head; with DoRA
        its magnitude
ffa     B of every target, head                     A, initialised as for ``lora``
square  R of every target, head; the update is      B and A, orthonormal
        B R A
heads   as ``square``, R in diagonal blocks, one    as ``square``
        a head
merged  as ``lora``; adapted weights, which
        the server changes and no client trains
bitfit  every bias of the backbone, head
full    every parameter of the backbone, head
head    head
======  ==========================================  ==============================

Clients of ``heads`` also train a factor for each head. It starts at one in every local training and
is multiplied into the head's block before the upload, so that it is never sent. One more layout,
``seeds``, has no tensor of a model: :func:`seed_layout`.

The entries are offsets from a *base*; offsets are ranked, masked and sent. The base is the
pretrained value for tensors of kind ``bias``, ``weight`` and ``adapted_weight``, the norms of the
pretrained weight's rows for DoRA's magnitude, one for the scale of a norm in a new head, and zero
for all others, so client and server build the base without traffic. It needs the backbone's weights
and is therefore stored in the model (``floss_sim.training.models.flat_model.FlatModel.base``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
BASIS_A, BASIS_B = "basis_A", "basis_B"  # frozen and orthonormal; named as LoRA's A and B
SQUARE, SQUARE_SCALE = "lora_square", "lora_scale"
SEEDS = "seeds"  # a layout, and its only tensor: a scalar for each of K seeded directions
HEAD_SCALE, MAGNITUDE = "head_scale", "lora_magnitude"
HEAD_KINDS = (HEAD_WEIGHT, HEAD_BIAS, HEAD_SCALE)
BIAS, WEIGHT = "bias", "weight"
ADAPTED_WEIGHT = "adapted_weight"  # of layout ``merged``: frozen on clients
MERGED = "merged"
# kinds whose base is that of the pretrained backbone
PRETRAINED_KINDS = (BIAS, WEIGHT, ADAPTED_WEIGHT, MAGNITUDE)
LAYOUTS = ("lora", "ffa", "square", "heads", MERGED, "bitfit", "full", "head")
SQUARE_LAYOUTS = ("square", "heads")
# layouts with adapters; only these have a rank
ADAPTER_LAYOUTS = ("lora", "ffa", *SQUARE_LAYOUTS, MERGED)
MATRIX_KINDS = (LORA_A, LORA_B, BASIS_A, BASIS_B)  # kinds of the two matrices of an adapter
_BASES = {LORA_A: BASIS_A, LORA_B: BASIS_B}
_LAYER_NUMBER = re.compile(r"(?:^|\.)(\d+)(?:\.|$)")
HEAD_INIT_STD = 0.02  # standard deviation: initializer_range of the supported families


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
        """Number of rows: the rank for adapters, the classes for the head's weight, else 1."""
        if self.kind == LORA_B:
            return self.shape[1]
        return self.shape[0] if self.kind in (LORA_A, HEAD_WEIGHT) else 1


@dataclass(frozen=True)
class Layout:
    """Trained tensors, sorted by name and concatenated to one vector of ``entries`` entries.

    Args:
        tensors: Tensors that are trained and sent.
        frozen: Tensors that are never trained or sent; client and server draw them from the run's
            seed (:func:`initial_values`).
        local: Tensors that clients train besides and never send. They start at one in each local
            training and are multiplied into the update.

    Raises:
        LayoutError: The names are not sorted and unique.
    """

    tensors: tuple[TensorSpec, ...]
    frozen: tuple[TensorSpec, ...] = ()
    local: tuple[TensorSpec, ...] = ()

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
        """Slice of the flat vector that each tensor occupies, by name."""
        ends = accumulate(tensor.size for tensor in self.tensors)
        return {t.name: slice(end - t.size, end) for t, end in zip(self.tensors, ends, strict=True)}

    @cached_property
    def local_slices(self) -> Mapping[str, slice]:
        """Slice of each local tensor, by name; local tensors follow the flat vector."""
        ends = accumulate((tensor.size for tensor in self.local), initial=self.entries)
        return {t.name: slice(end, end + t.size) for t, end in zip(self.local, ends, strict=False)}

    @property
    def local_entries(self) -> int:
        """Number of entries of the local tensors."""
        return sum(tensor.size for tensor in self.local)

    @cached_property
    def digest(self) -> bytes:
        """Hash of the layout: the eight bytes that identify it in every message header."""
        text = json.dumps([[t.name, t.shape, t.kind] for t in self.tensors])
        return hashlib.sha256(text.encode()).digest()[:8]

    @cached_property
    def has_frozen_layers(self) -> bool:
        """Whether the first layers hold no trained entry, and nothing before them does.

        The layer of a tensor is the first number in its name. Heads come after all layers; of any
        other tensor without a number nothing is known, and the answer is no.
        """
        inside = [tensor for tensor in self.tensors if tensor.kind not in HEAD_KINDS]
        numbers = [layer_number(tensor) for tensor in inside]
        return all(number is not None and number > 0 for number in numbers)

    @cached_property
    def tensor_sizes(self) -> NDArray[np.int64]:
        """Number of entries of each tensor, int64 of shape (tensors,)."""
        return np.array([tensor.size for tensor in self.tensors], dtype=np.int64)

    @cached_property
    def row_sizes(self) -> NDArray[np.int64]:
        """Number of entries of each row, tensor by tensor, int64 of shape (rows,).

        An adapter tensor has one row per rank, the head's weight one row per class. Any other
        tensor is a single row.
        """
        sizes = [[t.size // t.rows] * t.rows for t in self.tensors]
        return np.array([size for rows in sizes for size in rows], dtype=np.int64)

    @cached_property
    def row_order(self) -> NDArray[np.int64] | None:
        """Indices of the entries, row by row; None if the vector is already in row order."""
        if not any(tensor.kind == LORA_B for tensor in self.tensors):
            return None
        order_N = np.arange(self.entries)
        for tensor in self.tensors:
            if tensor.kind == LORA_B:  # shape (out, rank): each rank is a column
                part = self.slices[tensor.name]
                order_N[part] = order_N[part].reshape(tensor.shape).T.ravel()
        return order_N

    def initial_vector(self, seed: int) -> Vector:
        """Return the initial global vector of offsets, float32 of shape (entries,)."""
        return np.concatenate([initial_values(tensor, seed) for tensor in self.tensors])


def layer_number(tensor: TensorSpec) -> int | None:
    """Return the layer of a tensor, the first number in its name; None of a head and of others."""
    found = None if tensor.kind in HEAD_KINDS else _LAYER_NUMBER.search(tensor.name)
    return None if found is None else int(found[1])


def initial_values(tensor: TensorSpec, seed: int, *names: str | int) -> Vector:
    """Return the initial offsets of a tensor, float32 of shape (size,), from its named stream.

    As in PEFT, A is uniform in ±1/sqrt(fan_in) and B is zero. The rows of a frozen A and the
    columns of a frozen B are orthonormal: the Q of a normal matrix. As in a new classifier of the
    model library, the head's weight is normal with standard deviation 0.02 and its bias is zero.
    Pretrained tensors start at their base: their offsets are zero.

    Args:
        tensor: The tensor.
        seed: Seed of the run.
        names: Names before those of the stream, for an adapter that starts anew.
    """
    draw = stream(seed, *names, "initial", tensor.name)
    if tensor.kind == LORA_A:
        bound = 1 / np.sqrt(tensor.shape[1])
        return draw.uniform(-bound, bound, tensor.size).astype(np.float32)
    if tensor.kind == HEAD_WEIGHT:
        return draw.normal(0, HEAD_INIT_STD, tensor.size).astype(np.float32)
    if tensor.kind in _BASES.values():
        return _orthonormal(draw, tensor)
    return np.zeros(tensor.size, dtype=np.float32)


def seed_layout(seeds: int) -> Layout:
    """Return the layout of the scalars along seeded directions of the whole model."""
    return Layout((TensorSpec(SEEDS, (seeds,), SEEDS),))


def _orthonormal(draw: np.random.Generator, tensor: TensorSpec) -> Vector:
    """Return a matrix with orthonormal rows (A) or columns (B), float32 of shape (size,).

    The diagonal of R of the QR decomposition is made positive, so that Q is unique.
    """
    rank, width = sorted(tensor.shape)
    q, r = np.linalg.qr(draw.normal(size=(width, rank)))
    unique = (q * np.sign(np.diag(r))).astype(np.float32)
    return np.ravel(unique.T if tensor.kind == BASIS_A else unique)


def build_layout(
    backbone: Config,
    *,
    trains: str,
    targets: Sequence[str],
    rank: int,
    labels: int,
    heads: int = 1,
) -> Layout:
    """Return the layout of a method's trained entries on a backbone.

    Args:
        backbone: The backbone's ``config.json``.
        trains: One of ``LAYOUTS``.
        targets: LoRA targets as for :func:`floss_sim.families.resolve_targets`; used only by
            layouts with adapters.
        rank: LoRA rank, used only by layouts with adapters: A has shape (rank, in) and B
            (out, rank).
        labels: Number of classes of the new head; 0 for next-token prediction, without a new head.
        heads: Number of diagonal blocks of R, used only by ``heads``.

    Raises:
        LayoutError: The layout, family or a target is unknown, a size is missing in the config,
            the rank is outside 1 .. min(out, in) of a target or no multiple of the heads,
            ``labels`` is 0 but the family does not predict tokens, or the layout has nothing to
            train.
    """
    if trains not in LAYOUTS:
        raise LayoutError(f"unknown layout {trains!r}; valid: {', '.join(LAYOUTS)}")
    family = family_of(backbone)
    if labels == 0 and NEXT_TOKEN not in family.kinds:
        raise LayoutError(f"a {backbone['model_type']} backbone does not predict next tokens")
    specs = [*_head_specs(family, backbone, labels)]
    if trains in ADAPTER_LAYOUTS:
        roles = resolve_targets(str(backbone["model_type"]), targets)
        specs += _adapter_specs(family, backbone, roles, rank)
    elif trains in ("bitfit", "full"):
        kinds = (BIAS,) if trains == "bitfit" else PRETRAINED_KINDS
        specs += [
            spec for spec in _pretrained_specs(family, backbone, labels) if spec.kind in kinds
        ]
    if not specs:
        lacks = "no new head" if trains == "head" else f"no bias in {backbone['model_type']}"
        raise LayoutError(f"layout {trains!r} leaves nothing to train: there is {lacks}")
    return layout_of_specs(specs, trains, heads)


def layout_of_specs(specs: Iterable[TensorSpec], trains: str, heads: int = 1) -> Layout:
    """Return a layout of LoRA's A and B, of which some are frozen, and of all other tensors.

    Args:
        specs: The tensors of layout ``lora``, or of one without adapters.
        trains: One of ``LAYOUTS``.
        heads: Number of diagonal blocks of R, used only by ``heads``.

    Raises:
        LayoutError: The rank is no multiple of the heads.
    """
    every = sort_by_name(specs)
    fixed = {"ffa": (LORA_A,), "square": (LORA_A, LORA_B), "heads": (LORA_A, LORA_B)}
    frozen = [spec for spec in every if spec.kind in fixed.get(trains, ())]
    trained = [spec for spec in every if spec not in frozen]
    if trains == MERGED:
        trained += _adapted_weights(every)
    if trains not in SQUARE_LAYOUTS:
        return Layout(sort_by_name(trained), tuple(frozen))
    blocks = heads if trains == "heads" else 1
    squares = [_square(spec, blocks) for spec in frozen if spec.kind == LORA_A]
    factors = [
        TensorSpec(f"{_module(spec)}.{SQUARE_SCALE}", (blocks,), SQUARE_SCALE) for spec in squares
    ]
    bases = (TensorSpec(spec.name, spec.shape, _BASES[spec.kind]) for spec in frozen)
    return Layout(
        sort_by_name((*trained, *squares)),
        tuple(bases),
        tuple(factors) if trains == "heads" else (),
    )


def _adapted_weights(specs: Sequence[TensorSpec]) -> Iterator[TensorSpec]:
    """Yield the weight (out, in) of each adapter; (out, all other sides) of a convolution."""
    outputs = {_module(spec): spec.shape[0] for spec in specs if spec.kind == LORA_B}
    for spec in specs:
        if spec.kind == LORA_A:
            module = _module(spec)
            shape = outputs[module], spec.shape[1]
            yield TensorSpec(f"{module}.weight", shape, ADAPTED_WEIGHT)


def _square(a: TensorSpec, heads: int) -> TensorSpec:
    """Return R of an adapter: a square block for each head, shape (heads, rank, rank) of a head."""
    rank = head_rank(a.shape[0], heads)
    return TensorSpec(f"{_module(a)}.{SQUARE}", (heads, rank, rank), SQUARE)


def head_rank(rank: int, heads: int) -> int:
    """Return the rank of each of several heads that share an adapter's rank.

    Raises:
        LayoutError: The rank is no multiple of the heads.
    """
    if rank % heads:
        divisors = ", ".join(str(n) for n in range(1, rank + 1) if rank % n == 0)
        raise LayoutError(f"rank {rank} is no multiple of {heads} heads; valid heads: {divisors}")
    return rank // heads


def _module(tensor: TensorSpec) -> str:
    return tensor.name.rpartition(".")[0]


def sort_by_name(specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Return tensors in the order of a layout."""
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
