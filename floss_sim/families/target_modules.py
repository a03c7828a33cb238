"""Target modules: the modules of a model that get an adapter, by roles, names or an expression."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import ALL, ALL_LINEAR, REGEX, AdapterSettings
from floss_sim.families.model_table import CONV1D, LINEAR, ModelTable
from floss_sim.families.module_roles import ROLES, layer_of, role_of, stack_of
from floss_sim.families.path_patterns import end_pattern, matching_paths
from floss_sim.toml_json import shorten

_SHOWN = 12  # names or layers in an error message, at most


def resolve_modules(table: ModelTable, settings: AdapterSettings) -> tuple[str, ...]:
    """Return the paths of the modules that get an adapter, in the order of the table.

    Args:
        table: The model.
        settings: Targets, layers, depth and patterns.

    Raises:
        LayoutError: A target or a pattern matches nothing, or nothing in the layers; the message
            lists what exists. A layer does not exist, the model has fewer layers than the depth, or
            a depth is given and the targets lie in several stacks of layers.
    """
    free = [path for path in table.modules if not _is_whole(table, settings, path)]
    found = _targeted(table, free, settings.targets)
    layers = _layers(table, settings, set(chain.from_iterable(found.values())))
    if layers is not None:
        found = {target: _in_layers(layers, target, paths) for target, paths in found.items()}
    chosen = set(chain.from_iterable(found.values()))
    paths = tuple(path for path in free if path in chosen)
    _check_patterns(table, settings, paths)
    return paths


def stack_layers(table: ModelTable, settings: AdapterSettings) -> int:
    """Return the number of layers of the stack in which the targets lie.

    Args:
        table: The model.
        settings: The targets; layers and depth are not used.

    Raises:
        LayoutError: A target matches nothing, or the targets lie in no stack or in several.
    """
    free = [path for path in table.modules if not _is_whole(table, settings, path)]
    found = _targeted(table, free, settings.targets)
    return _stack_layers(table, set(chain.from_iterable(found.values())))


def _in_layers(layers: set[int], target: str, paths: Sequence[str]) -> list[str]:
    """Return the modules of a target that lie in some layers, or that it names by the whole path.

    PEFT adapts a module that is named by its whole path whatever ``layers_to_transform`` says.

    Raises:
        LayoutError: No module does.
    """
    found = [path for path in paths if layer_of(path) in layers or path == target]
    if not found:
        valid = sorted({layer for path in paths if (layer := layer_of(path)) is not None})
        where = f"layers {_shown(valid)}" if valid else f"its whole path, such as {paths[0]}"
        raise LayoutError(
            f"LoRA target {target!r} matches no module in layers {_shown(sorted(layers))}; "
            f"valid: {where}"
        )
    return found


def _is_whole(table: ModelTable, settings: AdapterSettings, path: str) -> bool:
    """Return whether a module trains whole, so that PEFT gives it no adapter."""
    whole = (*table.head, *settings.modules_to_save)
    return any(re.match(rf"(^|.*\.){re.escape(name)}($|\..*)", path) for name in whole)


def _targeted(
    table: ModelTable, paths: Sequence[str], targets: Sequence[str]
) -> dict[str, list[str]]:
    """Return the modules of each target."""
    first = targets[0]
    if first == ALL_LINEAR:
        kinds = (LINEAR, CONV1D)
        linear = [p for p in paths if table.modules[p] in kinds and p != table.output]
        if not linear:
            raise LayoutError(f"a {table.model_type} model has no linear module for an adapter")
        return {first: linear}
    if first.startswith(REGEX):
        found = matching_paths(first.removeprefix(REGEX), paths)
        if not found:
            raise _no_match(table, paths, first)
        return {first: found}
    by_role = _by_role(paths)
    if first == ALL and by_role:
        return {first: list(chain.from_iterable(by_role.values()))}
    return {target: _named(table, paths, by_role, target) for target in targets}


def _by_role(paths: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the modules of the layers by their role."""
    found: dict[str, list[str]] = {}
    for path in paths:
        role = role_of(path)
        if role and layer_of(path) is not None:
            found.setdefault(role, []).append(path)
    return found


def _named(
    table: ModelTable, paths: Sequence[str], by_role: Mapping[str, list[str]], target: str
) -> list[str]:
    if target in by_role:
        return by_role[target]
    found = [path for path in paths if path == target or path.endswith(f".{target}")]
    if not found:
        raise _no_match(table, paths, target)
    return found


def _no_match(table: ModelTable, paths: Sequence[str], target: str) -> LayoutError:
    roles = ", ".join(role for role in ROLES if role in _by_role(paths))
    in_layers = [path for path in paths if layer_of(path) is not None]
    return LayoutError(
        f"LoRA target {target!r} matches no module of a {table.model_type} model; "
        f"valid: {ALL}, {ALL_LINEAR}, roles {roles or '(none)'}, modules {_last_names(in_layers)}"
    )


def _last_names(paths: Iterable[str]) -> str:
    """Return the different last parts of paths, the first ones if there are many."""
    return _shown(list(dict.fromkeys(path.rpartition(".")[2] for path in paths)))


def _shown(values: Sequence[object]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return f"{', '.join(map(str, values[:_SHOWN]))}{more}"


def _check_patterns(table: ModelTable, settings: AdapterSettings, paths: Sequence[str]) -> None:
    """Raise LayoutError if a pattern of ranks or alphas matches no module that gets an adapter."""
    in_all = settings.targets == (ALL_LINEAR,)
    experts = [name for name in table.parameters if in_all and ".experts." in name]
    for what, patterns in (("rank", settings.rank_pattern), ("alpha", settings.alpha_pattern)):
        for pattern in patterns:
            if not matching_paths(end_pattern(pattern), (*paths, *experts)):
                raise LayoutError(
                    f"{what} pattern {pattern!r} matches no module of a {table.model_type} model "
                    f"that gets an adapter; valid: ends of paths such as {paths[0]}, modules "
                    f"{_last_names(paths)}"
                )


def _layers(table: ModelTable, settings: AdapterSettings, chosen: Iterable[str]) -> set[int] | None:
    """Return the numbers of the layers that may get adapters; None: all modules may."""
    if settings.depth is not None:
        return _last_layers(table, settings.depth, chosen)
    if settings.layers is None:
        return None
    depth = _depth(path for path in table.modules)
    missing = sorted(set(settings.layers) - set(range(depth)))
    if missing:
        raise LayoutError(f"layer {shorten(missing[0])} does not exist; valid: 0 to {depth - 1}")
    return set(settings.layers)


def _last_layers(table: ModelTable, depth: int, chosen: Iterable[str]) -> set[int]:
    """Return the numbers of the last layers of the stack in which the targets lie."""
    layers = _stack_layers(table, chosen)
    if depth > layers:
        raise LayoutError(f"depth {shorten(depth)} is more than the model's {layers} layers")
    return set(range(layers - depth, layers))


def _stack_layers(table: ModelTable, chosen: Iterable[str]) -> int:
    """Return the number of layers of the only stack in which some modules lie."""
    in_layers = {path: stack for path in chosen if (stack := stack_of(path)) is not None}
    stacks = sorted(set(in_layers.values()))
    if not stacks:
        raise LayoutError("a depth needs targets in layers; no target lies in a layer of the model")
    if len(stacks) > 1:
        sizes = [f"{s} ({_depth(p for p in table.modules if stack_of(p) == s)})" for s in stacks]
        last = min(path for path, stack in in_layers.items() if stack == stacks[-1])
        raise LayoutError(
            f"a depth needs targets in one stack of layers; these lie in {' and '.join(sizes)}. "
            "Choose a stack by an expression, such as "
            f"{REGEX}{re.escape(stacks[-1])}.*{re.escape(last.rpartition('.')[2])}"
        )
    return _depth(path for path in table.modules if stack_of(path) in stacks)


def _depth(paths: Iterable[str]) -> int:
    """Return the number of layers that paths go through, gaps included."""
    numbers = (layer_of(path) for path in paths)
    return 1 + max((number for number in numbers if number is not None), default=-1)
