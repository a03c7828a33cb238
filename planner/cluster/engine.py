"""Engine: the executor of a cluster that is already there, and what is known of it.

An engine runs one function, :func:`planner.cluster.worker.answer`, of bytes and with a result in
bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Engine:
    """The executor of a cluster.

    Attributes:
        executor: Runs calls of ``planner.cluster.worker.answer``, a function of a module, of
            bytes and with a result in bytes.
        workers: Number of calls that run at once.
        name: Engine as the user gave it, such as ``"dask:tcp://127.0.0.1:8786"``.
        lost: Errors of a call whose worker died; the call is then made again elsewhere.
        cancel: Function that gives up a running call; None if the engine cannot.
        patience_s: Seconds without an answer, beyond those that a call may take, after which its
            worker counts as lost.
        queue_s: Seconds that a call may wait in a queue before; its future runs when it is over.
            0: there is no queue, or futures do not tell.
    """

    executor: Executor
    workers: int
    name: str
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    cancel: Callable[[Future[Any]], None] | None = None
    patience_s: float = 600.0
    queue_s: float = 0.0
