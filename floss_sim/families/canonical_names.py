"""Canonical names of a model's tensors: the names that messages and stored runs rely on.

The families of :data:`floss_sim.families.FAMILIES` have names by role (``layer.003.q``), which stay
the same when the model library renames its modules. Other families keep the library's own paths,
with the numbers of layers written in three digits, so that layers sort in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from floss_sim.families.family import Family
from floss_sim.families.known import FAMILIES

_NUMBER = re.compile(r"(?<=\.)(\d+)(?=\.)")
_PARAMETER = re.compile(r"(?:.*\.)?(weight|bias)")


def canonical_module(model_type: str, path: str) -> str:
    """Return the canonical name of a module.

    Args:
        model_type: The model library's name of the family.
        path: The module's path in the model library.
    """
    family = FAMILIES.get(model_type)
    if family:
        if path == family.head:
            return "head"
        for name, pattern in _patterns(model_type):
            found = pattern.fullmatch(path)
            if found:
                return f"layer.{int(found[1]):03d}.{name}" if pattern.groups else name
    return _NUMBER.sub(lambda found: f"{int(found[1]):03d}", path)


def canonical_parameter(model_type: str, name: str) -> str:
    """Return the canonical name of a parameter, such as ``layer.003.q.bias``."""
    module, _, last = name.rpartition(".")
    if not _PARAMETER.fullmatch(name) or not module:
        return canonical_module(model_type, name)
    return f"{canonical_module(model_type, module)}.{last}"


@cache
def _patterns(model_type: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(_spelled(FAMILIES[model_type]))


def _spelled(family: Family) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield canonical names and the paths that they stand for."""
    for name, part in family.around.items():
        for module in part.modules:
            yield (f"{name}.weight" if part.bare else name), re.compile(re.escape(module))
    for role, part in (*family.roles.items(), *family.norms.items()):
        for module in part.modules:
            stacks = "|".join(map(re.escape, family.layers))
            yield role, re.compile(rf"(?:{stacks})\.(\d+)\.{re.escape(module)}")
