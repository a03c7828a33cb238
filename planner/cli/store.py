"""``floss-plan store``: check of the curve store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.console import command_app, print_json, print_text
from floss_sim.cli.shared_options import JsonOption
from floss_sim.errors import RecordError
from planner.execution.curve_store import default_root
from planner.execution.store_check import CheckedRun, State, check_store

HELP = """Check the store of learning curves.

Examples:

  floss-plan store check

  floss-plan store check --quarantine
"""
CHECK_HELP = """Read every file of every stored run, and say which runs are damaged.

A run is damaged if a file is missing or differs from its SHA-256, or if its files contradict each
other. A search stops at a damaged run. --quarantine moves damaged runs into the folder quarantine
of the store, so that a search trains them again. Runs of earlier versions have no SHA-256: they are
read and counted as unchecked, and get one when they are trained further. The exit code is 2 if
damaged runs stay in the store.

A run is doubtful if a repeated check of passes that it shared with other runs found a difference:
its last bits may not be those that it has alone. It stays in use.

Examples:

  floss-plan store check

  floss-plan store check /data/curves --quarantine

  floss-plan store check --json
"""
app = command_app(HELP)


@app.command(help=CHECK_HELP)
def check(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="Curve store; default: $FLOSS_SIM_STORE or the user cache."
        ),
    ] = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Move damaged runs into DIR/quarantine.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Read every file of every stored run, and say which runs are damaged."""
    root = folder or default_root()
    runs = check_store(root, quarantine, on_run=(lambda run: None) if json_ else _print_problem)
    if json_:
        counts = {str(state): _count(runs, state) for state in State}
        listed = [run.to_json() for run in runs]
        print_json({"store": str(root), **counts, "runs": listed})
    else:
        print_text(_summary(root, runs))
    left = sum(run.state is State.DAMAGED and run.moved_to is None for run in runs)
    if left:
        advice = "they are in use" if quarantine else "--quarantine sets them aside"
        raise RecordError(f"{left} of {len(runs)} runs in {root} are damaged; {advice}")


def _print_problem(run: CheckedRun) -> None:
    if run.state is State.DOUBTFUL:
        print_text(f"{run.path.name}: doubtful from round {run.doubtful_from} on: {run.problem}")
    if run.state is State.DAMAGED:
        print_text(f"{run.path.name}: {run.problem}")
        if run.moved_to:
            print_text(f"  moved to {run.moved_to}")
        elif run.kept:
            print_text(f"  not moved: {run.kept}")


def _summary(root: Path, runs: Sequence[CheckedRun]) -> str:
    count = {state: _count(runs, state) for state in State}
    words = [f"{count[State.VERIFIED]} verified"]
    if unchecked := count[State.UNCHECKED]:
        words.append(f"{unchecked} unchecked (no SHA-256: written by an earlier version)")
    if doubtful := count[State.DOUBTFUL]:
        words.append(f"{doubtful} doubtful")
    words.append(f"{count[State.DAMAGED]} damaged")
    return f"{root}: {len(runs)} runs, {', '.join(words)}"


def _count(runs: Sequence[CheckedRun], state: State) -> int:
    return sum(run.state is state for run in runs)
