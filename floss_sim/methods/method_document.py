"""Method as plain values that hold all of it, persistent masks and schedules included, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import floss_sim.methods
from floss_sim.errors import ConfigError
from floss_sim.methods.method import Method

_KIND = "kind"


@cache
def _kinds() -> Mapping[str, type]:
    """Return the dataclasses of this package by name."""
    names = (module.name for module in iter_modules(floss_sim.methods.__path__))
    modules = [import_module(f"floss_sim.methods.{name}") for name in names]
    found = (value for module in modules for value in vars(module).values())
    return {v.__name__: v for v in found if isinstance(v, type) and is_dataclass(v)}


def method_to_document(method: Method) -> dict[str, Any]:
    """Return a method as plain values, for :func:`method_from_document`."""
    document: dict[str, Any] = _plain(method)
    return document


def method_from_document(content: Mapping[str, Any]) -> Method:
    """Return the method of plain values.

    Raises:
        ConfigError: The values are no method.
        DensityError: A density is outside (0, 1].
    """
    try:
        made = _built(content)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        made = None
    if not isinstance(made, Method):
        raise ConfigError("cannot read the values of a method")
    return made


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        own = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {_KIND: type(value).__name__, **own}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _built(value: Any) -> Any:
    if isinstance(value, Mapping):
        own = {key: _built(part) for key, part in value.items() if key != _KIND}
        return _kinds()[value[_KIND]](**own)
    return tuple(map(_built, value)) if isinstance(value, list | tuple) else value
