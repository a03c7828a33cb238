"""A plan and its answers, printed for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from floss_sim.cli.console import (
    note,
    plain_table,
    print_json,
    print_text,
    show_whole,
)
from floss_sim.units import format_bytes, format_duration, format_predicted_bytes
from planner.execution.dry_run import DryRun
from planner.plans.answer import Answer
from planner.plans.plan import Plan
from planner.report import plan_table, plan_text
from planner.report.answer_text import (
    ANSWER_COLUMNS,
    ANSWERS_TITLE,
    COST_COLUMNS,
    answer_row,
    answer_sentences,
    cost_rows,
    device_rows,
)
from planner.report.method_text import METHOD_COLUMNS, method_rows
from planner.report.objective_text import FRONT_COLUMNS, front_rows, front_title
from planner.report.time_text import time_columns, time_rows
from planner.report.usage_text import USAGE_COLUMNS, usage_rows


def print_plan(made: Plan) -> None:
    """Print a plan for people."""
    note(f"{plan_table.plan_title(made)}\n")
    show_whole(_table(None, plan_table.columns(made), plan_table.table_rows(made)))
    print()
    show_whole(_table(None, time_columns(made), time_rows(made)))
    print()
    if usage := usage_rows(made):
        show_whole(_table(None, USAGE_COLUMNS, usage))
        print()
    if made.methods:
        show_whole(_table(None, METHOD_COLUMNS, method_rows(made)))
        print()
    for line in plan_text.sentences(made):
        note(line)
    if made.front:
        show_whole(_table(front_title(made), FRONT_COLUMNS, front_rows(made)))
    if made.also:
        print()
        print_answers(made.also, made.request["network"], own=made.measures_own)


def print_dry_run(found: DryRun, as_json: bool, measure: str = "") -> None:
    """Print what a search would train, and how long that takes.

    Args:
        found: What it would do.
        as_json: Whether to print JSON.
        measure: What its accuracies are; empty if they are those of one model for all clients.
    """
    if as_json:
        print_json(found.to_json())
        return
    wall, low, high = map(format_duration, (found.wall_s, found.wall_low_s, found.wall_high_s))
    smallest = format_predicted_bytes(found.smallest_run_bytes, found.smallest_run_bytes_error)
    largest = format_predicted_bytes(found.largest_run_bytes, found.largest_run_bytes_error)
    source = (
        "a local step of one client was measured to take"
        if found.measured
        else "by the stored runs, a local step of one client takes"
    )
    work = f"{found.work_text()}." + (
        f"\nEvery accuracy is an own accuracy: {measure}." if measure else ""
    )
    if found.trains_nothing:
        print_text(f"{work}\nAbout {wall} ({low} to {high}) on this machine.")
        return
    print_text(
        f"{work}\n"
        f"About {wall} ({low} to {high}) on this machine, {format_duration(found.start_s)} of it "
        f"for the start of the processes: {source} {format_duration(found.step_s)}.\n"
        f"About {format_bytes(found.memory_bytes)} of memory, and at most "
        f"{format_bytes(found.disk_bytes)} of the store's disk.\n"
        f"The smallest run is predicted to transfer {smallest}, the largest {largest}.\n"
        "Baselines are dense LoRA and the thesis' rule. All seconds here are real, not simulated."
    )


def _table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(
        title=title and Text(title, "table.title"),
        box=SIMPLE_HEAD,
        show_edge=title is not None,
        pad_edge=False,
        collapse_padding=True,
    )
    for position, column in enumerate(columns):
        words = column in ("other", "best run")
        table.add_column(
            column, no_wrap=not words, justify="right" if position and not words else "left"
        )
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == "plan" else "")
    return table


def print_answers(answers: Sequence[Answer], network: str, *, own: bool = False) -> None:
    """Print answers from the store.

    Args:
        answers: At least one.
        network: The plan's, which is not repeated.
        own: Whether accuracies are those of the clients' own models.
    """
    rows = [answer_row(answer, network) for answer in answers]
    shown = len(ANSWER_COLUMNS) if any(row[-1] for row in rows) else len(ANSWER_COLUMNS) - 1
    table = plain_table(*ANSWER_COLUMNS[:shown], title=ANSWERS_TITLE)
    for row in rows:
        table.add_row(*row[:shown])
    show_whole(table, [row[0] for row in rows])
    show_whole(_table(None, COST_COLUMNS, cost_rows(answers, network)))
    print()
    if usage := device_rows(answers, network):
        show_whole(_table(None, USAGE_COLUMNS, usage))
        print()
    for line in answer_sentences(answers, own=own):
        note(line)
