"""Options of a command for methods and their privacy, from the tables that declare them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from floss_sim.methods.method_options import METHOD_OPTIONS, MethodOption
from floss_sim.methods.privacy_options import PRIVACY_OPTIONS

TABLES = {"method_options": METHOD_OPTIONS, "privacy_options": PRIVACY_OPTIONS}
_TYPES = {"integer": int, "number": float, "flag": bool}


def takes_method_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has every option of a table in the place of the table's parameter.

    The command itself receives those that were given, by name, as values of the command line.

    Args:
        command: Function of named arguments; those named as in ``TABLES`` are dictionaries.
    """
    return takes_options_of(command, TABLES)


def takes_options_of(
    command: Callable[..., None], every: Mapping[str, Mapping[str, MethodOption]]
) -> Callable[..., None]:
    """Return a command that has every option of a table in the place of the table's parameter.

    Args:
        command: As of :func:`takes_method_options`.
        every: The tables, by the names of their parameters.
    """
    own = inspect.signature(command, eval_str=True)
    tables = {name: table for name, table in every.items() if name in own.parameters}
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        table = tables.get(parameter.name)
        parameters += [parameter] if table is None else map(_parameter, table.values())

    @wraps(command)
    def call(**given: Any) -> None:
        for parameter, table in tables.items():
            values = {name: given.pop(name) for name in table}
            given[parameter] = {n: value for n, value in values.items() if value is not None}
        command(**given)

    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def _parameter(option: MethodOption) -> inspect.Parameter:
    """Return an option as a parameter that typer reads; None where it is not given."""
    names = (option.flag,) if option.kind == "flag" else ()  # a flag without its opposite
    shown = typer.Option(*names, help=option.help)
    annotation: Any = Annotated[_TYPES.get(option.kind, str) | None, shown]
    by_name = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(option.name, by_name, default=None, annotation=annotation)
