"""Choice between one process per core and one multi-threaded process, by measurement.

Which of them is faster depends on the model and on the machine. It is measured once, and the
decision is stored with the curves, because a curve is specific to a number of threads.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError

from floss_sim.errors import RecordError
from floss_sim.files import remove, remove_leftovers, write_atomically
from floss_sim.fingerprints import fingerprint
from floss_sim.protocol import NO_STATE
from floss_sim.runs.config import RunConfig
from floss_sim.training import open_learner
from planner.execution.workers import submit, wait_for_pool

FOLDER = "cores"
_CLEAR_RATIO = 1.1  # ratio of speeds; smaller differences are noise in one second
_MEASURED_S = 1.0  # seconds of each measurement


@dataclass(frozen=True)
class Parallelism:
    """Number of training processes, and number of torch threads in each."""

    workers: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]

    def describe(self) -> str:
        """Return the parallelism in words, such as ``2 processes of one thread``."""
        processes = "one process" if self.workers == 1 else f"{self.workers} processes"
        return f"{processes} of {'one thread' if self.threads == 1 else f'{self.threads} threads'}"


Speeds = Mapping[Parallelism, float]  # rounds a second
_ADAPTER = TypeAdapter(Parallelism)


def known_parallelism(root: Path, config: RunConfig, cores: int) -> Parallelism | None:
    """Return the stored decision for a run's model and a number of cores, or None.

    A file that cannot be read counts as missing. What killed processes have left is removed.
    """
    remove_leftovers(root / FOLDER)
    try:
        return _ADAPTER.validate_json(_decision_path(root, config, cores).read_bytes())
    except (OSError, ValidationError):
        return None


def prepare_folder(root: Path) -> None:
    """Create the folder of the decisions.

    Raises:
        RecordError: The folder cannot be created.
    """
    try:
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot create {root / FOLDER}: {error.strerror}") from None


def decide_parallelism(
    root: Path,
    config: RunConfig,
    cores: int,
    measure: Callable[[RunConfig, int], Speeds],
) -> Parallelism:
    """Measure which parallelism trains more rounds a second on a CPU, and store the decision.

    If another process is deciding at the same time, wait for its decision and return it.

    Args:
        root: Folder of the curve store.
        config: A run of the model.
        cores: Number of CPU cores.
        measure: Function of a run and a number of cores; returns rounds a second by parallelism.

    Raises:
        RecordError: The decision cannot be written.
        FlossError: The model cannot be trained.
    """
    prepare_folder(root)
    path = _decision_path(root, config, cores)
    lock = path.with_suffix(".lock")
    with FileLock(lock):
        if known := known_parallelism(root, config, cores):
            return known
        try:
            return _save_faster(path, measure(config, cores))
        except BaseException:
            remove(lock)  # nothing stays of a request that is refused
            raise


def _save_faster(path: Path, speeds: Speeds) -> Parallelism:
    """Store and return the faster parallelism; one process per core if both are about equal."""
    separate, together = sorted(speeds, key=lambda way: way.threads)
    best = together if speeds[together] > _CLEAR_RATIO * speeds[separate] else separate
    said = {way.describe(): round(speed, 2) for way, speed in speeds.items()}
    write_atomically(path, json.dumps({**asdict(best), "rounds_per_s": said}, indent=2))
    return best


def _decision_path(root: Path, config: RunConfig, cores: int) -> Path:
    """Return the decision's file, named by machine and model; rank and data do not matter."""
    task = config.task
    model = {
        "machine": platform.machine(),
        "cores": cores,
        "torch": version("torch"),
        "backbone": task.backbone_hash,
        "kind": task.kind,
        "preprocess": task.preprocess.model_dump(mode="json"),
        "client": config.client.model_dump(mode="json"),
        "cohort": config.server.cohort,
    }
    return root / FOLDER / f"{fingerprint(model)[:32]}.json"


def measure_speeds(config: RunConfig, cores: int, pool: Executor) -> Speeds:
    """Measure the rounds a second of one process per core and of one multi-threaded process.

    Each way trains for a second, after a first round that is not counted.

    Args:
        config: A run of the model.
        cores: Number of CPU cores.
        pool: Executor with one process per core, from
            :func:`planner.execution.workers.worker_pool`.

    Raises:
        FlossError: The model cannot be trained.
    """
    alone = [submit(pool, _rounds_per_s, config, 1, True) for _ in range(cores)]
    separate = sum(future.result() for future in alone)
    together = submit(pool, _rounds_per_s, config, cores, False).result()
    return {Parallelism(cores, 1): separate, Parallelism(1, cores): together}


def _rounds_per_s(config: RunConfig, threads: int, meeting: bool) -> float:
    """Return the rounds a second of one process.

    With ``meeting``, the process starts measuring when all processes of its pool are ready.
    """
    learner, rounds = open_learner(config, "cpu", threads), 0
    cohort = min(config.server.cohort, config.fleet.clients)

    def train() -> None:
        sent = [learner.dispatch(client, rounds * cohort + client) for client in range(cohort)]
        for dispatch in sent:
            learner.train(dispatch, NO_STATE)
            learner.forget(dispatch)

    train()
    if meeting:
        wait_for_pool()
    began = time.monotonic()
    while rounds == 0 or time.monotonic() - began < _MEASURED_S:
        rounds += 1
        train()
    return rounds / (time.monotonic() - began)
