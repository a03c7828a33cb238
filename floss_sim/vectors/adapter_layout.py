"""Layouts of adapters in PEFT's settings, on any model of the model library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from floss_sim.errors import LayoutError
from floss_sim.families import FAMILIES, Config, resolve_targets
from floss_sim.families.adapter_settings import ALL_LINEAR, REGEX, AdapterSettings
from floss_sim.families.canonical_names import canonical_module, canonical_parameter
from floss_sim.families.experts import expert_parameters
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_model import model_of_config, model_of_table, sized_table
from floss_sim.families.trained_tensors import LORA_SQUARE, WHOLE, TrainedModel, TrainedTensor
from floss_sim.vectors.layout import (
    ADAPTER_LAYOUTS,
    BIAS,
    HEAD_BIAS,
    HEAD_SCALE,
    HEAD_WEIGHT,
    LAYOUTS,
    LORA_A,
    LORA_B,
    MERGED,
    SEEDS,
    WEIGHT,
    Layout,
    TensorSpec,
    build_layout,
    head_rank,
    layout_of_specs,
    sort_by_name,
)

_MATRICES = (LORA_A, LORA_B)


def adapter_layout(model: TrainedModel) -> Layout:
    """Return the layout of the tensors of a model that train.

    Adapters of convolutions, which PEFT stores with four sides, have two sides here: the rank and
    all others.
    """
    return Layout(sort_by_name(tensor_specs(model)))


def tensor_specs(model: TrainedModel) -> Iterator[TensorSpec]:
    """Yield the tensors of a model that train, as a layout lists them."""
    for tensor in model.tensors:
        yield _spec(model, tensor)


def canonical_tensor(model_type: str, tensor: TrainedTensor) -> str:
    """Return the canonical name of a tensor that trains."""
    if tensor.part == WHOLE:
        return canonical_parameter(model_type, tensor.module)
    return f"{canonical_module(model_type, tensor.module)}.{tensor.part}"


def _spec(model: TrainedModel, tensor: TrainedTensor) -> TensorSpec:
    name = canonical_tensor(model.model_type, tensor)
    if tensor.part != WHOLE:
        return TensorSpec(name, _shape(tensor), tensor.part)
    if any(tensor.module.startswith(f"{path}.") for path in model.head):
        alone = HEAD_SCALE if name.endswith(".weight") else HEAD_BIAS
        kind = HEAD_WEIGHT if len(tensor.shape) > 1 else alone
    else:
        kind = BIAS if name.endswith("bias") else WEIGHT
    return TensorSpec(name, tensor.shape, kind)


def _shape(tensor: TrainedTensor) -> tuple[int, ...]:
    if tensor.part == LORA_SQUARE:
        return tensor.shape
    return _flat(tensor) if tensor.part in _MATRICES else (tensor.entries,)


def _flat(tensor: TrainedTensor) -> tuple[int, int]:
    first, *rest = tensor.shape
    return first, prod(rest)


def adapter_targets(backbone: Config, targets: Sequence[str]) -> tuple[str, ...]:
    """Return LoRA targets as settings of adapters understand them.

    Args:
        backbone: The backbone's ``config.json``.
        targets: For a known family roles, module names of any version of the model library, or
            ``all``: they become roles. ``all-linear``, an expression, and the targets of other
            families stay as they are.

    Raises:
        LayoutError: A known family has no such target.
    """
    family = str(backbone.get("model_type"))
    free = any(name == ALL_LINEAR or name.startswith(REGEX) for name in targets)
    return tuple(targets) if free or family not in FAMILIES else resolve_targets(family, targets)


def layout_of(
    backbone: Config,
    kind: str,
    labels: int,
    *,
    trains: str,
    settings: AdapterSettings,
    heads: int = 1,
) -> Layout:
    """Return the layout of a method's trained entries on any backbone.

    The layouts of known families come from arithmetic on the config; all others, and those with
    DoRA, chosen layers or targets beyond roles, from the model's table.

    Args:
        backbone: The backbone's ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.
        labels: Number of classes of the new head; 0 for next-token prediction.
        trains: One of ``LAYOUTS``.
        settings: The adapters; used only by layouts with adapters.
        heads: Number of diagonal blocks of R, used only by ``heads``.

    Raises:
        LayoutError: As for :func:`floss_sim.vectors.layout.build_layout`, or the settings do not
            fit the model.
    """
    if is_plain(backbone, settings) or trains not in LAYOUTS:
        return build_layout(
            backbone,
            trains=trains,
            targets=settings.targets,
            rank=settings.rank,
            labels=labels,
            heads=heads,
        )
    table = sized_table(backbone, kind, labels)
    if trains not in ADAPTER_LAYOUTS:
        return _layout_without_adapters(table, trains)
    if settings.targets == (ALL_LINEAR,) and expert_parameters(table):
        model = model_of_config(backbone, kind, labels, settings)  # PEFT adapts experts besides
    else:
        model = model_of_table(table, labels, settings)
    return layout_of_specs(tensor_specs(model), trains, heads)


def trained_of_layout(
    tensors: Sequence[TrainedTensor], trains: str, heads: int = 1
) -> tuple[TrainedTensor, ...]:
    """Return which of the tensors of layout ``lora`` train in a layout with adapters.

    Args:
        tensors: The tensors of layout ``lora``.
        trains: One of ``ADAPTER_LAYOUTS``.
        heads: Number of diagonal blocks of R, used only by ``heads``.

    Raises:
        LayoutError: The rank of an adapter is no multiple of the heads.
    """
    if trains in ("lora", MERGED):
        return tuple(tensors)
    kept = tuple(tensor for tensor in tensors if tensor.part != LORA_A)
    if trains == "ffa":
        return kept
    blocks = heads if trains == "heads" else 1
    return tuple(_square(t, blocks) if t.part == LORA_B else t for t in kept)


def seed_tensor(seeds: int) -> TrainedTensor:
    """Return the scalars along seeded directions as a tensor that trains."""
    return TrainedTensor(SEEDS, SEEDS, (seeds,))


def _square(b: TrainedTensor, heads: int) -> TrainedTensor:
    rank = head_rank(b.shape[1], heads)
    return TrainedTensor(b.module, LORA_SQUARE, (heads, rank, rank))


def is_plain(backbone: Config, settings: AdapterSettings) -> bool:
    """Return whether adapters are those of a known family on some roles of every layer."""
    free = any(name == ALL_LINEAR or name.startswith(REGEX) for name in settings.targets)
    chosen = settings.layers is not None or settings.depth is not None
    known = str(backbone.get("model_type")) in FAMILIES
    return known and not (free or chosen or settings.dora)


def _layout_without_adapters(table: ModelTable, trains: str) -> Layout:
    """Return the layout of a head, of all biases or of all parameters."""
    head = {name for path in table.head for name in table.below(path)}
    tensors = tuple(
        TrainedTensor(name, WHOLE, shape)
        for name, shape in table.parameters.items()
        if trains == "full" or name in head or (trains == "bitfit" and name.endswith(".bias"))
    )
    if not tensors:
        lacks = "no new head" if trains == "head" else f"no bias in {table.model_type}"
        raise LayoutError(f"layout {trains!r} leaves nothing to train: there is {lacks}")
    return adapter_layout(TrainedModel(table.model_type, table.entries, table.head, tensors))
