"""Parsl engine: an executor of Parsl that a TOML file describes.

Parsl's own configurations are Python programs. A file is read here, never run; a program belongs
into ``module:function``, which may return a ``parsl.concurrent.ParslPoolExecutor``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from floss_sim import documents
from floss_sim.documents import OneFullLine, Section
from floss_sim.errors import ConfigError
from planner.cluster.engine import Engine
from planner.cluster.engines.extras import check_count, extra

_LABEL = "floss-sim"
# Shell line that ends the group of a worker's processes once their coordinator has been killed.
_WATCH = "(while kill -0 {pid} 2>/dev/null; do sleep 5; done; kill -KILL 0) &"
_HEARTBEAT_S, _SILENCE_S = 5, 30  # seconds: period of signs of life, and without one until a loss
# Seconds. A process that is killed while it waits for a call keeps the lock of Parsl's queue: the
# others then get no call, and only the patience for an answer ends the waiting.
_PATIENCE_S = 120.0


class ParslFile(Section):
    """An executor of Parsl.

    Attributes:
        executor: ``processes`` of this machine (Parsl's HighThroughputExecutor), or ``threads``
            of this process.
        workers: Number of workers, one call each at a time.
        gpus: Number of GPUs; each worker sees one of them. 0: none.
        address: Address of this machine at which processes find their coordinator.
    """

    executor: Literal["processes", "threads"]
    workers: Annotated[int, Field(ge=1)]
    gpus: Annotated[int, Field(ge=0)] = 0
    address: OneFullLine = "127.0.0.1"


@contextmanager
def open_parsl(spec: str, workers: int | None = None) -> Iterator[Engine]:
    """Yield the engine of a file; its workers end with the block.

    Args:
        spec: ``parsl:FILE``, a TOML file with the keys of :class:`ParslFile`.
        workers: Number of calls at once; None: one for each worker of the file.

    Raises:
        ConfigError: The file cannot be read, Parsl is not installed, or there are fewer workers
            than asked, or fewer GPUs than workers.
    """
    path = Path(spec.partition(":")[2]).expanduser()
    given = documents.read(path, ParslFile, ConfigError)
    if given.gpus and given.gpus < given.workers:
        raise ConfigError(f"{path}: {given.workers} workers need as many GPUs, not {given.gpus}")
    if given.gpus and given.executor == "threads":
        raise ConfigError(f"{path}: threads share their devices; gpus needs processes")
    count = check_count(workers, given.workers, spec, "workers")
    with extra("parsl", "Parsl"):
        import parsl
        from parsl.concurrent import ParslPoolExecutor
        from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
    with tempfile.TemporaryDirectory(prefix="floss-sim-parsl-") as folder, _scripts_on_path():
        config = parsl.Config(
            executors=[_executor(given)],
            run_dir=folder,
            strategy="none",
            initialize_logging=False,
        )
        with parsl.DataFlowKernel(config) as kernel:
            calls = _Calls(ParslPoolExecutor(dfk=kernel))
            lost = (BrokenExecutor, WorkerLost, ManagerLost)
            if given.executor == "threads":
                yield Engine(calls, count, spec, lost)
            else:
                anew = partial(_start_anew, kernel.executors[_LABEL])
                yield Engine(calls, count, spec, lost, anew, _PATIENCE_S)


def _start_anew(executor: Any, future: Future[Any]) -> None:
    """Start all processes anew, since one does not answer a call; the others' calls are lost."""
    executor.scale_in_facade(1)
    executor.scale_out_facade(1)


class _Calls(Executor):
    """Executor whose futures can be cancelled, as those of Parsl cannot; their calls run on."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Submit a call."""
        future: Future[Any] = Future()

        def tell(done: Future[Any]) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(done.result())

        self._pool.submit(function, *arguments, **named).add_done_callback(tell)
        return future


def _executor(given: ParslFile) -> Any:
    from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
    from parsl.providers import LocalProvider

    if given.executor == "threads":
        return ThreadPoolExecutor(label=_LABEL, max_threads=given.workers)
    return HighThroughputExecutor(
        label=_LABEL,
        address=given.address,
        max_workers_per_node=given.workers,
        cores_per_worker=1e-3,  # the file says how many workers, not the number of cores
        available_accelerators=given.gpus,
        heartbeat_period=_HEARTBEAT_S,
        heartbeat_threshold=_SILENCE_S,
        provider=LocalProvider(
            worker_init=_WATCH.format(pid=os.getpid()), init_blocks=1, min_blocks=1, max_blocks=1
        ),
    )


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """Let Parsl find its scripts beside this interpreter, whether or not it is on the path."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
