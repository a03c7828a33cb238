"""How ``floss-plan`` trains: where curves are kept, in which processes, with progress shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from floss_sim.cli.common import progress_bar
from planner.planning import StoppedError, make_plan, refuse_early
from planner.plans.plan import Plan
from planner.progress import Progress
from planner.question.request import Request
from planner.training.cores import Cores, decide, known, prepare, speeds_of
from planner.training.store import CurveStore, default_root
from planner.training.workers import worker_pool


@dataclass(frozen=True)
class Training:
    """Where a plan's runs are trained.

    Args:
        store: Where curves are kept.
        executor: Trains.
        workers: How many processes it has at work.
    """

    store: CurveStore
    executor: Executor
    workers: int


def open_store(root: Path | None, device: str, request: Request) -> CurveStore:
    """Return where curves are kept, with as many threads a process as was decided there.

    Args:
        root: The folder; None is the default one.
        device: Its name after ``auto`` was resolved.
        request: Says what is trained.
    """
    place = root or default_root()
    chosen = known(place, request.reference(), _cores()) if device == "cpu" else None
    return CurveStore(place, device, threads=chosen.threads if chosen else 1)


@contextmanager
def training(
    root: Path | None, device: str, request: Request, workers: int | None
) -> Iterator[Training]:
    """Yield the store and the processes that train.

    Args:
        root: The store's folder; None is the default one.
        device: Its name after ``auto`` was resolved.
        request: Says what is trained.
        workers: How many processes there shall be. None takes what is faster on a CPU: as it was
            measured before, or as is measured now, by the processes that train afterwards.
            Elsewhere it takes one, whose runs share the device.

    Raises:
        BudgetError: The request would be refused.
        RecordError: The store cannot be written.
    """
    place, cores, model = root or default_root(), _cores(), request.reference()
    chosen = known(place, model, cores) if device == "cpu" else None
    with ExitStack() as opened:
        pool = None
        if chosen is None and device == "cpu" and workers is None and cores > 1:
            refuse_early(request)
            prepare(place)
            console = Console(stderr=True, highlight=False)
            console.print(f"measuring once how {cores} cores train fastest")
            pool = opened.enter_context(worker_pool(cores))
            chosen = decide(place, model, cores, partial(speeds_of, pool=pool))
            console.print(f"training in {chosen.describe()}")
        chosen = chosen or Cores(cores if device == "cpu" else 1, 1)
        count = workers or chosen.workers
        if pool is None or count != cores:
            opened.close()
            pool = opened.enter_context(worker_pool(count))
        yield Training(CurveStore(place, device, threads=chosen.threads), pool, count)


def _cores() -> int:
    return os.cpu_count() or 1


def plan_with_progress(
    request: Request, root: Path | None, device: str, workers: int | None
) -> Plan:
    """Make a plan, with a bar on a terminal and a line a tenth in a log.

    Ctrl-C gives the best plan so far, marked as interrupted.

    Args:
        request: What is asked.
        root: As of :func:`training`, likewise the others.
        device: The device.
        workers: How many processes.

    Raises:
        KeyboardInterrupt: Likewise where no run has been finished yet.
    """
    try:
        with training(root, device, request, workers) as trains:
            return _search(request, trains)
    except StoppedError as stopped:
        return stopped.plan


def _search(request: Request, trains: Training) -> Plan:
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
