"""Page of a plan: its parts in order, and their data."""

from __future__ import annotations

from pathlib import Path

from floss_sim.page.document import Page
from floss_sim.page.parts import joined
from planner.page.first_screen import CHART, accuracy_picture, first_screen, title
from planner.plans.plan import Plan


def plan_page(plan: Plan) -> Page:
    """Return the page of a plan, from its file alone."""
    body = joined([first_screen(plan, [])])
    return Page(title(plan), body, {CHART: accuracy_picture(plan, {})})


def save_plan_page(plan: Plan, path: Path) -> None:
    """Write the page of a plan.

    Raises:
        ConfigError: The drawing library is not installed.
        RecordError: The file cannot be written.
    """
    plan_page(plan).save(path)
