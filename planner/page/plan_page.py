"""Page of a plan: its parts in order, and their data."""

from __future__ import annotations

from pathlib import Path

from floss_sim.page import texts
from floss_sim.page.document import Page
from floss_sim.page.parts import Html, joined, paragraphs, section
from floss_sim.page.what_if_section import what_if_charts, what_if_section
from planner.page.again import provenance
from planner.page.engineer import EngineersPart
from planner.page.first_screen import first_screen
from planner.page.plan_network import plan_network
from planner.page.plan_what_if import PlanWhatIf
from planner.page.shown_runs import CHART, Known, accuracy_picture, title
from planner.page.used_runs import find_used_runs
from planner.plans.plan import Plan


def plan_page(plan: Plan, root: Path, folder: Path, place: Path | None = None) -> Page:
    """Return the page of a plan, from its file and the store.

    Args:
        plan: The plan.
        root: Folder of the store; it need not exist.
        folder: Folder of the page, to which paths in commands are relative.
        place: The plan's folder or file; by default the folder of the page.
    """
    network, used = plan_network(plan), find_used_runs(plan, root)
    what_if = PlanWhatIf(used, network, folder) if used and network else None
    profile = network.profile if network else None
    detail = EngineersPart(plan, profile, what_if)
    known = _known(plan, what_if) if what_if else Known()
    charts = {CHART: accuracy_picture(plan, known)}
    charts |= detail.charts()
    last = [detail.html(), provenance(plan, used, folder, place or folder)]
    body = [first_screen(plan, profile, known)]
    if what_if is None or not what_if.is_served:
        body.append(_without_sliders(what_if, network is None))
        return Page(title(plan), joined([*body, *last]), charts)
    data, sliders = what_if.data(), what_if.sliders()
    body.append(what_if_section(sliders, what_if.notes()))
    values, charts = data.to_json(sliders), charts | what_if_charts()
    return Page(title(plan), joined([*body, *last]), charts, values, data.arrays)


def _known(plan: Plan, what_if: PlanWhatIf) -> Known:
    """Return what the store knows of the runs of the first screen."""
    points = [(way.candidate, way.rounds) for way in plan.cheaper]
    ways = {point: made for point in points if (made := what_if.costs_at(*point))}
    return Known(what_if.intervals, ways)


def _without_sliders(what_if: PlanWhatIf | None, lacks_network: bool) -> Html:
    """Return the section of the sliders with the reason that there are none."""
    if what_if is None:
        lines = [texts.NO_NETWORK if lacks_network else texts.NO_STORE]
    else:
        lines = what_if.notes()
    return section(texts.WHAT_IF, paragraphs(lines), name="what-if-section")


def save_plan_page(plan: Plan, path: Path, root: Path, place: Path | None = None) -> None:
    """Write the page of a plan.

    Args:
        plan: The plan.
        path: File of the page.
        root: Folder of the store; it need not exist.
        place: The plan's folder or file; by default the folder of the page.

    Raises:
        ConfigError: The drawing library is not installed.
        RecordError: The file cannot be written.
    """
    plan_page(plan, root, path.parent, place).save(path)
