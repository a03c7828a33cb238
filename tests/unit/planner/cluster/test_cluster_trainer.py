"""Runs trained on a cluster are those of this machine, whatever becomes of calls and workers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_tasks import write_own_task
from safetensors.numpy import load, save
from stand_in_workers import DIES, SILENT, StandInWorkers, new_worker, nothing

from floss_sim import RunConfig, dense, floss, load_task
from floss_sim.errors import ConfigError, FlossError
from floss_sim.methods import fedsa_lora
from floss_sim.records.checkpoint import identity_in
from floss_sim.records.host_notes import machines
from floss_sim.records.on_test import pack_own
from floss_sim.records.run_part import RunPart
from floss_sim.training.machine_type import machine_type
from planner.cluster import dispatcher, training_call, versions, worker, worker_check
from planner.cluster.cluster_trainer import ClusterTrainer
from planner.cluster.parcel import ParcelError, pack_parcel, unpack_parcel
from planner.cluster.part_check import check_own_tests
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.trainer import extend_all

ROUNDS = 7


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_own_task(folder, "gpt2", "text-classification", ["all"])
    return folder


@pytest.fixture(scope="module")
def configs(task_folder: Path) -> list[RunConfig]:
    task = load_task(str(task_folder / "own.toml"))
    return [RunConfig.of(task, floss(1 / 4, up), rank=rank) for rank, up in ((2, 1.0), (4, 0.25))]


@pytest.fixture(scope="module")
def local(configs: list[RunConfig], tmp_path_factory: pytest.TempPathFactory) -> CurveStore:
    store = CurveStore(tmp_path_factory.mktemp("local"), "cpu")
    extend_all(store, [(config, ROUNDS) for config in configs])
    return store


class StoreOfOneEvaluation(CurveStore):
    """Store whose runs are trained up to their next evaluation, as in slices of few seconds."""

    def extend_all(self, jobs, until_s=math.inf):
        return super().extend_all([(c, self._next(c, rounds)) for c, rounds in jobs], until_s)

    def _next(self, config: RunConfig, rounds: int) -> int:
        held = self.rounds(config)
        ends = (n for n in range(held + 1, rounds) if last_evaluated_round(n) == n)
        return next(ends, rounds)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CurveStore:
    new_worker(tmp_path / "worker", monkeypatch)
    monkeypatch.setattr(dispatcher, "_TICK_S", 0.01)
    monkeypatch.setattr(worker, "CurveStore", StoreOfOneEvaluation)
    return CurveStore(tmp_path / "far", "cpu")


def trained(store: CurveStore, configs: list[RunConfig], engine, **settings) -> list[int | None]:
    with ClusterTrainer(store, engine, **settings) as trainer:
        return trainer.train([(config, ROUNDS) for config in configs], lambda: None)


def assert_same(local: CurveStore, far: CurveStore, configs: list[RunConfig]) -> None:
    for config in configs:
        one, other = (store.folder(config) for store in (local, far))
        assert one.record().rounds.equals(other.record().rounds)
        assert one.record().transfers.equals(other.record().transfers)
        assert list(one.manifest().models) == list(other.manifest().models)
        for number in one.manifest().models:
            assert one.model(number) == other.model(number)
        other.check(anew=True)


def kinds_of(parcels: list[bytes]) -> list[set[str]]:
    return [{name.partition(".")[0] for name in unpack_parcel(parcel)[1]} for parcel in parcels]


@pytest.mark.parametrize("runs_per_worker", [1, 2])
def test_a_worker_gets_task_and_backbone_once_and_trains_the_same_runs(
    runs_per_worker: int, local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    workers = StandInWorkers()
    engine = workers.engine()
    assert trained(far, configs, engine, runs_per_worker=runs_per_worker) == [ROUNDS] * 2
    assert_same(local, far, configs)
    sent = kinds_of(workers.parcels)
    assert sent[:3] == [set(), {"backbone"}, {"backbone", "data"}]
    assert len(sent) == 2 + (5 if runs_per_worker == 2 else 10)
    assert not any(kinds & {"data", "backbone"} for kinds in sent[3:])


def test_models_are_tested_and_steps_measured_by_workers(
    local: CurveStore, far: CurveStore, configs: list[RunConfig], tmp_path: Path
):
    with ClusterTrainer(far, StandInWorkers().engine()) as trainer:
        trainer.train([(configs[0], ROUNDS)], lambda: None)
        (hits,) = trainer.on_test([(configs[0], ROUNDS)])
        assert np.array_equal(hits.right, local.on_test(configs[0], ROUNDS).right)
        assert far.cached_on_test(configs[0], ROUNDS) is not None
        ((step, seconds, peak_bytes),) = trainer.measure(configs[0], lambda: None)
        assert min(step.step_s, seconds, peak_bytes) > 0
        assert trainer.begin((configs[0], ROUNDS)).result(0) == 0
        assert trainer.state.sent_bytes > 0
    assert not list((tmp_path / "worker").glob("runs-*/*/*"))


def test_answers_in_reversed_order_change_nothing(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    workers = StandInWorkers(reverse=2)
    with ClusterTrainer(far, workers.engine(2), runs_per_worker=1) as trainer:
        ticks = [workers.answer_waiting]  # the last call has no other beside it
        jobs = [(config, ROUNDS) for config in configs]
        assert trainer.train(jobs, lambda: ticks[0]()) == [ROUNDS] * 2
    assert_same(local, far, configs)


def test_calls_whose_workers_die_are_made_again(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    with ClusterTrainer(far, StandInWorkers(DIES, DIES).engine()) as trainer:
        assert trainer.train([(configs[0], ROUNDS)], lambda: None) == [ROUNDS]
        assert trainer.state.retries == 2
    assert_same(local, far, configs[:1])


def in_turns(alters: list[Callable[[dict, dict], Any]]) -> Callable[[bytes, bytes], Any]:
    """Return a function that alters two of three answers with rounds, each in another way."""
    left = list(alters)
    count = itertools.count()

    def altered(parcel: bytes, answer: bytes) -> Any:
        head, blobs = unpack_parcel(answer)
        if not head["runs"] or next(count) % 3 == 2 or not left:
            return answer
        return left.pop(0)(head, blobs)

    return altered


def with_blobs(part: str, content: bytes | None) -> Callable[[dict, dict], bytes]:
    def alter(head: dict, blobs: dict) -> bytes:
        put = {name: content for name in blobs if f".{part}" in name and content is not None}
        kept = {name: blob for name, blob in blobs.items() if f".{part}" not in name}
        return pack_parcel(head, kept | put)

    return alter


def with_other_run(head: dict, blobs: dict) -> bytes:
    name = "run0.checkpoint"
    return pack_parcel(head, blobs | {name: save(load(blobs[name]), {"run": "another"})})


def with_another_array(head: dict, blobs: dict) -> bytes:
    name = "run0.checkpoint"
    arrays = load(blobs[name]) | {"another": np.zeros(1, np.float32)}
    return pack_parcel(head, blobs | {name: save(arrays, identity_in(blobs[name]))})


def with_part(**values: Any) -> Callable[[dict, dict], bytes]:
    def alter(head: dict, blobs: dict) -> bytes:
        head["runs"][0]["part"] |= values
        return pack_parcel(head, blobs)

    return alter


STRANGE_ANSWERS = [
    with_blobs("model", None),
    with_blobs("model", b"junk"),
    with_blobs("checkpoint", b"junk"),
    with_blobs("checkpoint", save({"x": np.zeros(1, np.float32)})),
    with_other_run,
    with_another_array,
    with_part(timing="0" * 64),
    with_part(network="another"),
    lambda head, blobs: None,
    lambda head, blobs: "text",
]


def test_an_answer_that_is_none_of_its_run_is_a_failed_call(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    workers = StandInWorkers(alters=in_turns(STRANGE_ANSWERS))
    with ClusterTrainer(far, workers.engine()) as trainer:
        assert trainer.train([(configs[0], ROUNDS)], lambda: None) == [ROUNDS]
        assert trainer.state.retries == len(STRANGE_ANSWERS)
    assert_same(local, far, configs[:1])


def kind_of(parcel: bytes) -> str:
    return unpack_parcel(parcel)[0]["kind"]


@pytest.mark.parametrize(
    ("other_machine", "told"),
    [(False, "a worker trained no round"), (True, "that any machine may train")],
)
def test_a_run_that_no_worker_trains_fails_after_three_tries(
    other_machine: bool, told: str, far: CurveStore, configs: list[RunConfig]
):
    def idle(parcel: bytes, answer: bytes) -> bytes:
        head, blobs = unpack_parcel(answer)
        for run in head["runs"]:
            run |= {"part": None, "notes": [], "other_machine": other_machine}
        return pack_parcel(head, {} if head["runs"] else blobs)

    with ClusterTrainer(far, StandInWorkers(alters=idle).engine()) as trainer:
        assert trainer.train([(config, ROUNDS) for config in configs], lambda: None) == [None] * 2
        assert told in str(trainer.failure(configs[0]))
        assert trainer.state.failures == 2
    assert not any(far.root.glob("*/run.json"))


def test_models_that_no_worker_can_test_are_tested_here(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    def doubtful(parcel: bytes, answer: bytes) -> bytes:
        head, blobs = unpack_parcel(answer)
        for result in (each for run in head["runs"] for each in run["on_test"]):
            result["loss"] = "nan"
        return pack_parcel(head, blobs)

    extend_all(far, [(configs[0], ROUNDS)])
    workers = StandInWorkers(alters=doubtful)
    with ClusterTrainer(far, workers.engine()) as trainer:
        (hits,) = trainer.on_test([(configs[0], ROUNDS)])
    assert list(map(kind_of, workers.parcels)) == ["test"] * 5  # two lack files, three are tested
    assert np.array_equal(hits.right, local.on_test(configs[0], ROUNDS).right)


def test_a_measurement_that_all_workers_fail_is_an_error_and_that_of_one_is_none(
    far: CurveStore, configs: list[RunConfig]
):
    dead = StandInWorkers(dies_of=lambda parcel: True)
    told = "job load failed on all workers: a worker died"
    with ClusterTrainer(far, dead.engine()) as trainer, pytest.raises(FlossError, match=told):
        trainer.load(configs[0], lambda: None)
    with ClusterTrainer(far, StandInWorkers(*[DIES] * 5).engine(2)) as trainer:
        assert len(trainer.measure(configs[0], lambda: None)) == 1


def test_a_run_whose_workers_die_three_times_fails_with_its_reason_and_others_go_on(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    workers = StandInWorkers(DIES, DIES, DIES)
    with ClusterTrainer(far, workers.engine(), runs_per_worker=1) as trainer:
        jobs = [(config, ROUNDS) for config in configs[:1]]
        assert trainer.train(jobs, lambda: None) == [None]
        assert "a worker died (BrokenExecutor: killed)" in str(trainer.failure(configs[0]))
        assert trainer.train([(configs[1], ROUNDS)], lambda: None) == [ROUNDS]
        assert trainer.failure(configs[1]) is None
        assert trainer.state.failures == 1
    assert not far.folder(configs[0]).path.exists()
    assert_same(local, far, configs[1:])


def test_runs_go_on_where_the_cluster_ends_workers_of_all_calls(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    deaths: list[str] = []
    workers = StandInWorkers(dies_of=lambda parcel: bool(deaths and deaths.pop()))
    with ClusterTrainer(far, workers.engine(2), runs_per_worker=1) as trainer:
        assert trainer.train([(configs[0], 5)], lambda: None) == [5]
        deaths += [DIES] * 10
        jobs = [(config, ROUNDS) for config in configs]
        assert trainer.train(jobs, lambda: None) == [ROUNDS - 5, ROUNDS]
        assert trainer.state.retries == 10
    assert_same(local, far, configs)


def test_a_run_that_ends_its_workers_fails_though_the_cluster_ends_others(
    far: CurveStore, configs: list[RunConfig]
):
    run = far.describe(configs[0])["fingerprint"]
    deaths: list[str] = []
    workers = StandInWorkers(
        dies_of=lambda parcel: (
            bool(deaths and deaths.pop()) or run in str(unpack_parcel(parcel)[0]["runs"])
        )
    )
    with ClusterTrainer(far, workers.engine(), runs_per_worker=1) as trainer:
        assert trainer.train([(configs[1], ROUNDS - 1)], lambda: None) == [ROUNDS - 1]
        deaths.append(DIES)
        assert trainer.train([(configs[1], ROUNDS)], lambda: None) == [1]
        assert trainer.train([(configs[0], ROUNDS)], lambda: None) == [None]
        assert trainer.state.retries == 1 + 10


def test_a_worker_that_does_not_answer_is_given_up_and_its_late_answer_ignored(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    workers = StandInWorkers(SILENT)
    engine = workers.engine(patience_s=0.1)
    with ClusterTrainer(far, engine, slice_s=0.05) as trainer:
        future = trainer.begin((configs[0], ROUNDS))
        assert wait([future], 60).done
        assert future.result() == ROUNDS
        assert trainer.state.retries == 1
        assert len(workers.cancelled) == 1
        workers.answer_silent()
    assert_same(local, far, configs[:1])


def test_a_call_that_waits_in_a_queue_is_not_given_up(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    workers = StandInWorkers(SILENT)
    engine = replace(workers.engine(patience_s=0.1), queue_s=600.0)
    with ClusterTrainer(far, engine, slice_s=0.05) as trainer:
        future = trainer.begin((configs[0], ROUNDS))
        assert not wait([future], 0.8).done
        assert trainer.state.retries == 0
        workers.silent[0][0].set_running_or_notify_cancel()
        assert future.result(60) == ROUNDS
        assert trainer.state.retries == 1
    assert_same(local, far, configs[:1])


def test_an_answer_that_comes_twice_is_taken_once(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    taken: list[tuple] = []
    real = training_call.TrainingCall.take

    def twice(self, answer, blobs):
        rest = real(self, answer, blobs)
        for number, run in enumerate(self.runs):
            before = run.trained
            run.commit(number, answer.runs[number], blobs)
            taken.append((before, run.trained))
        return rest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_call.TrainingCall, "take", twice)
        trained(far, configs[:1], StandInWorkers().engine())
    assert taken
    assert all(before == after for before, after in taken)
    assert_same(local, far, configs[:1])


def test_ctrl_c_cancels_calls_and_lets_folders_go(far: CurveStore, configs: list[RunConfig]):
    workers = StandInWorkers(SILENT)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with ClusterTrainer(far, workers.engine(), runs_per_worker=1) as trainer:
        with pytest.raises(KeyboardInterrupt):
            trainer.train([(config, ROUNDS) for config in configs], interrupt)
        assert len(workers.parcels) == len(workers.cancelled) == 1
        assert not any(far.root.glob("*/run.json"))
        assert trainer.train([(configs[0], 1)], lambda: None) == [1]


def test_two_searches_on_one_store_train_nothing_twice(
    local: CurveStore, far: CurveStore, configs: list[RunConfig]
):
    trainers = [ClusterTrainer(far, StandInWorkers().engine(), runs_per_worker=1) for _ in range(2)]
    orders = (configs, configs[::-1])
    futures = [
        trainer.begin((config, ROUNDS))
        for trainer, order in zip(trainers, orders, strict=True)
        for config in order
    ]
    assert not wait(futures, 60).not_done
    for trainer in trainers:
        trainer.close()
    assert sum(future.result() for future in futures) == 2 * ROUNDS
    assert_same(local, far, configs)


def test_parcels_of_a_shared_store_travel_by_name(
    local: CurveStore, far: CurveStore, configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLOSS_SIM_STORE", str(far.root))
    far.root.mkdir()
    workers = StandInWorkers()
    assert trained(far, configs, workers.engine(), shared_store=True) == [ROUNDS] * 2
    assert max(map(len, workers.parcels)) < 100
    assert not list(far.root.glob(".parcels-*"))
    assert_same(local, far, configs)


def test_private_entries_travel_and_own_models_are_tested_by_the_worker(
    configs: list[RunConfig], far: CurveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLOSS_SIM_STORE", str(far.root))
    runs = [RunConfig.of(configs[0].task, made(), rank=2) for made in (fedsa_lora, dense)]
    here, there = (CurveStore(root / "own", "cpu", own=True) for root in (tmp_path, far.root))
    jobs = [(config, 2) for config in runs]  # evaluated after each round, so in two slices
    extend_all(here, jobs)
    there.root.mkdir(parents=True)
    with ClusterTrainer(there, StandInWorkers().engine(), shared_store=True) as trainer:
        assert trainer.train(jobs, lambda: None) == [2, 2]
        found = trainer.on_test(jobs)
    assert_same(here, there, runs)
    assert not list(far.root.glob(".parcels-*"))
    for job, hits in zip(jobs, found, strict=True):
        assert np.array_equal(hits.right, here.on_test(*job).right)
    one, other = (store.folder(runs[0]).own_on_test([1, 2]) for store in (here, there))
    assert all(np.array_equal(one[number], other[number]) for number in (1, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "lack results of own models on test"),
        ({1: pack_own(np.ones(3)), 2: ""}, "those of other rounds"),
        ({1: "!"}, "the test of round 1 is damaged"),
        ({1: pack_own(np.ones(3))}, "the test of round 1 is of another test split"),
    ],
)
def test_own_results_that_are_none_of_the_part_are_refused(
    given: dict[int, str], said: str, configs: list[RunConfig]
):
    part = RunPart(0, 1, "0" * 8, "lte", 1, {}, b"", {1: b""})
    with pytest.raises(ParcelError, match=said):
        check_own_tests(configs[0], part, given)


def test_a_worker_with_another_shared_store_is_told(
    far: CurveStore, configs: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLOSS_SIM_STORE", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("planner.cluster.transport._SLOW_FILE_S", 0.0)
    far.root.mkdir()
    with ClusterTrainer(far, StandInWorkers().engine(), shared_store=True) as trainer:
        assert trainer.train([(configs[0], 1)], lambda: None) == [None]
        assert "the store of a worker lacks" in str(trainer.failure(configs[0]))


def test_a_worker_without_the_shared_store_is_told(
    far: CurveStore, configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("FLOSS_SIM_STORE")
    far.root.mkdir()
    with ClusterTrainer(far, StandInWorkers().engine(), shared_store=True) as trainer:
        assert trainer.train([(configs[0], 1)], lambda: None) == [None]
        assert "a worker lacks FLOSS_SIM_STORE" in str(trainer.failure(configs[0]))


@contextmanager
def older_library() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        own = versions.installed_versions()
        patch.setattr(versions, "installed_versions", lambda: {**own, "torch": "1.0"})
        yield


def test_other_versions_are_refused_by_name_and_nothing_is_kept(
    far: CurveStore, configs: list[RunConfig]
):
    engine = StandInWorkers(around=older_library).engine()
    told = r"versions differ: torch 1\.0 on the worker and \S+ here"
    with pytest.raises(ConfigError, match=told):
        worker_check.check_workers(engine, "auto")
    with pytest.raises(ConfigError, match=told):
        trained(far, configs, engine)
    assert not any(far.root.glob("*/run.json"))


def test_the_versions_of_all_workers_are_compared_before_a_search(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(worker_check, "_OTHERS_S", 0.05)
    turns = iter([nothing, older_library])
    workers = StandInWorkers(around=lambda: next(turns)())
    with pytest.raises(ConfigError, match=r"torch 1\.0 on the worker"):
        worker_check.check_workers(workers.engine(2), "auto")
    silent = StandInWorkers(SILENT)
    assert worker_check.check_workers(silent.engine(2), "auto").status == "done"
    assert len(silent.parcels) == 2


def test_a_damaged_backbone_of_a_worker_is_replaced(
    local: CurveStore,
    far: CurveStore,
    configs: list[RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    workers = StandInWorkers()
    trained(far, configs[:1], workers.engine())
    (weights,) = (tmp_path / "worker" / "backbones").glob("*/*.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"junk")
    new_worker(tmp_path / "worker", monkeypatch)
    assert trained(far, configs[1:], workers.engine()) == [ROUNDS]
    assert weights.read_bytes() == whole
    assert not list((tmp_path / "worker" / "backbones").glob(".*"))
    assert_same(local, far, configs)


def test_a_device_that_workers_lack_is_refused_by_name():
    with pytest.raises(ConfigError, match="device 'mps' is not available"):
        worker_check.check_workers(StandInWorkers().engine(), "mps")
    assert worker_check.check_workers(StandInWorkers().engine(), "cpu").device == "cpu"


def test_data_of_another_mark_are_refused_by_name(
    far: CurveStore, configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch
):
    other = configs[0].task.content
    changed = (other.train[0], (other.train[1] + 1) % 2)
    blob = training_call.task_blobs
    monkeypatch.setattr(
        training_call,
        "task_blobs",
        lambda config, files: (
            blob(config, files)
            | ({"data": data_of_other(other, changed)} if "data" in files else {})
        ),
    )
    with ClusterTrainer(far, StandInWorkers().engine()) as trainer:
        assert trainer.train([(configs[0], 1)], lambda: None) == [None]
        assert "the data of the parcel have mark" in str(trainer.failure(configs[0]))


def data_of_other(content, train) -> bytes:
    from dataclasses import replace

    from planner.cluster.travel import data_blob

    return data_blob(replace(content, train=train))


@contextmanager
def other_machine() -> Iterator[None]:
    own = machine_type("cpu")
    with pytest.MonkeyPatch.context() as patch:
        other = own.model_copy(update={"device": "another processor"})
        patch.setattr(worker, "machine_type", lambda device: other)
        patch.setattr("planner.execution.curve_store.machine_type", lambda device: other)
        yield


@pytest.mark.parametrize("mixed", [False, True])
def test_a_begun_run_goes_on_on_its_own_machine_type_or_is_begun_anew(
    mixed: bool,
    local: CurveStore,
    far: CurveStore,
    configs: list[RunConfig],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(training_call, "_DELAY_S", 0.0)
    extend_all(far, [(configs[0], 3)])
    workers = StandInWorkers(around=other_machine)
    with ClusterTrainer(far, workers.engine(), mix_machines=mixed) as trainer:
        result = trainer.train([(configs[0], ROUNDS)], lambda: None)
        assert result == [ROUNDS - 3 if mixed else ROUNDS]
        assert trainer.state.restarts == (not mixed)
    path = far.folder(configs[0]).path
    types = [machine["device"] for _, machine in machines(path, ROUNDS)]
    assert set(types) == {"another processor", *([machine_type("cpu").device] * mixed)}
    assert_same(local, far, configs[:1])


def test_an_executor_that_takes_no_more_work_ends_the_search_at_once(
    far: CurveStore, configs: list[RunConfig]
):
    class Ended(StandInWorkers):
        def submit(self, function, /, parcel: bytes):
            raise RuntimeError("cannot schedule new futures after shutdown")

    with pytest.raises(FlossError, match="executor stand-in takes no more work: RuntimeError"):
        trained(far, configs, Ended().engine())
    with pytest.raises(FlossError, match="executor stand-in takes no work"):
        worker_check.check_workers(Ended().engine(), "auto")
    assert not any(far.root.glob("*/run.json"))
