"""What the commands of ``floss-plan`` share: lists in options, how a plan is printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from floss_sim.cli.common import show_whole
from floss_sim.errors import ConfigError, UnitError
from floss_sim.units import parse_bytes
from planner.cli.answering import print_answers
from planner.plans.plan import Plan
from planner.telling import report
from planner.telling.sought import FRONT, front_rows, front_title

StoreOption = Annotated[
    Path | None, typer.Option(help="Curve store; default: $FLOSS_SIM_STORE or the user cache.")
]


def items(text: str) -> list[str]:
    """Return the parts of a text that commas separate."""
    return [item.strip() for item in text.split(",") if item.strip()]


def integers(text: str, what: str) -> list[int]:
    """Return whole numbers that commas separate.

    Raises:
        ConfigError: One of them is none.
    """
    try:
        return [int(item) for item in items(text)]
    except ValueError:
        raise ConfigError(f"{what} {text!r} are not integers separated by commas") from None


def size(text: str) -> int:
    """Return the bytes of ``--max-client-bytes``.

    Raises:
        ConfigError: They cannot be read.
    """
    try:
        return parse_bytes(text)
    except UnitError as error:
        raise ConfigError(f"--max-client-bytes: {error}") from None


def print_plan(made: Plan) -> None:
    """Print a plan for people."""
    console = Console(markup=False, emoji=False, highlight=False)
    title = f"{made.request['task']} on {made.request['network']}: {made.limit.describe()}"
    show_whole(_table(title, report.columns(made), report.table_rows(made)))
    for line in report.sentences(made):
        console.print(line)
    if made.front:
        show_whole(_table(front_title(made), FRONT, front_rows(made)))
    if made.also:
        print()
        print_answers(made.also, made.request["network"])


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(
        title=Text(title, "table.title"), box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for position, column in enumerate(columns):
        words = column == "other"
        table.add_column(
            column, no_wrap=not words, justify="right" if position and not words else "left"
        )
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == "plan" else "")
    return table
