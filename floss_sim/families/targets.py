"""Family lookup, and resolution of LoRA targets to roles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from floss_sim.errors import LayoutError
from floss_sim.families.family import Config, Family
from floss_sim.families.known import FAMILIES

ALL = "all"


def family_of(config: Config) -> Family:
    """Return the family of a backbone's ``config.json``.

    Raises:
        LayoutError: Its ``model_type`` is not a key of ``FAMILIES``.
    """
    name = str(config.get("model_type"))
    if name not in FAMILIES:
        raise LayoutError(
            f"backbone family {config.get('model_type')!r} is not supported; "
            f"valid: {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def resolve_targets(family: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the roles that LoRA targets select, without duplicates, in the family's order.

    Args:
        family: A key of ``FAMILIES``.
        names: Roles, ``"all"``, or module names of the installed or an older version of the
            model library. Leading parts of a module's name may be omitted: ``c_proj`` selects
            ``o`` and ``mlp_out``, ``attn.c_proj`` only ``o``.

    Raises:
        LayoutError: The list is empty, or a name is unknown or given twice.
    """
    roles = family_of({"model_type": family}).roles
    if not names or len(set(names)) != len(names):
        raise LayoutError(f"LoRA targets {list(names)} must be one or more different names")
    chosen = set(chain.from_iterable(_roles_of(family, name) for name in names))
    return tuple(role for role in roles if role in chosen)


def _roles_of(family: str, name: str) -> Iterable[str]:
    roles = FAMILIES[family].roles
    if name in roles:
        return [name]
    spelled = [
        role
        for role, part in roles.items()
        if any(f".{module}".endswith(f".{name}") for module in part.modules)
    ]
    if name != ALL and not spelled:
        raw = chain.from_iterable(part.modules for part in roles.values())
        raise LayoutError(
            f"unknown LoRA target {name!r} of family {family!r}; "
            f"valid: {', '.join((ALL, *roles))}, or modules {', '.join(raw)}"
        )
    return spelled or roles
