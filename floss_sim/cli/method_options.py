"""Options of a command for the options of the methods, from ``METHOD_OPTIONS``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from floss_sim.methods.method_options import METHOD_OPTIONS, MethodOption

PARAMETER = "method_options"  # of a command: the given options by name
_TYPES = {"integer": int, "number": float, "flag": bool}


def takes_method_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has every option of the methods in the place of ``method_options``.

    The command itself receives those that were given, by name, as values of the command line.

    Args:
        command: Function of named arguments, of which ``method_options`` is a dictionary.
    """
    own = inspect.signature(command, eval_str=True)
    options = [_parameter(option) for option in METHOD_OPTIONS.values()]
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += options if parameter.name == PARAMETER else [parameter]

    @wraps(command)
    def call(**given: Any) -> None:
        values = {name: given.pop(name) for name in METHOD_OPTIONS}
        chosen = {name: value for name, value in values.items() if value is not None}
        command(**given, **{PARAMETER: chosen})

    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def _parameter(option: MethodOption) -> inspect.Parameter:
    """Return an option as a parameter that typer reads; None where it is not given."""
    names = (option.flag,) if option.kind == "flag" else ()  # a flag without its opposite
    shown = typer.Option(*names, help=option.help)
    annotation: Any = Annotated[_TYPES.get(option.kind, str) | None, shown]
    by_name = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(option.name, by_name, default=None, annotation=annotation)
