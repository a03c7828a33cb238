"""``floss-plan export``: a plan's recommendation as an app of a deployment framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.export import OutOption, ToOption, show_export
from floss_sim.cli.shared_options import FetchOption, JsonOption
from planner.calls import export_plan, read_plan

HELP = """Write a plan's recommendation as an app of a deployment framework.

The app trains the plan's task, partition, seed, method and rounds, with floss-sim as its library; a
wheel of it lies beside the app. Its README says how to install, simulate and deploy it.

Examples:

  floss-plan export plans/mine --to flower --out app

  floss-plan export plans/mine/plan.json --seed 1 --out app
"""


def export(
    plan: Annotated[Path, typer.Argument(help="A plan.json, or the folder that holds one.")],
    out: OutOption,
    to: ToOption = "flower",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the run; default: the plan's.")
    ] = None,
    fetch: FetchOption = False,
    json_: JsonOption = False,
) -> None:
    """Write a plan's recommendation as an app of a deployment framework."""
    show_export(export_plan(read_plan(plan), out, seed=seed, to=to, fetch=fetch), to, json_)
