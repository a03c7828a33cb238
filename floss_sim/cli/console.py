"""Console output of the commands: tables, notes and progress bars."""

from __future__ import annotations

from collections.abc import Iterable

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
from typer.core import TyperGroup

from floss_sim.errors import ConfigError
from floss_sim.wire.framing import OVERHEAD_BYTES

FRAMED_LEGEND = f"payload: positions and values; framed: with our frame of {OVERHEAD_BYTES} bytes"
SIZES_LEGEND = (
    f"{FRAMED_LEGEND}; message: framed, with the call's RPC framing; link: message, with TLS "
    "records and TCP/IP headers"
)
_FOLDED_WIDTH = 28  # characters of a line of a folded name on a narrow terminal


def command_app(help_: str) -> typer.Typer:
    """Return a typer app for sub-commands; the app without a sub-command raises ConfigError."""
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=help_
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
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(console.width, Console(width=10_000).measure(table).maximum - spare)
    console.print(table)


def note(text: str) -> None:
    """Print a text, wrapped at the terminal's width."""
    Console(markup=False, emoji=False, highlight=False).print(text)


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
