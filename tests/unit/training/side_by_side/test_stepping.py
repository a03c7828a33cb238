"""Runs side by side: no record, no last bit, depends on who trains beside a run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from parties import (
    CPU,
    SIZES,
    WHOLE,
    assert_equal_records,
    party_of,
    same,
    tiny_parties,
    trained_side_by_side,
    values_of,
)
from some_runs import Inline, some_runs
from tiny_models import CASES, NEXT_TOKEN, TEXTS, TinyRun, tiny_model

from floss_sim import RunConfig, load_task
from floss_sim.errors import TaskError
from floss_sim.methods import method_from_name
from floss_sim.records import RunFolder
from floss_sim.records.host_notes import doubts
from floss_sim.training.bank.model import Bank, build_bank
from floss_sim.training.bank.onednn import _has_product
from floss_sim.training.gpu.shape_checks import ShapeChecks
from floss_sim.training.learners import build
from floss_sim.training.side_by_side import bit_checks, stepping, training_job
from floss_sim.training.side_by_side.bit_checks import BitChecks
from floss_sim.training.side_by_side.stepping import SideBySide
from floss_sim.training.side_by_side.training_job import TrainingJob
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.job_groups import job_groups
from planner.execution.store_check import State, check_store
from planner.execution.trainer import LocalTrainer, extend_all
from planner.execution.workers import worker_pool

pytestmark = pytest.mark.skipif(not _has_product(), reason="runs train one by one here")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def a_new_loop():
    build.open_side_by_side.cache_clear()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_party_has_the_bits_that_it_has_alone(
    family: str, kind: str, dropout: float, tmp_path: Path
):
    rates = {"hidden_dropout_prob": 0.2} if dropout and family in ("vit", "bert") else {}
    tiny_model(family, **WHOLE[family], **rates).save_pretrained(tmp_path)
    run = TinyRun(tmp_path, kind, dropout=dropout)
    bank = build_bank(run, CPU)
    parties = [
        party_of(run, bank),
        party_of(replace(run, rank=5, seed=1), bank, (4, 3)),
        party_of(replace(run, rank=1, seed=2, trains="ffa"), bank, (1,)),
        party_of(replace(run, rank=3, seed=3), bank, (8, 8, 1)),
    ]
    alone = [values_of([party])[0] for party in parties]
    for chosen in ((0, 1), (2, 0), (3, 2, 1), (0, 1, 2, 3), (3, 1, 0)):
        together = values_of([parties[i] for i in chosen])
        for found, i in zip(together, chosen, strict=True):
            assert same(found, alone[i])


@pytest.mark.parametrize(
    ("family", "kind"), [case for case in CASES if case != ("llama", NEXT_TOKEN)]
)
def test_a_party_of_biases_has_the_bits_that_it_has_alone(family: str, kind: str, tmp_path: Path):
    tiny_model(family, **WHOLE[family]).save_pretrained(tmp_path)
    run = TinyRun(tmp_path, kind, trains="bitfit")
    bank = build_bank(run, CPU)
    sizes = (SIZES, (4, 3), (8, 8, 1))
    parties = [party_of(replace(run, seed=seed), bank, own) for seed, own in enumerate(sizes)]
    alone = [values_of([party])[0] for party in parties]
    for chosen in ((0, 1), (2, 0), (1, 2, 0)):
        together = values_of([parties[i] for i in chosen])
        for found, i in zip(together, chosen, strict=True):
            assert same(found, alone[i])


def test_runs_share_a_bank_where_the_same_layers_are_replaced_alike():
    def bank(method: str, **chosen: int) -> Bank:
        settings = {"rank": 2, "seed": 0, **chosen}
        return loop.bank(RunConfig.of(load_task("digits"), method_from_name(method), **settings))

    loop = build.open_side_by_side("cpu")
    adapted = {bank("dense"), bank("ffa"), bank("floss", rank=5), bank("hetlora", seed=1)}
    assert len(adapted) == 1
    assert len(adapted | {bank("bitfit"), bank("head")}) == 3


def test_a_row_of_a_frozen_product_has_its_bits_whatever_the_others_are():
    from floss_sim.training.bank.onednn import FrozenLinear

    torch.manual_seed(0)
    for inputs, outputs in ((64, 64), (17, 33), (256, 64), (768, 100)):
        layer = FrozenLinear(torch.nn.Linear(inputs, outputs).requires_grad_(False))
        x = torch.randn(700, inputs)
        whole, upstream = layer(x), torch.randn(700, outputs)
        for first, count in ((0, 1), (3, 1), (5, 2), (1, 17), (100, 272), (96, 500)):
            part = x[first : first + count].clone().requires_grad_(True)
            found = layer(part)
            assert torch.equal(found, whole[first : first + count])
            (slope,) = torch.autograd.grad(found, part, upstream[first : first + count])
            every = x.clone().requires_grad_(True)
            (slopes,) = torch.autograd.grad(layer(every), every, upstream)
            assert torch.equal(slope, slopes[first : first + count])


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of parties in each pass."""
    sizes: list[int] = []
    real = bit_checks.train_together

    def counted(parties, *told):
        sizes.append(len(parties))
        return real(parties, *told)

    for module in (bit_checks, training_job):
        monkeypatch.setattr(module, "train_together", counted)
    return sizes


@pytest.mark.parametrize("checks", [BitChecks(24), ShapeChecks(64)])
def test_records_are_those_of_runs_alone(
    checks: BitChecks, passes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(build, "_checks", lambda device: checks)
    alone, beside = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "beside", "cpu")
    jobs = [(config, 3 if n != 1 else 2) for n, config in enumerate(some_runs())]
    for config, rounds in jobs:
        alone.extend(config, rounds)
    assert max(passes) == 1
    trained = extend_all(beside, jobs)
    assert trained == [3, 2, 3, 3, 3, 3, 3]
    assert max(passes) >= 3
    for config, _ in jobs:
        assert_equal_records(alone, beside, config)


def test_a_run_that_goes_on_beside_new_neighbours_is_as_if_it_never_stopped(tmp_path: Path):
    alone, beside = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "beside", "cpu")
    first, second, third = some_runs()[:3]
    for config in (first, second):
        alone.extend(config, 5)
    assert LocalTrainer(beside, Inline()).train([(first, 3), (third, 3)], lambda: None) == [3, 3]
    assert LocalTrainer(beside, Inline()).train([(first, 5), (second, 5)], lambda: None) == [2, 5]
    for config in (first, second):
        assert_equal_records(alone, beside, config)


def test_a_run_that_diverges_leaves_the_others_alone(tmp_path: Path):
    alone, beside = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "beside", "cpu")
    one, other = some_runs()[:2]
    wild = one.with_(client={"learning_rate": 1e30})
    alone.extend(one, 3)
    jobs = [(one, 3), (wild, 3), (other, 3)]
    assert LocalTrainer(beside, Inline()).train(jobs, lambda: None) == [3, None, 3]
    assert_equal_records(alone, beside, one)


KILLED = """
import sys
sys.path[:0] = {paths!r}
from functools import partial
from pathlib import Path
from some_runs import some_runs
from planner.execution import curve_store
from planner.execution.curve_store import CurveStore
from planner.execution.store_check import State, check_store
from planner.execution.trainer import extend_all
curve_store.run_steps = partial(curve_store.run_steps, commit_every_s=0)
extend_all(CurveStore(Path({root!r}), "cpu"), [(config, 400) for config in some_runs()[:3]])
"""


def test_what_was_committed_when_a_worker_is_killed_is_kept_and_goes_on(tmp_path: Path):
    alone, beside = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "beside", "cpu")
    configs = some_runs()[:3]
    code = KILLED.format(paths=sys.path, root=str(beside.root))
    worker = subprocess.Popen([sys.executable, "-c", code])
    end_s = time.monotonic() + 120
    while not all(map(beside.rounds, configs)):
        assert worker.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    most = max(map(beside.rounds, configs))
    rounds = next(n for n in range(most + 1, most + 20) if last_evaluated_round(n) == n)
    extend_all(beside, [(config, rounds) for config in configs])
    alone.extend(configs[0], rounds)
    assert_equal_records(alone, beside, configs[0])


def test_searches_at_the_same_time_share_runs_and_wait_for_no_one_forever(tmp_path: Path):
    store = CurveStore(tmp_path / "store", "cpu")
    jobs = [(config, 2) for config in some_runs()[:2]]
    with worker_pool(2) as pool:
        orders = [pool.submit(extend_all, store, order) for order in (jobs, jobs[::-1])]
        one, other = (future.result(timeout=120) for future in orders)
    assert [a + b for a, b in zip(one, other[::-1], strict=True)] == [2] * 2


def shift_shared_passes(monkeypatch: pytest.MonkeyPatch, first: int = 1) -> list[str]:
    """Shift a bit of each shared pass from the given one on; return the warnings to come."""
    real, said, shared = bit_checks.train_together, list[str](), 0

    def shifting(parties):
        nonlocal shared
        values, shared = real(parties), shared + 1
        if len(parties) > 1 and shared >= first:
            values[0][0, 0] = torch.nextafter(values[0][0, 0], torch.tensor(torch.inf))
        return values

    monkeypatch.setattr(bit_checks, "train_together", shifting)
    monkeypatch.setattr(bit_checks.warnings, "warn", lambda text, *_, **__: said.append(text))
    return said


def test_runs_go_on_one_by_one_where_neighbours_would_shift_a_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parties = tiny_parties(tmp_path)
    alone = [values_of([party])[0] for party in parties]
    said = shift_shared_passes(monkeypatch)
    assert all(map(same, trained_side_by_side(parties), alone))
    why = "batching changes the last bits of a result on this machine"
    assert said == [f"{why}: these runs train one at a time"]


def test_runs_that_were_batched_before_a_check_failed_are_named_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bit_checks, "_RECHECK_EVERY", 6)
    store = CurveStore(tmp_path, "cpu")
    first, second, third = some_runs()[:3]
    extend_all(store, [(first, 5), (second, 5)])  # three checks, two batched passes
    said = shift_shared_passes(monkeypatch)
    extend_all(store, [(first, 10), (third, 5)])  # three batched passes, the next is checked
    why = "batching has changed the last bits of a result after all"
    assert said == [f"{why}: these runs train one at a time"]
    doubtful = {config.rank: doubts(store.folder(config).path) for config in some_runs()[:3]}
    assert doubtful == {2: [(4, why)], 5: [(4, why)], 4: [(1, why)]}
    found = {run.path: run for run in check_store(tmp_path)}
    listed = found[store.folder(first).path]
    assert (listed.state, listed.doubtful_from) == (State.DOUBTFUL, 4)


def test_a_doubt_about_a_run_that_is_gone_ends_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bit_checks, "_RECHECK_EVERY", 6)
    store = CurveStore(tmp_path, "cpu")
    first, second, third = some_runs()[:3]
    extend_all(store, [(first, 5), (second, 5)])
    shutil.rmtree(store.folder(second).path)
    shift_shared_passes(monkeypatch)
    assert extend_all(store, [(first, 10), (third, 5)]) == [5, 5]
    assert doubts(store.folder(first).path)


def test_an_interrupt_in_a_pass_lets_go_of_all_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, jobs = CurveStore(tmp_path, "cpu"), [(config, 3) for config in some_runs()[:2]]
    with monkeypatch.context() as patch:

        def interrupted(parties):
            raise KeyboardInterrupt

        patch.setattr(bit_checks, "train_together", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:  # the exception stays alive meanwhile
            extend_all(store, jobs)
        for config, _ in jobs:
            with store.folder(config).lock():
                pass
    assert extend_all(store, jobs) == [3, 3]
    assert caught.value is not None


@pytest.mark.parametrize(("whole", "largest"), [(True, 3), (False, 1)])
def test_runs_share_passes_only_where_widths_are_whole_vectors(
    whole: bool, largest: int, passes: list[int], tmp_path: Path
):
    parties = tiny_parties(tmp_path, whole=whole)
    alone = [values_of([party])[0] for party in parties]
    passes.clear()
    assert all(map(same, trained_side_by_side(parties), alone))
    assert max(passes) == largest


@pytest.mark.parametrize("checks", [BitChecks, ShapeChecks])
def test_an_error_is_that_of_the_run_that_made_it(checks: type[BitChecks], tmp_path: Path):
    parties = tiny_parties(tmp_path, TEXTS)
    wrong = parties[1].x.clone()
    wrong[:, 0] = 10_000
    alone = [values_of([party])[0] for party in parties]
    found = trained_side_by_side([parties[0], replace(parties[1], x=wrong), parties[2]], checks(64))
    assert same(found[0], alone[0])
    assert isinstance(found[1], TaskError)
    assert same(found[2], alone[2])


def test_a_pass_that_does_not_fit_is_tried_again_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parties = tiny_parties(tmp_path)
    alone = [values_of([party])[0] for party in parties]
    real, said = bit_checks.train_together, []

    def tight(parties):
        if len(parties) > 1:
            raise torch.OutOfMemoryError("no")
        return real(parties)

    monkeypatch.setattr(bit_checks, "train_together", tight)
    monkeypatch.setattr(bit_checks.warnings, "warn", lambda text, *_, **__: said.append(text))
    assert all(map(same, trained_side_by_side(parties), alone))
    assert said == ["runs do not fit in one pass (no): later passes have at most 3 clients"]


def test_a_run_that_does_not_fit_alone_trains_in_smaller_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The others neither wait for it nor change."""
    alone, beside = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "beside", "cpu")
    one, other = some_runs()[:2]
    alone.extend(other, 3)
    real = training_job.train_together

    def tight(parties, *told):
        if any(len(p.works) > 2 and p.model.layout.digest == one.layout.digest for p in parties):
            raise torch.OutOfMemoryError("no")
        return real(parties, *told)

    for module in (bit_checks, training_job):
        monkeypatch.setattr(module, "train_together", tight)
    with pytest.warns(RuntimeWarning, match="5 clients does not fit in memory; continuing with 2"):
        assert extend_all(beside, [(one, 3), (other, 3)]) == [3, 3]
    assert_equal_records(alone, beside, other)


def test_the_seconds_of_a_pass_are_shared_by_clients(monkeypatch: pytest.MonkeyPatch):
    now_s, read = 0.0, {}
    monkeypatch.setattr(stepping.time, "monotonic", lambda: now_s)

    class Checks:
        def passes(self, waiting):
            yield list(waiting)

        def results(self, jobs, folders):
            nonlocal now_s
            now_s += 8
            return [torch.zeros(1) for _ in jobs]

        def take_doubts(self):
            return []

    def steps(clients: int, clock):
        nonlocal now_s
        job = TrainingJob(None, 1, 8, lambda values: None, lambda: None)
        object.__setattr__(job, "party", SimpleNamespace(works=[None] * clients))
        now_s += 1
        yield job
        now_s += 1
        read[clients] = clock()

    loop = SideBySide(Checks(), lambda config: None)
    loop.finish([(Path(str(n)), partial(steps, n)) for n in (1, 3)])
    assert read == {1: 1 + 2 + 1, 3: 1 + 6 + 1}


def test_a_run_whose_folder_is_locked_waits_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stepping, "_ASK_AGAIN_S", 0.01)
    store = CurveStore(tmp_path, "cpu")
    one, other = some_runs()[:2]
    held = ExitStack()
    held.enter_context(store.create(one).lock())

    def let_go(folder: Path, *_) -> None:
        if folder == store.folder(other).path:
            held.close()

    monkeypatch.setattr(
        RunFolder, "commit", lambda self, *a, _real=RunFolder.commit, **k: (
            _real(self, *a, **k), let_go(self.path)
        ),
    )  # fmt: skip
    assert extend_all(store, [(one, 2), (other, 3)]) == [2, 3]
    assert extend_all(store, [(one, 3), (one, 3)]) == [1, 0]  # the second waits for the first


@pytest.mark.parametrize(
    ("jobs", "workers", "most", "sizes"),
    [
        (16, 2, 4, [4] * 4), (2, 2, 4, [1, 1]), (5, 2, 4, [3, 2]), (4, 1, 4, [4]), (1, 8, 4, [1]),
        (0, 2, 4, []), (48, 1, 64, [48]), (65, 1, 64, [33, 32]),
    ],
)  # fmt: skip
def test_jobs_are_dealt_alike_to_workers(jobs: int, workers: int, most: int, sizes: list[int]):
    made = job_groups(dict.fromkeys(range(jobs), 9), workers, most)
    assert [len(group) for group in made] == sizes


@pytest.mark.parametrize(
    ("rounds", "most", "groups"),
    [
        ((400, 400, 190, 55, 55), 4, [[0, 2], [1, 3, 4]]),
        ((400, 55, 15, 15, 15), 4, [[0], [1, 2, 3, 4]]),
        ((400, 55, 15, 15, 15, 15), 4, [[0, 5], [1, 2, 3, 4]]),
        ((400, 9, 9, 9, 9), 3, [[0, 4], [1, 2, 3]]),
    ],
)
def test_groups_have_about_equally_many_rounds(rounds, most: int, groups: list[list[int]]):
    assert job_groups(dict(enumerate(rounds)), 2, most) == groups
