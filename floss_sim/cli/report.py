"""``floss-sim report``: the page of recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from floss_sim.analysis.comparison import compare
from floss_sim.analysis.recorded_runs import find_runs
from floss_sim.analysis.what_if import Scenario
from floss_sim.cli.console import print_json, print_text
from floss_sim.cli.shared_options import JsonOption
from floss_sim.page.document import check_page_path
from floss_sim.page.library import check_installed
from floss_sim.page.replayed import page_of_runs

HELP = """Write the page of recorded runs: one HTML file with sliders.

It has the best configuration in words, curves, sizes of messages and sliders. Runs that differ
only in the seed are one configuration. The sliders change the network on which
all runs were recorded; `floss-sim replay RUNS --network NAME --report` makes a page for another
one. The page asks no network for anything, and can be sent.

Examples:

  floss-sim report runs/first

  floss-sim report 'runs/floss-*' runs/dense --out runs.html
"""


def report(
    runs: Annotated[
        list[str],
        typer.Argument(help="Run folders, folders that contain run folders, or quoted patterns."),
    ],
    out: Annotated[Path, typer.Option(help="File of the page; ends in .html.")] = Path(
        "report.html"
    ),
    json_: JsonOption = False,
) -> None:
    """Write the page of recorded runs."""
    check_installed()
    check_page_path(out)
    comparison = compare(find_runs(runs))
    lines = [
        Scenario(one, one.runs[0].folder.manifest().network or "unnamed network", recorded=True)
        for one in comparison.configurations
    ]
    made = page_of_runs(comparison.task, lines, comparison.notes, (), {}, out.parent)
    made.page().save(out)
    if json_:
        print_json({"page": str(out), "bytes": out.stat().st_size})
    else:
        print_text(f"Saved the page\n{out}")
