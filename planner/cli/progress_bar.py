"""Progress of a search: a bar on a terminal, lines in a log."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from floss_sim.cli.console import progress_bar
from floss_sim.cli.progress_log import ProgressLog
from planner.answers import BudgetOnNetwork
from planner.calls import dry_run, plan
from planner.execution.dry_run import DryRun
from planner.plans.plan import Plan
from planner.progress import OnProgress, Progress
from planner.question.request import Request
from planner.report.reported_plan import ReportedPlan
from planner.session import Workers


def plan_with_progress(
    request: Request,
    *,
    also: Sequence[BudgetOnNetwork],
    store: Path | None,
    workers: Workers,
    replay: Plan | None = None,
    on_progress: OnProgress = lambda now: None,
) -> ReportedPlan:
    """Make a plan as :func:`planner.plan`, with its progress on stderr.

    Args:
        request: The question.
        also: Further budgets to answer from the store.
        store: The store's folder; None is the default one.
        workers: What trains.
        replay: Plan whose decisions are made again; None for a new search.
        on_progress: Called with the progress, too.
    """
    console = Console(stderr=True, highlight=False)
    with progress_bar(console, "{task.fields[note]}") as bar:
        work = bar.add_task("predicting costs", total=None, note="")
        log = ProgressLog(partial(console.print, soft_wrap=True))

        def show(now: Progress) -> None:
            bar.update(
                work, description=now.stage, completed=now.done, total=now.expected or None,
                note=now.describe(),
            )  # fmt: skip
            on_progress(now)
            if now.warning:
                console.print(now.warning, soft_wrap=True)
            if bar.disable:
                log.update(now.done, now.expected, now.line(), now.left_s)

        def tell(found: DryRun) -> None:
            console.print(found.line(), soft_wrap=True)

        with log.ticking():
            return plan(
                request,
                also=also,
                store=store,
                device=workers.device,
                workers=workers.count,
                executor=workers.executor,
                runs_per_worker=workers.runs_per_worker,
                shared_store=workers.shared_store,
                mix_machines=workers.mix_machines,
                replay=replay,
                on_progress=show,
                on_estimate=tell,
            )


def dry_run_with_progress(request: Request, store: Path | None, workers: Workers) -> DryRun:
    """Return a dry run as :func:`planner.dry_run`; a long measurement has lines on stderr."""
    console = Console(stderr=True, highlight=False)
    log = ProgressLog(partial(console.print, soft_wrap=True))

    def show(now: Progress) -> None:
        log.update(now.done, now.expected, now.line())

    show(Progress("predicting costs"))
    with log.ticking():
        return dry_run(
            request,
            store=store,
            device=workers.device,
            workers=workers.count,
            executor=workers.executor,
            on_progress=show,
        )
