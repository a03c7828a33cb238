"""Experts of a mixture: their parameters, and how many of them a token passes through.

The model library keeps the experts of a layer as parameters of three sides, (experts, ., .), or as
a list of modules. Only in the second form do they have modules that a target can name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod

from floss_sim.families.adapter_settings import ALL_LINEAR, AdapterSettings
from floss_sim.families.family import Config
from floss_sim.families.model_table import ModelTable, Shape
from floss_sim.families.path_patterns import end_pattern, matching_paths
from floss_sim.families.trained_tensors import TrainedModel

_EXPERT = re.compile(r"(?:.*\.)?experts\.(?:(\d+)\.)?.*")
_ACTIVE = re.compile(r"(?:num_)?experts_per_tok(?:en)?|moe_(?:top_?)?k|top_k_experts")


def expert_parameters(table: ModelTable) -> dict[str, Shape]:
    """Return the parameters of experts by name; empty if the model is no mixture of experts."""
    return {name: s for name, s in table.parameters.items() if _EXPERT.fullmatch(name)}


def patterned_parameters(table: ModelTable, settings: AdapterSettings) -> tuple[str, ...]:
    """Return the parameters of a mixture of experts that a pattern of ranks matches.

    With ``all-linear`` PEFT adapts experts and routers, which are no linear modules. Those of no
    pattern have PEFT's own rank, which is twice that of the settings for a gate and first matrix in
    one.

    Raises:
        LayoutError: A pattern cannot be matched in time.
    """
    if settings.targets != (ALL_LINEAR,) or not expert_parameters(table):
        return ()
    names = {one for name in table.parameters for one in (name, name.removesuffix(".weight"))}
    found = {
        name
        for pattern in settings.rank_pattern
        for name in matching_paths(end_pattern(pattern), names - set(table.modules))
    }
    return tuple(sorted(found))


def holds_all_experts(module: str) -> bool:
    """Return whether the adapter of a module is one of all experts of a layer, side by side.

    Their parameter has three sides. PEFT then stores A as (experts * rank, in) and B as
    (out, rank * experts): rows of A and columns of B are in different orders, and the product B A
    is that of no expert. Experts in a list of modules have adapters of their own.

    Args:
        module: Path or canonical name of the module.
    """
    parts = module.split(".")
    return "experts" in parts and not any(map(str.isdigit, parts[parts.index("experts") :]))


def entries_without_adapter(table: ModelTable, trained: TrainedModel) -> int:
    """Return the entries of the experts if nothing of them trains; 0 if something does."""
    if any("experts" in tensor.module.split(".") for tensor in trained.tensors):
        return 0
    return sum(map(prod, expert_parameters(table).values()))


def active_experts(config: Config) -> int:
    """Return the experts of a layer that a token passes through; 1 if the config does not say."""
    parts = (config, *(value for value in config.values() if isinstance(value, Mapping)))
    found = (value for part in parts for key, value in part.items() if _ACTIVE.fullmatch(str(key)))
    return max((number for number in found if type(number) is int), default=1)


def active_rows(parameters: Mapping[str, Shape], active: int) -> int:
    """Return the inputs and outputs of a token in the matrices of its experts, all layers together.

    Args:
        parameters: Parameters of experts, as :func:`expert_parameters` returns them.
        active: Experts of a layer that a token passes through.
    """
    stacked = sum(active * (a + b) for _, a, b in _of_sides(parameters.values(), 3))
    listed = [(name, sides) for name, sides in parameters.items() if _number(name) is not None]
    number = 1 + max((_number(name) or 0 for name, _ in listed), default=0)
    alone = sum(a + b for a, b in _of_sides((sides for _, sides in listed), 2))
    return stacked + alone * min(active, number) // number


def active_products(parameters: Mapping[str, Shape], active: int) -> int:
    """Return the entries of experts' matrices that a token is multiplied by.

    Counted are parameters that hold all experts of a layer; listed experts are modules.

    Args:
        parameters: Parameters of experts, as :func:`expert_parameters` returns them.
        active: Experts of a layer that a token passes through.
    """
    return sum(min(active, n) * a * b for n, a, b in _of_sides(parameters.values(), 3))


def _of_sides(shapes: Iterable[Shape], sides: int) -> Iterable[Shape]:
    return (shape for shape in shapes if len(shape) == sides)


def _number(name: str) -> int | None:
    """Return the number of the expert in a name; None where a parameter holds all experts."""
    found = _EXPERT.fullmatch(name)
    return int(found[1]) if found and found[1] else None
