"""Dask engine: the workers of a scheduler that runs already.

The scheduler itself makes a call again whose worker has died, by default three times
(``distributed.scheduler.allowed-failures``). It cannot end a call that runs, and would send the
next one to the same worker: where a running call is given up, its worker is started anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from typing import Any

from floss_sim.errors import ConfigError
from planner.cluster.engine import Engine
from planner.cluster.engines.extras import ANSWER_S, check_address, check_count, extra

_PROTOCOLS = ("tcp://", "tls://")
_SAME = ("distributed", "dask", "cloudpickle")  # packages that must have one version everywhere
_RESTART_S = 3.0  # seconds until a worker that does not end by itself is killed
_LARGEST = "1GB"  # bytes of arguments from which Dask warns; a checkpoint and a backbone are large


@contextmanager
def open_dask(spec: str, workers: int | None = None) -> Iterator[Engine]:
    """Yield the engine of a Dask scheduler; after the block it has no call of ours.

    Args:
        spec: ``dask:tcp://HOST:PORT``; ``dask:tls://HOST:PORT`` with the keys of Dask's own
            configuration.
        workers: Number of calls at once; None: one for each worker process.

    Raises:
        ConfigError: Dask is not installed, no scheduler answers, it or a worker has another
            version, a worker has several threads, or there are fewer workers than asked.
    """
    with extra("dask", "Dask"):
        import dask
        import distributed
    address = spec.partition(":")[2]
    if not address.startswith(_PROTOCOLS):
        raise ConfigError(f"executor {spec}: valid is dask:tcp://HOST:PORT")
    check_address(address.partition("://")[2], "Dask scheduler")
    with (
        dask.config.set({"distributed.admin.large-graph-warning-threshold": _LARGEST}),
        _client(distributed, spec, address) as client,
    ):
        with suppress(TimeoutError):  # workers that have just been started anew
            client.wait_for_workers(1, timeout=ANSWER_S)
        check_versions(spec, client.get_versions())
        threads = client.nthreads()
        for worker, count in threads.items():
            if count > 1:
                raise ConfigError(
                    f"executor {spec}: the worker {worker} has {count} threads, and a run takes a "
                    "process; start workers with --nthreads 1, and as many as there are devices"
                )
        count = check_count(workers, len(threads), spec, "workers")
        executor = DaskExecutor(client)
        try:
            lost = (BrokenExecutor, CancelledError, distributed.KilledWorker)
            yield Engine(executor, count, spec, lost, cancel=executor.give_up)
        finally:
            executor.shutdown()


class DaskExecutor(Executor):
    """Executor whose calls are tasks of a scheduler.

    Args:
        client: A ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._tasks: dict[Future[Any], Any] = {}

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Submit a call."""
        future: Future[Any] = Future()
        task = self._client.submit(function, *arguments, pure=False, **named)
        self._tasks[future] = task
        task.add_done_callback(lambda done: self._tell(future, done))
        return future

    def _tell(self, future: Future[Any], task: Any) -> None:
        if self._tasks.pop(future, None) is None:  # given up
            return
        if task.status == "cancelled":  # the scheduler has ended
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        if task.status == "error":
            future.set_exception(task.exception())
            return
        try:
            future.set_result(task.result())
        except Exception as error:  # the worker died before it was asked for the result
            future.set_exception(error)

    def give_up(self, future: Future[Any]) -> None:
        """Cancel a call; the worker that answers it now is started anew, if it has a nanny."""
        task = self._tasks.pop(future, None)
        if task is None:
            return
        busy = [name for name, keys in self._client.processing().items() if task.key in keys]
        task.cancel()
        future.cancel()
        if busy:
            self._client.restart_workers(busy, timeout=_RESTART_S, raise_for_error=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give up all calls that are not answered.

        Args:
            wait: No difference.
            cancel_futures: No difference: no call outlives this executor.
        """
        for future in list(self._tasks):
            self.give_up(future)


@contextmanager
def _client(distributed: Any, spec: str, address: str) -> Iterator[Any]:
    """Yield a client of a scheduler.

    A client waits without limit for an address that accepts connections and is silent, so that the
    scheduler is asked who it is before.

    Raises:
        ConfigError: No scheduler answers.
    """
    try:
        asyncio.run(asyncio.wait_for(_identity(distributed, address), ANSWER_S))
        client = distributed.Client(address, timeout=ANSWER_S, set_as_default=False)
    except Exception:  # whatever another program answers
        raise ConfigError(
            f"executor {spec}: no Dask scheduler answers within {ANSWER_S:.0f} s"
        ) from None
    with client:
        yield client


async def _identity(distributed: Any, address: str) -> Any:
    """Return what a scheduler says of itself."""
    security = distributed.Security().get_connection_args("client")
    comm = await distributed.core.connect(address, timeout=ANSWER_S, **security)
    try:
        await comm.write({"op": "identity", "reply": True})
        return await comm.read()
    finally:
        comm.abort()


def check_versions(spec: str, versions: Mapping[str, Any]) -> None:
    """Raise ConfigError if scheduler or a worker has another version; both are named.

    Args:
        spec: Engine as the user gave it.
        versions: What ``Client.get_versions`` returns.
    """
    ours = versions["client"]["packages"]
    others = {"the scheduler": versions["scheduler"]} | {
        f"the worker {name}": found for name, found in versions["workers"].items()
    }
    for place, found in others.items():
        for package in ("python", *_SAME):
            theirs, mine = found["packages"][package], ours[package]
            if package == "python":
                theirs, mine = (".".join(text.split(".")[:2]) for text in (theirs, mine))
            if theirs != mine:
                raise ConfigError(
                    f"executor {spec}: {place} has {package} {theirs}, this process {mine}; "
                    "install the same version"
                )
