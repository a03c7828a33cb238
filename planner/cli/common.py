"""What the commands of ``floss-plan`` share: lists in options, progress, how a plan is printed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from floss_sim.cli.common import progress_bar, show_whole
from floss_sim.errors import ConfigError, UnitError
from floss_sim.units import parse_bytes
from planner.cli.answering import print_answers
from planner.planning import StoppedError, make_plan, refuse_early
from planner.plans.plan import Plan
from planner.progress import Progress
from planner.question.request import Request
from planner.telling import report
from planner.telling.sought import FRONT, front_rows, front_title
from planner.training.cores import Cores, decide, known, prepare
from planner.training.store import CurveStore, default_root
from planner.training.workers import worker_pool

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


def open_store(
    root: Path | None, device: str, request: Request, workers: int | None = 1
) -> tuple[CurveStore, int]:
    """Return where curves are kept, and how many processes train.

    Args:
        root: The folder; None is the default one.
        device: Its name after ``auto`` was resolved.
        request: Says what is trained.
        workers: How many there shall be. None takes what is faster on a CPU: as it was measured
            before, or as is measured now. Elsewhere it takes one, whose runs share the device.

    Raises:
        BudgetError: The request would be refused.
        RecordError: The store cannot be written.
    """
    place, cores, model = root or default_root(), os.cpu_count() or 1, request.reference()
    chosen = known(place, model, cores) if device == "cpu" else None
    if chosen is None and device == "cpu" and workers is None and cores > 1:
        refuse_early(request)
        prepare(place)
        console = Console(stderr=True, highlight=False)
        console.print(f"measuring once how {cores} cores train fastest")
        chosen = decide(place, model, cores)
        console.print(f"training in {chosen.describe()}")
    chosen = chosen or Cores(cores if device == "cpu" else 1, 1)
    store = CurveStore(place, device, threads=chosen.threads)
    return store, workers or chosen.workers


def plan_with_progress(request: Request, store: CurveStore, workers: int) -> Plan:
    """Make a plan, with a bar on a terminal and a line a tenth in a log.

    Ctrl-C gives the best plan so far, marked as interrupted.

    Raises:
        KeyboardInterrupt: Likewise where no run has been finished yet.
    """
    try:
        return _search(request, store, workers)
    except StoppedError as stopped:
        return stopped.plan


def _search(request: Request, store: CurveStore, workers: int) -> Plan:
    console = Console(stderr=True)
    with progress_bar(console, "{task.fields[note]}") as bar, worker_pool(workers) as pool:
        work = bar.add_task("predicting costs", total=None, note="")
        tenths = -1

        def show(now: Progress) -> None:
            nonlocal tenths
            bar.update(
                work, description=now.stage, completed=now.done, total=now.expected or None,
                note=now.describe(),
            )  # fmt: skip
            if bar.disable and now.expected and 10 * now.done // now.expected > tenths:  # a log
                tenths = 10 * now.done // now.expected
                console.print(now.line(), highlight=False)

        return make_plan(request, store, pool, show, workers)


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
