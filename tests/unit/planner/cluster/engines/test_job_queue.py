"""Executor over files: its jobs are threads here, and end when they are told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floss_sim.errors import FlossError
from planner.cluster.engines import mailbox
from planner.cluster.engines.job_queue import LostJobError, QueueExecutor

POLL_S = 0.005


class Threads:
    """A queue of threads. A job that is cancelled ends once its call has ended."""

    def __init__(self, begin: Callable[[Path, Callable], object] | None = None) -> None:
        self.begin = begin or (lambda folder, f: mailbox.serve(folder, f, POLL_S))
        self.jobs: dict[str, threading.Thread] = {}
        self.dead: set[str] = set()

    def start(self, folder: Path, function: Callable[[bytes], bytes]) -> str:
        name = str(len(self.jobs) + 1)
        self.jobs[name] = threading.Thread(target=self.begin, args=(folder, function), daemon=True)
        self.jobs[name].start()
        return name

    def alive(self) -> set[str]:
        return {name for name, job in self.jobs.items() if job.is_alive()} - self.dead

    def cancel(self, job: str) -> None:
        self.dead.add(job)

    def last_line(self, job: str) -> str:
        return "out of memory"


waits = threading.Event()


def turn(call: bytes) -> bytes:
    if call == b"raise":
        raise ValueError("no")
    if call == b"wait":
        assert waits.wait(20)
    return call[::-1]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[QueueExecutor, Threads]]:
    waits.clear()
    queue = Threads()
    executor = QueueExecutor(queue, tmp_path, 2, POLL_S)
    yield executor, queue
    waits.set()
    executor.shutdown()
    assert not tmp_path.exists()


def test_calls_are_answered_by_as_many_jobs_as_there_may_be(
    opened: tuple[QueueExecutor, Threads],
):
    executor, queue = opened
    texts = [b"call %d" % number for number in range(20)]
    calls = [executor.submit(turn, text) for text in texts]
    assert [call.result(20) for call in calls] == [text[::-1] for text in texts]
    assert len(queue.jobs) <= 2
    with pytest.raises(FlossError, match="ValueError: no"):
        executor.submit(turn, b"raise").result(20)
    with pytest.raises(ValueError, match="one function"):
        executor.submit(len, b"")


def test_a_call_whose_job_ends_is_lost_and_the_next_has_a_new_job(
    opened: tuple[QueueExecutor, Threads],
):
    executor, queue = opened
    call = executor.submit(turn, b"wait")
    while not call.running():
        time.sleep(POLL_S)
    queue.cancel("1")
    with pytest.raises(LostJobError, match="job 1 has ended: out of memory"):
        call.result(20)
    assert executor.submit(turn, b"ab").result(20) == b"ba"
    assert list(queue.jobs) == ["1", "2"]


def test_a_running_call_that_is_given_up_ends_its_job(opened: tuple[QueueExecutor, Threads]):
    executor, queue = opened
    call = executor.submit(turn, b"wait")
    while not call.running():
        time.sleep(POLL_S)
    executor.give_up(call)
    assert isinstance(call.exception(20), LostJobError)
    assert queue.dead == {"1"}


def test_jobs_that_end_before_they_are_ready_lose_all_calls(tmp_path: Path):
    queue = Threads(lambda folder, function: None)
    executor = QueueExecutor(queue, tmp_path, 2, POLL_S)
    calls = [executor.submit(turn, b"a") for _ in range(5)]
    assert all(isinstance(call.exception(20), LostJobError) for call in calls)
    executor.shutdown()


def test_a_worker_without_a_coordinator_ends(tmp_path: Path):
    (tmp_path / mailbox.ANSWERS).mkdir()
    folder = tmp_path / f"{mailbox.WORKER}000001"
    folder.mkdir()
    seconds = iter(range(0, 10_000, 50))
    assert mailbox.serve(folder, turn, 0.0, clock=lambda: float(next(seconds))) == 0


def test_a_queue_that_takes_no_job_ends_the_calls(tmp_path: Path):
    class Closed(Threads):
        def start(self, folder: Path, function: Callable[[bytes], bytes]) -> str:
            raise RuntimeError("sbatch: error\ninvalid partition specified: x")

    executor = QueueExecutor(Closed(), tmp_path, 2, POLL_S)
    with pytest.raises(FlossError, match="the queue takes no job: invalid partition"):
        executor.submit(turn, b"a").result(20)
    executor.shutdown()
