"""Worker processes of a cluster: those that inherited a mark and have loaded torch."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clusters import MARK

_LOOK_S = 0.25


def marked_pids(mark: str) -> list[int]:
    """Return the processes with a mark in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return found


@contextmanager
def processor_seconds(mark: str) -> Iterator[list[float]]:
    """Yield a list that gets the processor seconds of all marked processes in the block.

    This process is left out. Of a process that ends, up to half a second is missed.
    """
    before = {pid: _ticks(pid) for pid in marked_pids(mark)}
    seen, told, ended = dict(before), list[float](), threading.Event()

    def look() -> None:
        for pid in marked_pids(mark):
            seen[pid] = max(seen.get(pid, 0), _ticks(pid))

    def run() -> None:
        while not ended.wait(2 * _LOOK_S):
            look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        thread.join()
        look()
        used = [ticks - before.get(pid, 0) for pid, ticks in seen.items() if pid != os.getpid()]
        told.append(sum(used) / os.sysconf("SC_CLK_TCK"))


def worker_pids(mark: str, without: int) -> list[int]:
    """Return the processes with a mark in their environment that have loaded torch.

    Args:
        mark: Value of the environment variable ``MARK``.
        without: Process that is none of them, the coordinator.
    """
    found = []
    for pid in marked_pids(mark):
        with suppress(OSError):
            if pid != without and b"libtorch_cpu" in Path(f"/proc/{pid}/maps").read_bytes():
                found.append(pid)
    return sorted(found)


@contextmanager
def killing(mark: str, coordinator: int, every_s: float, seed: int = 0) -> Iterator[list[int]]:
    """Kill a random worker every so many seconds in the block; yield the list of the killed.

    Args:
        mark: Mark of the cluster.
        coordinator: Process that is spared.
        every_s: Seconds between two kills.
        seed: Seed of the choice.
    """
    draw, ended, killed = random.Random(seed), threading.Event(), list[int]()  # noqa: S311

    def run() -> None:
        while not ended.wait(every_s):
            while not (found := worker_pids(mark, coordinator)):
                if ended.wait(_LOOK_S):
                    return
            chosen = draw.choice(found)
            with suppress(ProcessLookupError):
                os.kill(chosen, signal.SIGKILL)
                killed.append(chosen)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def busy_pids(mark: str, seconds: float = 2.0) -> list[int]:
    """Return the worker processes that use the processor during some seconds."""
    before = {pid: _ticks(pid) for pid in worker_pids(mark, os.getpid())}
    time.sleep(seconds)
    most = 0.2 * seconds * os.sysconf("SC_CLK_TCK")
    return [pid for pid, ticks in before.items() if _ticks(pid) - ticks > most]


def _ticks(pid: int) -> int:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0
