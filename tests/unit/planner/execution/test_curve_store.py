from __future__ import annotations

from pathlib import Path

import pytest
from some_runs import Inline

from floss_sim import RunConfig
from floss_sim.errors import FlossError
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.workers import train_all, worker_pool


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


def test_a_diverging_run_gives_none_and_does_not_stop_the_others(
    sparse_digits: RunConfig, tmp_path: Path
):
    store = CurveStore(tmp_path, "cpu")
    wild = sparse_digits.with_(client={"learning_rate": 1e30})
    ticks: list[None] = []
    jobs = [(wild, 2), (sparse_digits, 2)]
    trained = train_all(Inline(), store, jobs, lambda: ticks.append(None))
    assert trained == [None, 2]
    assert ticks


def crash() -> None:
    import os

    os._exit(9)


def test_a_worker_that_dies_is_one_clear_error():
    with pytest.raises(FlossError, match="fewer --workers"), worker_pool(1) as pool:
        pool.submit(crash).result()
