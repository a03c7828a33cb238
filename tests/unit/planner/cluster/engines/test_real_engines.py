"""Real engines on loopback: plans are those of this process, whoever trains and whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dask_processes import dask_processes

from floss_sim.errors import ConfigError
from floss_sim.records import RunFolder
from planner import Request, grid, plan
from planner.progress import Progress
from planner.report.reported_plan import ReportedPlan

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs kill -9")


ANOTHER = """
import json, sys, test_real_engines as own
from planner import plan
made = plan(own.small_request(), store=sys.argv[1], executor=sys.argv[2], workers=1)
json.dump(made.to_json(), sys.stdout)
"""


def small_request(rounds: int = 5) -> Request:
    """Return a search of some rounds."""
    return Request.of(
        "digits", "lte", budget=f"{rounds - 2}-dense-rounds", max_rounds=rounds, effort=1,
        candidates=grid([1, 2], [1.0], [1 / 4]), reference_rank=2, lr_test=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def request_() -> Request:
    return small_request()


@pytest.fixture(scope="module")
def here(request_: Request, tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportedPlan, Path]:
    """The plan that this process trains, and its store."""
    store = tmp_path_factory.mktemp("here")
    return plan(request_, store=store, workers=1), store


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("distributed", reason="needs Dask: pip install 'floss-sim[dask]'")
    with dask_processes(tmp_path_factory.mktemp("dask")) as address:
        yield address


def content(made: dict[str, Any]) -> dict[str, Any]:
    """Return a plan's file without what tells how much was trained now."""
    effort = {k: v for k, v in made["effort"].items() if not k.startswith("trained_now_")}
    told: dict[str, Any] = json.loads(json.dumps({**made, "effort": effort}))
    return told


def runs_of(store: Path) -> dict[str, RunFolder]:
    return {path.parent.name: RunFolder.read(path.parent) for path in store.glob("*/manifest.json")}


def check_same(made: ReportedPlan, store: Path, here: tuple[ReportedPlan, Path]) -> None:
    assert content(made.to_json()) == content(here[0].to_json())
    wanted, found = runs_of(here[1]), runs_of(store)
    assert wanted.keys() == found.keys()
    for name, run in wanted.items():
        assert found[name].record().rounds.equals(run.record().rounds)
        assert found[name].record().transfers.equals(run.record().transfers)


def once_busy(act: Callable[[], object]) -> Callable[[Progress], None]:
    """Return a listener that acts at the first progress with a call under way."""
    acted = []

    def listen(progress: Progress) -> None:
        if progress.cluster is not None and progress.cluster.busy and not acted:
            acted.append(act())

    return listen


class TestDask:
    """A scheduler and two workers, each a process with a folder of its own."""

    def test_a_worker_that_dies_changes_no_bit(
        self, scheduler: str, request_: Request, here: tuple[ReportedPlan, Path], tmp_path: Path
    ):
        def kill_a_busy_worker() -> None:
            import distributed

            with distributed.Client(scheduler, set_as_default=False) as client:
                pids = client.run(os.getpid)
                busy = [name for name, keys in client.processing().items() if keys]
                os.kill(pids[busy[0]], signal.SIGKILL)
                killed.append(busy[0])

        killed: list[str] = []
        listen = once_busy(kill_a_busy_worker)
        made = plan(request_, store=tmp_path, executor=f"dask:{scheduler}", on_progress=listen)
        assert killed
        check_same(made, tmp_path, here)

    def test_two_coordinators_share_a_store(
        self, scheduler: str, request_: Request, here: tuple[ReportedPlan, Path], tmp_path: Path
    ):
        executor = f"dask:{scheduler}"
        paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        command = [sys.executable, "-c", ANOTHER, str(tmp_path), executor]
        environment = {**os.environ, "PYTHONPATH": paths}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as other:
            made = plan(request_, store=tmp_path, executor=executor, workers=1)
            said = other.communicate(timeout=120)[0]
        check_same(made, tmp_path, here)
        others = json.loads(said)
        assert content(others) == content(here[0].to_json())
        trained = [found["effort"]["trained_now_rounds"] for found in (made.to_json(), others)]
        assert sum(trained) == here[0].effort["trained_now_rounds"]  # none is trained twice

    def test_ctrl_c_leaves_no_call_behind(self, scheduler: str, tmp_path: Path):
        import distributed

        def interrupt() -> None:
            interrupted.append(True)
            raise KeyboardInterrupt

        interrupted: list[bool] = []
        listen = once_busy(interrupt)
        with suppress(KeyboardInterrupt):  # if no run has finished by then
            long = small_request(200)  # calls of seconds, so that one is seen under way
            made = plan(long, store=tmp_path, executor=f"dask:{scheduler}", on_progress=listen)
            assert made.interrupted
        assert interrupted
        with distributed.Client(scheduler, set_as_default=False) as client:
            assert not any(client.processing().values())

    def test_fewer_workers_than_asked(self, scheduler: str, request_: Request, tmp_path: Path):
        with pytest.raises(ConfigError, match=r"has [12] workers, fewer than the 3 asked for"):
            plan(request_, store=tmp_path / "new", executor=f"dask:{scheduler}", workers=3)
        assert not (tmp_path / "new").exists()


def test_a_job_of_submitit_that_dies_changes_no_bit(
    request_: Request, here: tuple[ReportedPlan, Path], tmp_path: Path
):
    pytest.importorskip("submitit", reason="needs submitit: pip install 'floss-sim[slurm]'")

    def kill_the_job() -> None:
        while not (found := jobs_of(tmp_path / "jobs")):
            time.sleep(0.05)
        os.kill(found[0], signal.SIGKILL)
        killed.append(found[0])

    killed: list[int] = []
    made = plan(
        request_, store=tmp_path / "store", workers=1, on_progress=once_busy(kill_the_job),
        executor=f"slurm:local=true,folder={tmp_path / 'jobs'}",
    )  # fmt: skip
    assert killed
    check_same(made, tmp_path / "store", here)
    assert not jobs_of(tmp_path / "jobs")
    assert not list((tmp_path / "jobs").iterdir())


def jobs_of(folder: Path) -> list[int]:
    """Return the processes that serve a worker's folder."""
    words = ["pgrep", "-f", f"submitit.core._submit {folder}"]
    found = subprocess.run(words, capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]
