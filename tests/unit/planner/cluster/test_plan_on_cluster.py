"""A plan that an executor's workers trained is that of this machine."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from own_tasks import write_own_task
from stand_in_workers import StandInWorkers, new_worker

from floss_sim.errors import ConfigError, DivergedError, FlossError
from floss_sim.methods.method_document import method_to_document
from planner import Request, dry_run, grid, plan
from planner.candidates import Candidate
from planner.cluster import cluster_trainer, dispatcher
from planner.cluster.parcel import unpack_parcel
from planner.execution.curve_store import CurveStore
from planner.plans.plan_file import plan_of
from planner.progress import Progress
from planner.report.plan_text import sentences
from planner.session import Workers


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    folder = tmp_path_factory.mktemp("own")
    return Request.of(
        str(write_own_task(folder, "gpt2", "text-classification", ["all"])), "lte",
        budget="3-dense-rounds", max_rounds=5, effort=1.0, reference_rank=2,
        candidates=grid([1, 2], [1.0], [1.0, 1 / 4]),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def worker_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_worker(tmp_path / "worker", monkeypatch)
    monkeypatch.setattr(dispatcher, "_TICK_S", 0.01)


def plain(made: Any) -> dict[str, Any]:
    return json.loads(json.dumps(made.to_json()))


def tables(store: Path) -> dict[str, Any]:
    """Return the tables of all runs, however their files are cut."""
    folders = sorted(path.parent for path in store.glob("*/run.json"))
    return {
        f"{folder.name} {kind}": pq.read_table(sorted(folder.glob(f"{kind}-*.parquet")))
        for folder in folders
        for kind in ("rounds", "transfers")
    }


def test_the_plan_of_an_executor_is_the_local_one(request_: Request, tmp_path: Path):
    local = plan(request_, store=tmp_path / "local", workers=1)
    seen: list[Progress] = []
    with ThreadPoolExecutor(1) as pool:
        far = plan(request_, store=tmp_path / "far", executor=pool, on_progress=seen.append)
    assert plain(far) == plain(local)
    assert tables(tmp_path / "far") == tables(tmp_path / "local")
    state = seen[-1].cluster
    assert state is not None
    assert (state.workers, state.retries, state.busy) == (1, 0, 0)
    assert state.received_bytes > state.sent_bytes > 0


def test_a_plan_goes_on_without_a_candidate_whose_calls_fail_and_says_so(
    request_: Request, tmp_path: Path
):
    poor = request_.candidates[-1]

    def is_poor(parcel: bytes) -> bool:
        runs = unpack_parcel(parcel)[0]["runs"]
        method = method_to_document(request_.config(poor).method)
        return any(run["config"]["rank"] == 2 and run["config"]["method"] == method for run in runs)

    workers = StandInWorkers(dies_of=is_poor)
    made = plan(request_, store=tmp_path, executor=workers.engine(), runs_per_worker=1)
    failed, *_ = made.effort["cluster"]["failed"]
    assert Candidate.of_settings(failed["candidate"]) == poor
    assert failed["reason"] == "a worker died (BrokenExecutor: killed)"
    said = next(line for line in sentences(made) if "failed on the workers, although" in line)
    assert "it did not diverge: a worker died" in said
    assert plan_of(plain(made), "plan").effort["cluster"] == made.effort["cluster"]


def test_a_search_whose_runs_all_fail_tells_why(request_: Request, tmp_path: Path):
    workers = StandInWorkers(dies_of=lambda parcel: unpack_parcel(parcel)[0]["kind"] == "train")
    with pytest.raises(FlossError, match=r"no run finished: \d+ failed .* a worker died") as told:
        plan(request_, store=tmp_path, executor=workers.engine())
    assert not isinstance(told.value, DivergedError)


def test_a_search_whose_models_nobody_can_test_leaves_the_best_plan_so_far(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As Ctrl-C does, where this machine lacks the workers' device."""

    def absent(device: str) -> str:
        raise ConfigError(f"device {device!r} is not available")

    seen: list[Progress] = []
    workers = StandInWorkers(dies_of=lambda parcel: unpack_parcel(parcel)[0]["kind"] == "test")
    with monkeypatch.context() as patch:
        patch.setattr(cluster_trainer, "resolve_device", absent)
        made = plan(request_, store=tmp_path, executor=workers.engine(), on_progress=seen.append)
    assert made.interrupted and made.recommendation.test is None
    assert sentences(made)[0].startswith("Interrupted: the best run so far.")
    (warning,) = {progress.warning for progress in seen if progress.warning}
    assert warning.startswith("no worker could test a model: a worker died (")
    assert plan_of(plain(made), "plan").interrupted
    again = plan(request_, store=tmp_path, executor=StandInWorkers().engine())
    assert again.effort["trained_now_rounds"] == 0
    assert not again.interrupted and again.recommendation.test
    assert again.recommendation.candidate == made.recommendation.candidate


def test_a_dry_run_measures_on_the_workers_and_keeps_nothing(request_: Request, tmp_path: Path):
    found = dry_run(request_, store=tmp_path / "new", executor=StandInWorkers().engine(3))
    assert (found.workers, found.measured) == (3, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"shared_store": True}, "--shared-store is for workers of a cluster"),
        ({"mix_machines": True}, "--mix-machines is for workers of a cluster"),
        ({"runs_per_worker": 0}, "0 runs a worker; there must be at least 1"),
        ({"count": 10**6}, "--workers 1000000: valid: 1 to"),
    ],
)
def test_options_of_workers_that_make_no_sense_are_refused(settings: dict, told: str):
    with pytest.raises(ConfigError, match=told):
        Workers("cpu", **settings).checked()


def test_a_store_that_only_a_refused_search_would_have_made_is_removed(
    request_: Request, tmp_path: Path
):
    with pytest.raises(ConfigError, match="device 'mps' is not available"):
        plan(request_, store=tmp_path / "new", device="mps", executor=StandInWorkers())
    assert not (tmp_path / "new").exists()
    assert CurveStore(tmp_path / "new", "cpu").find(request_.reference()) is None
