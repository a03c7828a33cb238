"""How training uses the cores: measured once, remembered, and part of what a curve is."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from floss_sim import load_task
from floss_sim.errors import RecordError
from floss_sim.network import NetworkProfile
from floss_sim.runs.config import RunConfig
from planner.candidates import grid
from planner.execution.cpu_parallelism import (
    FOLDER,
    Parallelism,
    decide_parallelism,
    known_parallelism,
    measure_speeds,
)
from planner.execution.curve_store import CurveStore
from planner.execution.workers import worker_pool
from planner.question.budget import parse_budget
from planner.question.request import Request
from planner.session import open_session

SEPARATE, TOGETHER = Parallelism(2, 1), Parallelism(1, 2)


def speeds(separate: float, together: float):
    return lambda config, cores: {SEPARATE: separate, TOGETHER: together}


@pytest.fixture
def config(digits: RunConfig) -> RunConfig:
    return digits


@pytest.mark.parametrize(
    ("separate", "together", "best"),
    [(10, 5, SEPARATE), (10, 10.9, SEPARATE), (10, 11.1, TOGETHER)],
)
def test_threads_have_to_be_clearly_faster(
    tmp_path: Path, config: RunConfig, separate: float, together: float, best: Parallelism
):
    assert known_parallelism(tmp_path, config, 2) is None
    assert decide_parallelism(tmp_path, config, 2, speeds(separate, together)) == best
    assert known_parallelism(tmp_path, config, 2) == best


def test_a_decision_is_of_a_model_and_a_machine(tmp_path: Path, config: RunConfig):
    decide_parallelism(tmp_path, config, 2, speeds(1, 2))
    assert known_parallelism(tmp_path, replace(config, seed=7, rank=config.rank + 1), 2) == TOGETHER
    assert known_parallelism(tmp_path, config, 4) is None
    assert known_parallelism(tmp_path, config.with_(server={"cohort": 7}), 2) is None


def test_who_comes_later_takes_what_was_decided_meanwhile(tmp_path: Path, config: RunConfig):
    def measured_late(config: RunConfig, cores: int):
        raise AssertionError("this was decided")

    lock = lock_of(tmp_path, config)
    with ThreadPoolExecutor(1) as other:
        with FileLock(lock):
            later = other.submit(decide_parallelism, tmp_path, config, 2, measured_late)
            lock.with_suffix(".json").write_text('{"workers": 1, "threads": 2}')
        assert later.result() == TOGETHER


def lock_of(root: Path, config: RunConfig) -> Path:
    decide_parallelism(root, config, 2, speeds(1, 1))
    (file,) = (root / FOLDER).glob("*.json")
    file.unlink()
    return file.with_suffix(".lock")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"workers": "many", "threads": 1}', '{"workers": 1, "threads": 0}']
)
def test_what_cannot_be_read_is_decided_anew(tmp_path: Path, config: RunConfig, text: str):
    decide_parallelism(tmp_path, config, 2, speeds(1, 2))
    (file,) = (tmp_path / FOLDER).glob("*.json")
    assert json.loads(file.read_text())["rounds_per_s"] == {
        "2 processes of one thread": 1, "one process of 2 threads": 2,
    }  # fmt: skip
    file.write_text(text)
    assert known_parallelism(tmp_path, config, 2) is None
    assert decide_parallelism(tmp_path, config, 2, speeds(2, 1)) == SEPARATE


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path, config: RunConfig):
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot create"):
        decide_parallelism(tmp_path / "file", config, 2, speeds(1, 2))


def test_both_ways_are_really_measured(config: RunConfig):
    with worker_pool(2) as pool:
        found = measure_speeds(config, 2, pool)
    assert set(found) == {SEPARATE, TOGETHER}
    assert all(speed > 0 for speed in found.values())


def test_curves_belong_to_a_number_of_threads(tmp_path: Path, config: RunConfig):
    one, two = CurveStore(tmp_path, "cpu"), CurveStore(tmp_path, "cpu", threads=2)
    assert one.folder(config).path != two.folder(config).path
    assert two.extend(config, 1) == 1
    assert (two.rounds(config), one.rounds(config)) == (1, 0)
    assert two.folder(config).description["trajectory"]["threads"] == 2


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_runs_share_a_gpu_in_one_process(tmp_path: Path, paper: NetworkProfile, device: str):
    budget, candidates = parse_budget("9-dense-rounds"), grid([1], [1.0], [1.0])
    settings = {"reference_rank": 4, "max_rounds": 40, "effort": 0.5, "seed": 0}
    asked = Request(load_task("digits"), budget, paper, candidates, **settings)
    for asked_for, given in ((None, 1), (3, 3)):
        with open_session(tmp_path, device, asked, asked_for) as trains:
            assert (trains.store.device, trains.store.threads, trains.workers) == (device, 1, given)
    assert not list(tmp_path.iterdir())  # nothing was measured
