"""Progress of a search: a bar on a terminal, a line a tenth in a log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from floss_sim.cli.console import progress_bar
from planner.planning import StoppedError, make_plan
from planner.plans.plan import Plan
from planner.progress import Progress
from planner.question.request import Request
from planner.session import Session, open_session


def plan_with_progress(
    request: Request, root: Path | None, device: str, workers: int | None
) -> Plan:
    """Make a plan, with a bar on a terminal and a line a tenth in a log.

    Ctrl-C gives the best plan so far, marked as interrupted.

    Args:
        request: What is asked.
        root: As of :func:`open_session`, likewise the others.
        device: The device.
        workers: How many processes.

    Raises:
        KeyboardInterrupt: Likewise where no run has been finished yet.
    """
    say = Console(stderr=True, highlight=False).print
    try:
        with open_session(root, device, request, workers, say) as trains:
            return _search(request, trains)
    except StoppedError as stopped:
        return stopped.plan


def _search(request: Request, trains: Session) -> Plan:
    console = Console(stderr=True)
    with progress_bar(console, "{task.fields[note]}") as bar:
        work = bar.add_task("predicting costs", total=None, note="")
        tenths = -1

        def show(now: Progress) -> None:
            nonlocal tenths
            bar.update(
                work, description=now.stage, completed=now.done, total=now.expected or None,
                note=now.describe(),
            )  # fmt: skip
            if bar.disable and now.expected and 10 * now.done // now.expected > tenths:  # a log
                tenths = 10 * now.done // now.expected
                console.print(now.line(), highlight=False)

        return make_plan(request, trains.store, trains.executor, show, trains.workers)
