"""Console output of the commands: tables, notes, JSON and progress bars."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from floss_sim.errors import ConfigError
from floss_sim.plain_text import printable

_FOLDED_WIDTH = 28  # characters of a line of a folded name on a narrow terminal


def command_app(help_: str, group: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """Return a typer app for sub-commands; the app without a sub-command raises ConfigError."""
    app = typer.Typer(
        cls=group,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=help_,
    )

    @app.callback(invoke_without_command=True, help=help_)
    def needs_command(context: typer.Context) -> None:
        if context.invoked_subcommand is None and isinstance(context.command, TyperGroup):
            raise ConfigError(
                f"missing command: {alternatives(context.command.list_commands(context))}"
            )

    return app


def alternatives(names: Iterable[str]) -> str:
    """Return names joined in words, such as ``"a, b or c"``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


class PlainConsole(Console):
    """Console that shows texts as they are, apart from control characters, which become ``?``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text for the terminal, without control characters."""
        return super().render_str(printable(text), **options)


def plain_table(*columns: str, title: str | None = None) -> Table:
    """Return a table in the common style; only the first column and `source` align to the left."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, name in enumerate(columns):
        is_text = i == 0 or name == "source"
        table.add_column(name, no_wrap=True, justify="left" if is_text else "right")
    return table


def show_whole(table: Table, *folded: Iterable[str]) -> None:
    """Print a table; a narrow terminal folds long names, but numbers are never cut.

    Args:
        table: The table to print.
        folded: The cells of each column that may be folded.
    """
    spare = sum(max(0, max(map(len, names)) - _FOLDED_WIDTH) for names in folded)
    console = PlainConsole()
    console.width = max(console.width, PlainConsole(width=10_000).measure(table).maximum - spare)
    console.print(table)


def note(text: str) -> None:
    """Print a text, wrapped at the terminal's width."""
    PlainConsole().print(text)


def print_text(text: str) -> None:
    """Print a text as it is, apart from control characters."""
    print(printable(text))


def print_json(content: Any) -> None:
    """Print a value as JSON.

    Raises:
        ConfigError: A number is NaN or infinite, which JSON cannot hold; the message names it.
    """
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except ValueError:
        place, value = next(_not_finite(content, ""))
        raise ConfigError(f"{place} is {value}, which is no number in JSON") from None
    print(text)


def _not_finite(content: Any, place: str) -> Iterator[tuple[str, float]]:
    """Yield the place and value of each number that is not finite."""
    if isinstance(content, float) and not math.isfinite(content):
        yield place, content
    parts = enumerate(content) if isinstance(content, list | tuple) else ()
    for key, part in content.items() if isinstance(content, dict) else parts:
        yield from _not_finite(part, f"{place}.{key}" if place else str(key))


def progress_bar(console: Console, *columns: str) -> Progress:
    """Return a progress bar of rounds with extra text columns, elapsed and remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rounds"),
        *(TextColumn(column) for column in columns),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
