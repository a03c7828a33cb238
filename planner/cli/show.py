"""``floss-plan show``: a plan printed again from its file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.console import print_json
from floss_sim.cli.shared_options import JsonOption
from planner.calls import read_plan
from planner.cli.printing import print_plan
from planner.report.plan_folder import plan_content

HELP = """Print a plan again, from its file alone.

Examples:

  floss-plan show plans/mine/plan.json

  floss-plan show plans/mine --json
"""


def show(
    plan: Annotated[Path, typer.Argument(help="A plan.json, or the folder that holds one.")],
    json_: JsonOption = False,
) -> None:
    """Print a plan again, from its file alone."""
    made = read_plan(plan)
    if json_:
        print_json(plan_content(made, plan if plan.is_dir() else plan.parent))
    else:
        print_plan(made)
