"""``floss-plan report``: the page of a plan, made again from records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.console import print_json, print_text
from floss_sim.cli.shared_options import JsonOption
from floss_sim.page.document import check_page_path
from floss_sim.page.library import check_installed
from planner.calls import read_plan
from planner.cli.shared_options import StoreOption
from planner.execution.curve_store import default_root
from planner.page.plan_page import save_plan_page
from planner.plans.plan_file import PLAN_FILE
from planner.report.plan_folder import PAGE_FILE

HELP = """Write the page of a plan: one HTML file, from its file and the store alone.

The first screen is for whoever decides; below it are figures for engineers. The page asks no
network for anything, and can be sent.

Examples:

  floss-plan report plans/mine/plan.json

  floss-plan report plans/mine --out page.html
"""


def report(
    plan: Annotated[Path, typer.Argument(help="A plan.json, or the folder that holds one.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: report.html beside the plan.")
    ] = None,
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the page of a plan."""
    check_installed()
    made = read_plan(plan)
    path = (out or _folder(plan) / PAGE_FILE).expanduser()
    check_page_path(path)
    place = _folder(plan) if plan.name == PLAN_FILE else plan
    save_plan_page(made, path, store or default_root(), place)
    if json_:
        print_json({"page": str(path), "bytes": path.stat().st_size})
    else:
        print_text(f"Saved the page\n{path}")


def _folder(plan: Path) -> Path:
    return plan if plan.is_dir() else plan.parent
