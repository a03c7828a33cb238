from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from some_runs import Inline

from floss_sim import RunConfig
from floss_sim.errors import FlossError, RecordError
from floss_sim.training import test_metrics as single_metrics
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool


def test_measured_rounds_follow_the_written_schedule():
    schedule = [1, 2, 3, 5, 7, *range(10, 100, 5), *range(100, 401, 10)]
    for rounds in range(1, 401):
        assert last_evaluated_round(rounds) == max(r for r in schedule if r <= rounds)


def test_every_measured_round_of_a_stored_run_is_evaluated(
    sparse_digits: RunConfig, tmp_path: Path
):
    store = CurveStore(tmp_path, "cpu")
    assert store.extend(sparse_digits, 3) == 3
    assert store.extend(sparse_digits, 15) == 12
    assert store.extend(sparse_digits, 10) == 0
    evaluated = store.folder(sparse_digits).record().evaluated()["round"].to_pylist()
    assert evaluated == [1, 2, 3, 5, 7, 10, 15]


def test_test_accuracy_is_that_of_the_last_models(sparse_digits: RunConfig, tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    store.extend(sparse_digits, 20)
    assert store.cached_on_test(sparse_digits, 15) is None
    hits = store.on_test(sparse_digits, 15)
    folder = store.folder(sparse_digits)
    singles = [single_metrics(sparse_digits, folder.model(r), "cpu") for r in (15,)]
    assert hits.models == 1
    assert hits.right.mean() == pytest.approx(singles[0]["accuracy"])
    folder_metrics = folder.test_metrics(15)
    assert folder_metrics == pytest.approx(singles[0])
    again = store.cached_on_test(sparse_digits, 15)
    assert again is not None
    assert np.array_equal(again.right, hits.right)


def test_an_extended_and_a_resumed_run_have_the_models_of_one_that_never_stopped(
    sparse_digits: RunConfig, tmp_path: Path
):
    whole, parts = CurveStore(tmp_path / "whole", "cpu"), CurveStore(tmp_path / "parts", "cpu")
    whole.extend(sparse_digits, 40)
    parts.extend(sparse_digits, 35)
    before = parts.on_test(sparse_digits, 35)  # the last part: rounds 30 and 35
    parts.extend(sparse_digits, 40)  # which prolongs the run by one evaluation
    for rounds in (35, 40):
        one, other = (store.on_test(sparse_digits, rounds) for store in (whole, parts))
        assert (one.models, other.models) == (2, 2)
        assert np.array_equal(one.right, other.right)
    assert np.array_equal(parts.on_test(sparse_digits, 35).right, before.right)
    folders = [store.folder(sparse_digits) for store in (whole, parts)]
    for number in folders[0].manifest().models:
        assert folders[0].model(number) == folders[1].model(number)


def test_a_run_without_models_is_not_tested(sparse_digits: RunConfig, tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    store.create(sparse_digits)
    with pytest.raises(RecordError, match="has no model to test: no evaluation in the first 9"):
        store.on_test(sparse_digits, 9)


def test_a_diverging_run_gives_none_and_does_not_stop_the_others(
    sparse_digits: RunConfig, tmp_path: Path
):
    store = CurveStore(tmp_path, "cpu")
    wild = sparse_digits.with_(client={"learning_rate": 1e30})
    ticks: list[None] = []
    jobs = [(wild, 2), (sparse_digits, 2)]
    trained = LocalTrainer(store, Inline()).train(jobs, lambda: ticks.append(None))
    assert trained == [None, 2]
    assert ticks


def crash() -> None:
    import os

    os._exit(9)


def test_a_worker_that_dies_is_one_clear_error():
    with pytest.raises(FlossError, match="fewer --workers"), worker_pool(1) as pool:
        pool.submit(crash).result()
