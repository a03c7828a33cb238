"""``floss-plan apply``: the final model of a plan, trained as it says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from floss_sim.cli.console import (
    note,
    plain_table,
    print_json,
    print_text,
    progress_bar,
    show_whole,
)
from floss_sim.cli.exit_codes import ExitCode
from floss_sim.cli.progress_log import ProgressLog
from floss_sim.cli.shared_options import DeviceOption, FetchOption, JsonOption
from floss_sim.errors import ConfigError
from planner.apply import AppliedPlan
from planner.calls import apply_plan, read_plan
from planner.cli.shared_options import StoreOption
from planner.plans.plan import Plan
from planner.report import applied_text

HELP = """Train a plan's final model; write its PEFT adapter or whole model, and its curve.

The run goes into the curve store: with the plan's own seed it is there already. Interrupted, the
same command goes on. What has changed since the plan was made is refused.

Examples:

  floss-plan apply plans/mine/plan.json

  floss-plan apply plans/mine --seed 1 --out models/second
"""


def apply(
    plan: Annotated[Path, typer.Argument(help="A plan.json, or the folder that holds one.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default: below the plan's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the run; default: the plan's.")
    ] = None,
    device: DeviceOption = "auto",
    store: StoreOption = None,
    fetch: FetchOption = False,
    json_: JsonOption = False,
) -> None:
    """Train a plan's final model."""
    made = read_plan(plan)
    folder = (out or _default_folder(plan, made, seed)).expanduser()
    if (folder / "plan.json").exists():
        raise ConfigError(f"{folder} holds a plan; choose another folder with --out")
    applied = _apply_with_progress(
        made, out=folder, seed=seed, store=store, device=device, fetch=fetch
    )
    if json_:
        print_json({**applied.to_json(), "out": str(folder)})
    else:
        _print_applied(applied, folder)
    if not made.learned:
        raise typer.Exit(ExitCode.NO_ANSWER)


def _default_folder(plan: Path, made: Plan, seed: int | None) -> Path:
    parent = plan if plan.is_dir() else plan.parent
    return parent / ("applied" if seed in (None, made.request["seed"]) else f"applied-seed-{seed}")


def _apply_with_progress(made: Plan, **chosen: Any) -> AppliedPlan:
    """Apply a plan with its progress on stderr; ``chosen`` are arguments of ``apply_plan``."""
    rounds = made.recommendation.rounds
    seed = made.request["seed"] if chosen["seed"] is None else chosen["seed"]
    what, console = f"training with seed {seed}", Console(stderr=True, highlight=False)
    with progress_bar(console) as bar:
        work = bar.add_task(what, total=rounds)
        log = ProgressLog(partial(console.print, soft_wrap=True))
        if bar.disable:
            log.update(0, 0, "loading the task of the plan")

        def show(trained: int) -> None:
            done = min(trained, rounds)
            bar.update(work, completed=done)
            if bar.disable:
                last = "; accuracies and the model follow" if done == rounds else ""
                log.update(done, rounds, f"{what}; {done} of {rounds} rounds{last}")

        with log.ticking():
            return apply_plan(made, on_rounds=show, **chosen)


def _print_applied(applied: AppliedPlan, folder: Path) -> None:
    table = plain_table("", "planned", "predicted", "realised")
    for row in applied_text.rows(applied):
        table.add_row(*row)
    show_whole(table)
    for line in applied_text.sentences(applied):
        note(line)
    saved = applied.config.method.saved_as
    print_text(f"Saved {saved}, curve.csv, curve.png and applied.json in\n{folder}")
    print_text(f"The run, for floss-sim replay, compare and account, is in\n{applied.folder.path}")
    for line in applied_text.network_lines(applied):
        print_text(line)
