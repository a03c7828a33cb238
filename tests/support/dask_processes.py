"""A Dask scheduler and workers as processes on loopback, each worker with a folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_S = 60.0


@contextmanager
def dask_processes(folder: Path, workers: int = 2) -> Iterator[str]:
    """Yield the address of a scheduler with that many workers; all end with the block.

    Args:
        folder: Folder of the workers' folders and of logs.
        workers: Number of workers, of one thread each.
    """
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    started = [_start("scheduler", folder, [*common, "--port", str(port)])]
    try:
        _wait_for(port)
        for number in range(workers):
            own = folder / f"worker-{number}"
            options = [address, *common, "--nthreads", "1", "--memory-limit", "0"]
            started.append(_start("worker", own, [*options, "--local-directory", str(own)]))
        _wait_for_workers(address, workers)
        yield address
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)  # a nanny with its worker
            process.wait()


def _start(kind: str, folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    own = {"FLOSS_SIM_WORKER": str(folder / "floss"), "FLOSS_SIM_STORE": str(folder / "no-store")}
    with (folder / f"{kind}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options],
            stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
            env={**os.environ, **own, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end_s, "the scheduler does not start"
            time.sleep(0.05)


def _wait_for_workers(address: str, workers: int) -> None:
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=_START_S)
