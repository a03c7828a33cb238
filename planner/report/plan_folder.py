"""Folder of a plan: plan.json and plots."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from floss_sim.errors import RecordError
from floss_sim.files import check_file, check_folder, write_atomically
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.plan_table import BASELINE_TITLES, runners_up
from planner.report.time_text import median_clause

PAGE_FILE = "report.html"
PLAN_FILES = ("plan.json", "accuracy.png", "front.png", PAGE_FILE)
APPLIED_FILES = ("curve.csv", "curve.png", "applied.json")  # beside adapter/ or model/


def labelled_runs(plan: Plan) -> dict[str, Outcome]:
    """Return the runs to draw, by label; the recommendation first."""
    runs = {f"plan: {plan.recommendation.candidate}": plan.recommendation}
    runs |= {f"runner-up: {outcome.candidate}": outcome for outcome in runners_up(plan)[:3]}
    for name, title in BASELINE_TITLES.items():
        if baseline := plan.baselines[name]:
            runs[f"baseline, {title}: {baseline.candidate}"] = baseline
    return runs


def plan_content(plan: Plan, folder: Path) -> dict[str, Any]:
    """Return the content of a folder's ``plan.json``; local paths are relative to the folder."""
    return plan.with_origin(lambda origin: origin.relative_to(folder)).to_json()


def save(plan: Plan, folder: Path) -> None:
    """Write ``plan.json``, ``accuracy.png`` and, with a Pareto front, ``front.png``.

    Raises:
        RecordError: The folder or a file cannot be written.
    """
    from floss_sim.plots import figure as base
    from planner.report.plan_plots import curves_frame, draw_front, draw_plan, front_frame

    create_folder(folder)
    content = json.dumps(plan_content(plan, folder), indent=2)
    write_atomically(folder / "plan.json", content + "\n")
    title = f"{plan.request['task']} on {plan.request['network']}"
    xlabel = f"budget spent (%; {plan.limit.describe()}{median_clause(plan)})"
    runs, models = labelled_runs(plan), plan.measured_models
    frame = curves_frame({label: outcome.curve for label, outcome in runs.items()})
    ends = {label: outcome.interval for label, outcome in runs.items() if outcome.interval}
    base.save(draw_plan(frame, title, xlabel, plan.target, ends, models), folder / "accuracy.png")
    if plan.front:
        base.save(draw_front(front_frame(plan.front), title, xlabel, models), folder / "front.png")


def check_writable(folder: Path, names: Iterable[str] = PLAN_FILES) -> None:
    """Check that a folder can be written, or can be created; nothing is created.

    Args:
        folder: The folder.
        names: Names of the files to be written into it.

    Raises:
        RecordError: The folder or a file cannot be written.
    """
    check_folder(folder)
    for name in names if folder.exists() else ():
        check_file(folder / name)


def create_folder(folder: Path) -> None:
    """Create a folder and its parents, if they are missing.

    Raises:
        RecordError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error.strerror}") from None
