"""Spawned processes that end with their parent from their first line on, and their semaphores.

A spawned process imports for a second or more before it runs its initializer. So a thread that
waits for the parent's end starts before any import: the parent holds the other end of the pipe
through which it sends the process its work.

A semaphore has a name in ``/dev/shm`` until its process ends. ``kill -9`` of a whole process group
leaves the name behind, so names tell their process, and the next start removes those of processes
that have ended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import context, process, spawn
from pathlib import Path
from typing import Any

_SHM = Path("/dev/shm")  # noqa: S108 (where Linux keeps named semaphores)
_NAME = "floss-sim"  # start of the names of our semaphores
# First line of a spawned process. {fd} is its end of the pipe; poll tells that the other is gone.
_WATCH = (
    "import os, select, threading; "
    "parent = select.poll(); parent.register(os.dup({fd}), 0); "
    "threading.Thread(target=lambda: (parent.poll(), os._exit(1)), daemon=True).start(); "
)


class WatchedContext(context.SpawnContext):
    """The spawn context of multiprocessing, whose processes end with their parent."""

    if sys.platform != "win32":

        class Process(context.SpawnProcess):
            """A spawned process that ends with its parent, also while it still imports."""

            @staticmethod
            def _Popen(process_obj: Any) -> Any:  # noqa: N802 (the name in multiprocessing)
                with _watching_command_line():
                    return context.SpawnProcess._Popen(process_obj)


@contextmanager
def _watching_command_line() -> Iterator[None]:
    """Let processes that start in the block watch their parent before they import anything."""
    plain = spawn.get_command_line

    def watching(**kinds: Any) -> list[str]:
        words = plain(**kinds)
        if "-c" in words:  # not in a frozen program
            place = words.index("-c") + 1
            words[place] = _WATCH.format(fd=kinds["pipe_handle"]) + words[place]
        return words

    spawn.get_command_line = watching
    try:
        yield
    finally:
        spawn.get_command_line = plain


@contextmanager
def owned_semaphores() -> Iterator[None]:
    """Name the semaphores made in the block after this process; remove those of ended ones."""
    mark = _process_mark(os.getpid()) if _SHM.is_dir() else None
    if mark is None:  # not Linux
        yield
        return
    remove_leftovers()
    config: dict[str, Any] = process.current_process()._config  # type: ignore[attr-defined]
    before = config["semprefix"]
    config["semprefix"] = f"/{_NAME}-{mark}"
    try:
        yield
    finally:
        config["semprefix"] = before


def remove_leftovers() -> list[str]:
    """Remove the semaphores of processes of this PID namespace that have ended; return the names.

    Semaphores of other users and of other namespaces (containers) stay.
    """
    removed = []
    for path in _SHM.glob(f"sem.{_NAME}-*"):
        namespace, _, rest = path.name.removeprefix(f"sem.{_NAME}-").partition("-")
        pid = rest.partition("-")[0]
        if not pid.isdigit() or namespace != _namespace():
            continue
        if path.name.startswith(f"sem.{_NAME}-{_process_mark(int(pid))}-"):
            continue  # its process runs
        with suppress(OSError):  # another user's, or removed at this moment
            if path.stat().st_uid == os.getuid():
                path.unlink()
                removed.append(path.name)
    return removed


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def _process_mark(pid: int) -> str | None:
    """Return namespace, number and start time of a running process; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        state, *fields = stat.rpartition(")")[2].split()
        started = fields[18]  # field 22 of proc(5)
        return None if state in "ZX" else f"{_namespace()}-{pid}-{started}"
    except (OSError, IndexError):
        return None
