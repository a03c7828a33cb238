"""Spawned processes end with their parent at any moment; their semaphores are removed later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext
from multiprocessing import process
from pathlib import Path

import pytest

from floss_sim.errors import ConfigError
from floss_sim.plain_text import plain_warnings
from planner.execution.spawned import owned_semaphores, remove_leftovers
from planner.execution.workers import most_workers, submit, worker_pool

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs Linux")  # noqa: S108
SHM = Path("/dev/shm")  # noqa: S108
PROGRAM = """
import time
from planner.execution.workers import submit, worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        waiting = [submit(pool, time.sleep, 600) for _ in range(2)]
        print("started", flush=True)
        time.sleep(600)
elif {slow}:
    time.sleep(600)  # as an import that never ends
"""


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def semaphores(pid: int) -> list[str]:
    return [path.name for path in SHM.glob("sem.floss-sim-*") if f"-{pid}-" in path.name]


@pytest.mark.parametrize("group", [False, True])
def test_a_kill_while_workers_import_leaves_nothing(tmp_path: Path, group: bool):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(slow=True))
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, start_new_session=True,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as parent:  # fmt: skip
        try:
            assert parent.stdout.readline() == b"started\n"
            end = time.monotonic() + 20  # the workers are in their endless import
            while len(workers := children(parent.pid)) < 3 and time.monotonic() < end:
                time.sleep(0.1)
            assert len(workers) == 3  # two, and multiprocessing's tracker of resources
            assert semaphores(parent.pid)
            remove_leftovers()
            assert semaphores(parent.pid)  # those of a running process stay
        finally:
            (os.killpg if group else os.kill)(parent.pid, signal.SIGKILL)
            parent.wait()
    deadline = time.monotonic() + 10
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "a process outlives its parent"
        time.sleep(0.02)
    with owned_semaphores():  # the next start
        assert semaphores(parent.pid) == []


def test_names_of_others_stay():
    others = [SHM / f"sem.floss-sim-{name}" for name in ("1-999999999-5-x", "x", "1-x-5", "")]
    others.append(SHM / "sem.mp-floss-sim-test")
    try:
        for path in others:
            path.touch()
        remove_leftovers()
        assert all(path.exists() for path in others)
    finally:
        for path in others:
            path.unlink(missing_ok=True)


def test_the_prefix_is_ours_only_within_the_block():
    before = process.current_process()._config["semprefix"]
    with owned_semaphores():
        assert f"-{os.getpid()}-" in process.current_process()._config["semprefix"]
    assert process.current_process()._config["semprefix"] == before


def test_more_processes_than_are_of_use_are_refused():
    with pytest.raises(ConfigError, match="valid: 1 to"), worker_pool(most_workers() + 1):
        pass


def test_a_worker_ends_with_its_work_and_tears_nothing_down(tmp_path: Path):
    """What is registered for the end of a process is called; no object of a module is deleted."""
    ended, torn_down = tmp_path / "ended", tmp_path / "torn_down"
    code = f"""
import atexit, pathlib, sys
class Mark:
    touch = pathlib.Path({str(torn_down)!r}).touch
    def __del__(self):
        self.touch()
sys.modules["mark_of_the_end"] = Mark()
atexit.register(pathlib.Path({str(ended)!r}).touch)
"""
    with worker_pool(1) as pool:
        pool.submit(exec, code, {}).result(timeout=120)
    assert ended.exists()
    assert not torn_down.exists()


@pytest.mark.parametrize("plain", [True, False])
def test_workers_show_warnings_as_their_parent_does(capfd, plain: bool):
    with plain_warnings() if plain else nullcontext(), worker_pool(1) as pool:
        submit(pool, warnings.warn, "batching changes bits", RuntimeWarning).result()
    err = capfd.readouterr().err
    line = "warning: batching changes bits\n"
    assert (err == line) if plain else ("RuntimeWarning: batching changes bits" in err)
