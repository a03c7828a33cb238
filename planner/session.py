"""A planning session: the store where curves are kept, and the processes that train.

On a CPU there is one process of one thread for each core. One process of many threads was never
faster: on two cores it trained at 0.47 (digits), 0.85 (a ViT of width 384) and 0.92 (ViT-B at 224)
of the speed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from floss_sim.errors import RecordError
from floss_sim.files import missing_folders, remove_empty
from planner.execution.curve_store import CurveStore, default_root
from planner.execution.trainer import LocalTrainer, Trainer
from planner.execution.workers import worker_pool


def open_store(root: Path | None, device: str) -> CurveStore:
    """Return where curves are kept.

    Args:
        root: The folder; None is the default one.
        device: Its name after ``auto`` was resolved.
    """
    return CurveStore(root or default_root(), device)


def worker_count(device: str, workers: int | None) -> int:
    """Return how many processes train: as many as were asked for, else the default of a device."""
    return workers or ((os.cpu_count() or 1) if device == "cpu" else 1)


@contextmanager
def open_session(root: Path | None, device: str, workers: int | None) -> Iterator[Trainer]:
    """Yield the trainer of runs: the store, and the processes that train.

    Folders that are created and stay empty because of an error are removed.

    Args:
        root: The store's folder; None is the default one.
        device: Its name after ``auto`` was resolved.
        workers: How many processes there shall be. None takes one for each core; on a GPU one,
            whose runs share the device.

    Raises:
        RecordError: The store's folder cannot be created.
    """
    store, count = open_store(root, device), worker_count(device, workers)
    missing = missing_folders(store.root)
    try:
        _create(store.root)
        with worker_pool(count) as pool:
            yield LocalTrainer(store, pool, count)
    except BaseException:
        remove_empty(missing)
        raise


def _create(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot create {root}: {error.strerror}") from None
