"""Roles of modules in any family, by what the modules are called, and the targets they resolve.

=============  =====================================================================
role           module
=============  =====================================================================
q, k, v        projections to queries, keys and values
qkv            the three in one matrix
o              projection of the attended values
mlp_gate       gate of a gated MLP
mlp_in         first matrix of an MLP
mlp_gate_in    gate and first matrix in one
mlp_out        last matrix of an MLP
=============  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import (
    ALL,
    ALL_LINEAR,
    REGEX,
    AdapterSettings,
    compile_pattern,
)
from floss_sim.families.model_table import CONV1D, LINEAR, ModelTable

_NAMES = {  # ends of module paths, by role; the first role that matches counts
    "qkv": "c_attn|qkv_proj|Wqkv|query_key_value|qkv|in_proj",
    "q": "q_proj|query|q_lin|query_proj|q",
    "k": "k_proj|key|k_lin|key_proj|k",
    "v": "v_proj|value|v_lin|value_proj|v",
    "o": (
        r"o_proj|out_proj|out_lin|(?:attn|attention|self_attn|self_attention)\.(?:output\.dense|"
        r"c_proj|Wo|dense|o)"
    ),
    "mlp_gate": "gate_proj",
    "mlp_gate_in": r"gate_up_proj|mlp\.Wi",
    "mlp_in": r"up_proj|fc1|intermediate\.dense|c_fc|lin1|dense_h_to_4h|pwconv1|ffn",
    "mlp_out": r"down_proj|fc2|output\.dense|mlp\.c_proj|mlp\.Wo|lin2|dense_4h_to_h|pwconv2|"
    "ffn_output",
}
_ROLES = {role: re.compile(rf"(?:.*\.)?(?:{names})") for role, names in _NAMES.items()}
_LAYER = re.compile(r"(?:^|.*?\.)[^.]*\.(\d+)\.")  # the first number in a path is its layer's
_SHOWN = 12  # module names in an error message, at most


def role_of(path: str) -> str | None:
    """Return the role of a module by its path; None if it has none of the table's names."""
    return next((role for role, names in _ROLES.items() if names.fullmatch(path)), None)


def layer_of(path: str) -> int | None:
    """Return the number of the layer that a path goes through; None outside all layers."""
    found = _LAYER.match(path)
    return int(found[1]) if found else None


def resolve_modules(table: ModelTable, settings: AdapterSettings) -> tuple[str, ...]:
    """Return the paths of the modules that get an adapter, in the order of the table.

    Args:
        table: The model.
        settings: Targets, layers and depth.

    Raises:
        LayoutError: A target matches nothing; the message lists what exists. A layer does not
            exist, or the model has fewer layers than the depth.
    """
    free = [path for path in table.modules if not _is_whole(table, settings, path)]
    chosen = set(_targeted(table, free, settings.targets))
    layers = _layers(table, settings)
    if layers is None:
        return tuple(path for path in free if path in chosen)
    kept = tuple(path for path in free if path in chosen and layer_of(path) in layers)
    if not kept:
        raise LayoutError(f"no target lies in layers {sorted(layers)} of the model")
    return kept


def _is_whole(table: ModelTable, settings: AdapterSettings, path: str) -> bool:
    """Return whether a module trains whole, so that PEFT gives it no adapter."""
    whole = (*table.head, *settings.modules_to_save)
    return any(re.match(rf"(^|.*\.){re.escape(name)}($|\..*)", path) for name in whole)


def _targeted(table: ModelTable, paths: Sequence[str], targets: Sequence[str]) -> Iterable[str]:
    if targets == (ALL_LINEAR,):
        kinds = (LINEAR, CONV1D)
        return [p for p in paths if table.modules[p] in kinds and p != table.output]
    if targets[0].startswith(REGEX):
        expression = compile_pattern(targets[0].removeprefix(REGEX))
        found = [path for path in paths if expression.fullmatch(path)]
        if not found:
            raise _no_match(table, paths, targets[0])
        return found
    by_role = _by_role(paths)
    if targets == (ALL,) and by_role:
        return chain.from_iterable(by_role.values())
    return [path for target in targets for path in _named(table, paths, by_role, target)]


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
    roles = ", ".join(role for role in _ROLES if role in _by_role(paths))
    names = list(
        dict.fromkeys(path.rpartition(".")[2] for path in paths if layer_of(path) is not None)
    )
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return LayoutError(
        f"LoRA target {target!r} matches no module of a {table.model_type} model; "
        f"valid: {ALL}, {ALL_LINEAR}, roles {roles or '(none)'}, "
        f"modules {', '.join(names[:_SHOWN])}{more}"
    )


def _layers(table: ModelTable, settings: AdapterSettings) -> set[int] | None:
    """Return the numbers of the layers that may get adapters; None: all modules may."""
    if settings.layers is None and settings.depth is None:
        return None
    numbers = {layer_of(path) for path in table.modules} - {None}
    depth = 1 + max((number for number in numbers if number is not None), default=-1)
    if settings.depth is not None:
        if settings.depth > depth:
            raise LayoutError(f"depth {settings.depth} is more than the model's {depth} layers")
        return set(range(depth - settings.depth, depth))
    wanted = set(settings.layers or ())
    missing = sorted(wanted - set(range(depth)))
    if missing:
        raise LayoutError(f"layer {missing[0]} does not exist; valid: 0 to {depth - 1}")
    return wanted
