"""A planning session: the store where curves are kept, and what trains.

On a CPU there is one process of one thread for each core. One process of many threads was never
faster: on two cores it trained at 0.47 (digits), 0.85 (a ViT of width 384) and 0.92 (ViT-B at 224)
of the speed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from floss_sim.errors import ConfigError, RecordError
from floss_sim.files import missing_folders, remove_empty
from floss_sim.training import resolve_device
from planner.cluster.cluster_trainer import ClusterTrainer
from planner.cluster.engine import Engine
from planner.cluster.engines import open_engine
from planner.cluster.engines.own_executor import engine_of
from planner.cluster.worker_check import check_workers
from planner.execution.curve_store import CurveStore, default_root
from planner.execution.own_runs import root_of_measure
from planner.execution.trainer import LocalTrainer, Trainer
from planner.execution.workers import most_workers, too_many_workers, worker_pool

LOCAL = "local"  # executor of this machine


@dataclass(frozen=True)
class Workers:
    """What trains, as it is asked for.

    Attributes:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        count: Calls that run at once: training processes of this machine, or workers of a cluster;
            None: one for each core, on a GPU one, on a cluster as many as its engine tells.
        executor: ``"local"``, the text that names an engine, an engine, or an executor.
        runs_per_worker: Runs that a worker trains side by side, at most; None: by the device.
        shared_store: Whether a cluster's workers reach the store's folder.
        mix_machines: Whether a begun run may continue on a machine of another type.
    """

    device: str = "auto"
    count: int | None = None
    executor: str | Executor | Engine = LOCAL
    runs_per_worker: int | None = None
    shared_store: bool = False
    mix_machines: bool = False

    @property
    def is_local(self) -> bool:
        """Whether processes of this machine train."""
        return self.executor == LOCAL

    def checked(self) -> Workers:
        """Return the value after a check; the device of this machine is resolved.

        Raises:
            ConfigError: A number is below 1, the device is not available on this machine, or an
                option is one of a cluster alone.
        """
        for name, number in (("workers", self.count), ("runs a worker", self.runs_per_worker)):
            if number is not None and number < 1:
                raise ConfigError(f"{number} {name}; there must be at least 1")
        if self.is_local and (self.count or 1) > most_workers():
            raise too_many_workers(self.count or 1)
        if self.is_local and (self.shared_store or self.mix_machines):
            option = "--shared-store" if self.shared_store else "--mix-machines"
            raise ConfigError(f"{option} is for workers of a cluster: name it with --executor")
        return replace(self, device=resolve_device(self.device)) if self.is_local else self


def open_store(root: Path | None, device: str, *, own: bool = False) -> CurveStore:
    """Return where curves are kept.

    Args:
        root: The folder; None is the default one.
        device: Its name after ``auto`` was resolved.
        own: Whether the accuracies are those of the clients' own models.
    """
    return CurveStore(root_of_measure(root or default_root(), own=own), device, own=own)


def worker_count(device: str, workers: int | None) -> int:
    """Return how many processes train: as many as were asked for, else the default of a device."""
    return workers or ((os.cpu_count() or 1) if device == "cpu" else 1)


@contextmanager
def open_session(root: Path | None, workers: Workers, *, own: bool = False) -> Iterator[Trainer]:
    """Yield the trainer of runs, with its store.

    Folders that are created and stay empty because of an error are removed.

    Args:
        root: The store's folder; None is the default one.
        workers: What trains.
        own: Whether the accuracies are those of the clients' own models.

    Raises:
        RecordError: The store's folder cannot be created.
        ConfigError: The device or the engine is not available, or a worker has other versions.
    """
    folder = root_of_measure(root or default_root(), own=own)
    missing = missing_folders(folder)
    try:
        _create(folder)
        with open_trainer(root, workers, own=own) as trainer:
            yield trainer
    except BaseException:
        remove_empty(missing)
        raise


@contextmanager
def open_trainer(root: Path | None, workers: Workers, *, own: bool = False) -> Iterator[Trainer]:
    """Yield the trainer of runs; the store's folder is not created. Arguments and errors as above.

    Raises:
        ConfigError: The device or the engine is not available, or a worker has other versions.
    """
    if workers.is_local:
        store, count = (
            open_store(root, workers.device, own=own),
            worker_count(workers.device, workers.count),
        )
        with worker_pool(count) as pool:
            yield LocalTrainer(store, pool, count, workers.runs_per_worker)
        return
    with _engine(workers) as engine:
        device = check_workers(engine, workers.device).device
        trainer = ClusterTrainer(
            open_store(root, device, own=own),
            engine,
            runs_per_worker=workers.runs_per_worker,
            mix_machines=workers.mix_machines,
            shared_store=workers.shared_store,
        )
        with trainer:
            yield trainer


def _engine(workers: Workers) -> Any:
    """Return a context manager of the engine; an engine or executor that is given stays open."""
    if isinstance(workers.executor, str):
        return open_engine(workers.executor, workers.count, workers.device)
    if isinstance(workers.executor, Engine):
        return nullcontext(workers.executor)
    return nullcontext(engine_of(workers.executor, workers.count))


def _create(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot create {root}: {error.strerror}") from None
