"""What commands print: tables, notes, progress, errors and exit codes."""

from __future__ import annotations

import sys
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
from typer.exceptions import TyperException

from floss_sim.errors import ConfigError, FlossError
from floss_sim.wire.framing import OVERHEAD_BYTES

FRAMED_LEGEND = f"payload: positions and values; framed: with our frame of {OVERHEAD_BYTES} bytes"
SIZES_LEGEND = (
    f"{FRAMED_LEGEND}; message: framed, with the call's RPC framing; link: message, with TLS "
    "records and TCP/IP headers"
)
_FOLDED_WIDTH = 28  # characters that a name keeps on a narrow terminal before it is folded
EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED = 2, 1, 130


def command_app(help_: str) -> typer.Typer:
    """Return an app of commands, of which one must be given.

    Raises:
        ConfigError: When it is called without one.
    """
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
    """Return names in words, such as ``"a, b or c"``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def guard(app: typer.Typer, name: str) -> int:
    """Run a typer app; return its exit code after saying any error in one line on stderr."""
    result, message = None, None
    try:
        result = app(standalone_mode=False)
    except TyperException as error:
        message, code = error.format_message(), EXIT_BAD_INPUT
    except ConfigError as error:
        message, code = str(error), EXIT_BAD_INPUT
    except FlossError as error:
        message, code = str(error), EXIT_FAILED
    except OSError as error:
        message, code = f"{error.filename or 'file system'}: {error.strerror}", EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    if message is None:
        code = result if isinstance(result, int) else 0
        if code != EXIT_INTERRUPTED:  # typer turns Ctrl-C into this code
            return code
        message = "interrupted; the same command goes on from here"
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return code


def plain_table(*columns: str, title: str | None = None) -> Table:
    """Return a table in the house's looks; columns are numbers, but for the first and `source`."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, name in enumerate(columns):
        is_text = i == 0 or name == "source"
        table.add_column(name, no_wrap=True, justify="left" if is_text else "right")
    return table


def show_whole(table: Table, *folded: Iterable[str]) -> None:
    """Print a table whole: names are folded on a narrow terminal, numbers never cut.

    Args:
        table: The table.
        folded: The cells of each column that may be folded.
    """
    spare = sum(max(0, max(map(len, names)) - _FOLDED_WIDTH) for names in folded)
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(console.width, Console(width=10_000).measure(table).maximum - spare)
    console.print(table)


def note(text: str) -> None:
    """Print a sentence, folded to the terminal's width."""
    Console(markup=False, emoji=False, highlight=False).print(text)


def progress_bar(console: Console, *columns: str) -> Progress:
    """Return a progress bar with elapsed and remaining time, and extra text columns."""
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
