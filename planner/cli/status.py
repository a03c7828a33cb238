"""``floss-plan status``: progress of a search, from another terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.console import print_json, print_text
from floss_sim.cli.shared_options import JsonOption
from planner.report.search_status import read_status

HELP = """Print the progress of a search that runs in another terminal, or how it ended.

Give the folder of its plan, which --out names. The search writes its status there, from the first
trained round on.

Examples:

  floss-plan status plans/mine

  floss-plan status plans/mine --json
"""


def status(
    folder: Annotated[Path, typer.Argument(help="The folder of the plan.")],
    json_: JsonOption = False,
) -> None:
    """Print the progress of a search that runs in another terminal, or how it ended."""
    found = read_status(folder.expanduser())
    if json_:
        print_json(found.model_dump(mode="json"))
    else:
        print_text("\n".join(found.lines()))
