"""Runs side by side: no record, no last bit, depends on who trains beside a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from grid_runs import Inline, some_runs
from parties import (
    CPU,
    OVERLAPPING,
    SIZES,
    WHOLE,
    assert_equal_records,
    grid_with,
    party_of,
    same,
    tiny_parties,
)
from tiny_models import CASES, NEXT_TOKEN, TEXTS, TinyRun, tiny_model

from floss_sim import RunConfig, load_task
from floss_sim.errors import TaskError
from floss_sim.methods import method_from_name
from floss_sim.training.bank.batched_sgd import train_side_by_side
from floss_sim.training.bank.model import Bank, build_bank
from floss_sim.training.bank.onednn import _has_product
from floss_sim.training.side_by_side import bit_checks, limits, pass_jobs
from floss_sim.training.side_by_side import scheduler as module
from floss_sim.training.side_by_side.limits import DeviceLimits, limits_of
from floss_sim.training.side_by_side.scheduler import PassScheduler
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.workers import _extend_all, _groups, train_all, worker_pool

pytestmark = pytest.mark.skipif(not _has_product(), reason="runs train one by one here")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def a_new_grid():
    module.device_scheduler.cache_clear()


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
    alone = [train_side_by_side([party])[0] for party in parties]
    for chosen in ((0, 1), (2, 0), (3, 2, 1), (0, 1, 2, 3), (3, 1, 0)):
        together = train_side_by_side([parties[i] for i in chosen])
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
    alone = [train_side_by_side([party])[0] for party in parties]
    for chosen in ((0, 1), (2, 0), (1, 2, 0)):
        together = train_side_by_side([parties[i] for i in chosen])
        for found, i in zip(together, chosen, strict=True):
            assert same(found, alone[i])


def test_runs_share_a_bank_where_the_same_layers_are_replaced_alike():
    def bank(method: str, **chosen: int) -> Bank:
        settings = {"rank": 2, "seed": 0, **chosen}
        return grid.bank(RunConfig.of(load_task("digits"), method_from_name(method), **settings))

    grid = PassScheduler(CPU)
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

    def counted(parties):
        sizes.append(len(parties))
        return train_side_by_side(parties)

    monkeypatch.setattr(pass_jobs, "train_side_by_side", counted)
    return sizes


@pytest.mark.parametrize("device_limits", [limits_of("cpu"), OVERLAPPING])
def test_records_are_those_of_runs_alone(
    device_limits: DeviceLimits, passes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(limits._LIMITS, "cpu", device_limits)
    alone, grid = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "grid", "cpu")
    jobs = [(config, 3 if n != 1 else 2) for n, config in enumerate(some_runs())]
    for config, rounds in jobs:
        alone.extend(config, rounds)
    assert max(passes) == 1
    trained = _extend_all(grid, jobs)
    assert trained == [3, 2, 3, 3, 3, 3, 3]
    assert max(passes) >= 3
    for config, _ in jobs:
        assert_equal_records(alone, grid, config)


def test_a_run_that_goes_on_beside_new_neighbours_is_as_if_it_never_stopped(tmp_path: Path):
    alone, grid = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "grid", "cpu")
    first, second, third = some_runs()[:3]
    for config in (first, second):
        alone.extend(config, 5)
    assert train_all(Inline(), grid, [(first, 3), (third, 3)], lambda: None) == [3, 3]
    assert train_all(Inline(), grid, [(first, 5), (second, 5)], lambda: None) == [2, 5]
    for config in (first, second):
        assert_equal_records(alone, grid, config)


def test_a_run_that_diverges_leaves_the_others_alone(tmp_path: Path):
    alone, grid = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "grid", "cpu")
    one, other = some_runs()[:2]
    wild = one.with_(client={"learning_rate": 1e30})
    alone.extend(one, 3)
    jobs = [(one, 3), (wild, 3), (other, 3)]
    assert train_all(Inline(), grid, jobs, lambda: None) == [3, None, 3]
    assert_equal_records(alone, grid, one)


KILLED = """
import sys
sys.path[:0] = {paths!r}
from functools import partial
from pathlib import Path
from grid_runs import some_runs
from planner.execution import curve_store
from planner.execution.curve_store import CurveStore
from planner.execution.workers import _extend_all
curve_store.run = partial(curve_store.run, commit_every_s=0)
_extend_all(CurveStore(Path({root!r}), "cpu"), [(config, 400) for config in some_runs()[:3]])
"""


def test_what_was_committed_when_a_worker_is_killed_is_kept_and_goes_on(tmp_path: Path):
    alone, grid = CurveStore(tmp_path / "alone", "cpu"), CurveStore(tmp_path / "grid", "cpu")
    configs = some_runs()[:3]
    code = KILLED.format(paths=sys.path, root=str(grid.root))
    worker = subprocess.Popen([sys.executable, "-c", code])
    end_s = time.monotonic() + 120
    while not all(map(grid.rounds, configs)):
        assert worker.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    most = max(map(grid.rounds, configs))
    rounds = next(n for n in range(most + 1, most + 20) if last_evaluated_round(n) == n)
    _extend_all(grid, [(config, rounds) for config in configs])
    alone.extend(configs[0], rounds)
    assert_equal_records(alone, grid, configs[0])


def test_searches_at_the_same_time_share_runs_and_wait_for_no_one_forever(tmp_path: Path):
    store = CurveStore(tmp_path / "store", "cpu")
    jobs = [(config, 2) for config in some_runs()[:2]]
    with worker_pool(2) as pool:
        orders = [pool.submit(_extend_all, store, order) for order in (jobs, jobs[::-1])]
        one, other = (future.result(timeout=120) for future in orders)
    assert [a + b for a, b in zip(one, other[::-1], strict=True)] == [2] * 2


def test_runs_go_on_one_by_one_where_neighbours_would_shift_a_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parties = tiny_parties(tmp_path)
    alone = [train_side_by_side([party])[0] for party in parties]

    def shifting(parties):
        values = train_side_by_side(parties)
        if len(parties) > 1:
            values[0][0][0] = np.nextafter(values[0][0][0], np.float32(np.inf))
        return values

    monkeypatch.setattr(pass_jobs, "train_side_by_side", shifting)
    said: list[str] = []
    monkeypatch.setattr(bit_checks.warnings, "warn", lambda text, *_, **__: said.append(text))
    found = grid_with(parties)
    assert all(map(same, found, alone))
    why = "batching changes the last bits of a result on this machine"
    assert said == [f"{why}: these runs train one at a time"]


@pytest.mark.parametrize(("whole", "largest"), [(True, 3), (False, 1)])
def test_runs_share_passes_only_where_widths_are_whole_vectors(
    whole: bool, largest: int, passes: list[int], tmp_path: Path
):
    parties = tiny_parties(tmp_path, whole=whole)
    alone = [train_side_by_side([party])[0] for party in parties]
    assert all(map(same, grid_with(parties), alone))
    assert max(passes) == largest


@pytest.mark.parametrize("device_limits", [limits_of("cpu"), OVERLAPPING])
def test_an_error_is_that_of_the_run_that_made_it(device_limits: DeviceLimits, tmp_path: Path):
    parties = tiny_parties(tmp_path, TEXTS)
    wrong = parties[1].x.clone()
    wrong[:, 0] = 10_000
    alone = [train_side_by_side([party])[0] for party in parties]
    found = grid_with(
        [parties[0], replace(parties[1], x=wrong), parties[2]], device_limits=device_limits
    )
    assert same(found[0], alone[0])
    assert isinstance(found[1], TaskError)
    assert same(found[2], alone[2])


def test_a_pass_that_does_not_fit_is_tried_again_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parties = tiny_parties(tmp_path)
    alone = [train_side_by_side([party])[0] for party in parties]

    def tight(parties):
        if len(parties) > 1:
            raise torch.OutOfMemoryError("no")
        return train_side_by_side(parties)

    monkeypatch.setattr(pass_jobs, "train_side_by_side", tight)
    said: list[str] = []
    monkeypatch.setattr(bit_checks.warnings, "warn", lambda text, *_, **__: said.append(text))
    assert all(map(same, grid_with(parties), alone))
    assert said == ["runs do not fit in one pass (no): later passes have at most 3 clients"]


def test_runs_at_work_share_the_wall_s_clock():
    grid = PassScheduler(CPU)
    grid._add_members(1)
    before = grid.clock()
    time.sleep(0.1)
    alone_s = grid.clock() - before
    grid._add_members(3)
    before = grid.clock()
    time.sleep(0.1)
    assert 0.5 < 4 * (grid.clock() - before) / alone_s < 2


def test_a_pass_has_no_more_clients_than_are_allowed():
    def parts(sizes: list[int], most: int) -> list[list[int]]:
        return [sizes[part] for part in bit_checks._pass_slices(sizes, most)]

    assert parts([5] * 8, 24) == [[5] * 4, [5] * 4]
    assert parts([5, 3, 9, 1], 8) == [[5, 3], [9], [1]]
    assert parts([50], 24) == [[50]]


def test_a_pass_of_several_runs_keeps_to_the_chunk_of_each(passes: list[int], tmp_path: Path):
    grid_with(tiny_parties(tmp_path), chunk=4)  # two clients each
    assert 3 not in passes
    assert 2 in passes


@pytest.mark.parametrize(
    ("jobs", "workers", "most", "sizes"),
    [
        (16, 2, 4, [4] * 4), (2, 2, 4, [1, 1]), (5, 2, 4, [3, 2]), (4, 1, 4, [4]), (1, 8, 4, [1]),
        (0, 2, 4, []), (48, 1, 64, [48]), (65, 1, 64, [33, 32]),
    ],
)  # fmt: skip
def test_jobs_are_dealt_alike_to_workers(jobs: int, workers: int, most: int, sizes: list[int]):
    assert [len(group) for group in _groups(range(jobs), workers, most)] == sizes
