"""A planning session: the store where curves are kept, and the processes that train."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from floss_sim.files import missing_folders, remove_empty
from planner.execution.cpu_parallelism import (
    FOLDER,
    Parallelism,
    decide_parallelism,
    known_parallelism,
    measure_speeds,
    prepare_folder,
)
from planner.execution.curve_store import CurveStore, default_root
from planner.execution.workers import worker_pool
from planner.planning import check_feasible
from planner.question.request import Request


@dataclass(frozen=True)
class Session:
    """Store and processes of one planner's call.

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
    chosen = known_parallelism(place, request.reference(), _cores()) if device == "cpu" else None
    return CurveStore(place, device, threads=chosen.threads if chosen else 1)


@contextmanager
def open_session(
    root: Path | None,
    device: str,
    request: Request,
    workers: int | None,
    say: Callable[[str], object] = lambda line: None,
) -> Iterator[Session]:
    """Yield the store and the processes that train.

    Folders that are created and stay empty because of an error are removed.

    Args:
        root: The store's folder; None is the default one.
        device: Its name after ``auto`` was resolved.
        request: Says what is trained.
        workers: How many processes there shall be. None takes what is faster on a CPU: as it was
            measured before, or as is measured now, by the processes that train afterwards.
            Elsewhere it takes one, whose runs share the device.
        say: Told in a line what is measured, and what came of it.

    Raises:
        BudgetError: The request would be refused.
        RecordError: The store cannot be written.
    """
    place = root or default_root()
    missing = missing_folders(place / FOLDER)
    try:
        with _open_session(place, device, request, workers, say) as session:
            yield session
    except BaseException:
        remove_empty(missing)
        raise


@contextmanager
def _open_session(
    place: Path,
    device: str,
    request: Request,
    workers: int | None,
    say: Callable[[str], object],
) -> Iterator[Session]:
    cores, model = _cores(), request.reference()
    chosen = known_parallelism(place, model, cores) if device == "cpu" else None
    with ExitStack() as opened:
        pool = None
        if chosen is None and device == "cpu" and workers is None and cores > 1:
            check_feasible(request)
            prepare_folder(place)
            say(f"measuring once how {cores} cores train fastest")
            pool = opened.enter_context(worker_pool(cores))
            chosen = decide_parallelism(place, model, cores, partial(measure_speeds, pool=pool))
            say(f"training in {chosen.describe()}")
        chosen = chosen or Parallelism(cores if device == "cpu" else 1, 1)
        count = workers or chosen.workers
        if pool is None or count != cores:
            opened.close()
            pool = opened.enter_context(worker_pool(count))
        yield Session(CurveStore(place, device, threads=chosen.threads), pool, count)


def _cores() -> int:
    return os.cpu_count() or 1
