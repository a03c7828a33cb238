"""What the commands of ``floss-plan`` share: lists in options, progress, how a plan is printed."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from floss_sim.cli.common import progress_bar
from floss_sim.errors import ConfigError
from planner import report
from planner.plan import Plan
from planner.planning import make_plan
from planner.request import Request
from planner.store import CurveStore
from planner.workers import worker_pool


def items(text: str) -> list[str]:
    """Return the parts of a text that commas separate."""
    return [item.strip() for item in text.split(",") if item.strip()]


def integers(text: str) -> list[int]:
    """Return whole numbers that commas separate.

    Raises:
        ConfigError: One of them is none.
    """
    try:
        return [int(item) for item in items(text)]
    except ValueError:
        raise ConfigError(f"ranks {text!r} are not integers separated by commas") from None


def plan_with_progress(request: Request, store: CurveStore, workers: int) -> Plan:
    """Make a plan, with a bar on a terminal and a line a tenth in a log."""
    console = Console(stderr=True)
    with progress_bar(console) as bar, worker_pool(workers) as pool:
        work = bar.add_task("predicting costs", total=None)
        tenths = -1

        def show(stage: str, done: int, expected: int) -> None:
            nonlocal tenths
            bar.update(work, description=stage, completed=done, total=expected or None)
            if bar.disable and expected and 10 * done // expected > tenths:  # a log, no terminal
                tenths = 10 * done // expected
                console.print(f"{stage}: {done} of at most {expected} rounds")

        return make_plan(request, store, pool, show)


def print_plan(made: Plan, folder: Path) -> None:
    """Print a plan for people, and where it was saved."""
    console = Console()
    title = f"{made.request['task']} on {made.request['network']}: {made.limit.describe()}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for position, column in enumerate(report.COLUMNS):
        table.add_column(column, no_wrap=True, justify="right" if position else "left")
    for row in report.table_rows(made):
        table.add_row(*row, style="bold" if row[0] == "plan" else "")
    console.print(table)
    for line in report.sentences(made):
        console.print(line, highlight=False)
    print(f"Saved plan.json and accuracy.png in\n{folder}")
