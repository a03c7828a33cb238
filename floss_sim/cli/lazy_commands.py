"""Sub-commands that are imported when they are called, so that ``--help`` imports none of them."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command


class LazyCommands(TyperGroup):
    """Group of commands, each in a module of its own.

    Attributes:
        places: Place and first line of help of each command. A place is a module and, after a
            colon, a typer app or a function of the module; a function has the module's ``HELP``.
    """

    places: ClassVar[Mapping[str, tuple[str, str]]]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order of help."""
        return list(self.places)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, imported now; None if there is none of this name."""
        if cmd_name not in self.places:
            return None
        path, _, name = self.places[cmd_name][0].partition(":")
        module = import_module(path)
        gc.freeze()  # imported objects stay: collections need not look at them (60 ms of a command)
        found = getattr(module, name)
        app = found if isinstance(found, typer.Typer) else _app_of(found, module.HELP)
        command = get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with the first line of their help."""
        width = formatter.width - 6 - max(map(len, self.places))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, _shorten(line, width)) for name, (_, line) in self.places.items()]
            )


def _app_of(function: Any, help_: str) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=help_)(function)
    return app


def _shorten(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 3].rsplit(' ', 1)[0]}..."
