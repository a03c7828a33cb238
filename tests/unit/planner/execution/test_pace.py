"""The pace of training: from the notes of stored runs, or from what every worker measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from some_runs import Inline

from floss_sim import RunConfig
from floss_sim.methods import method_from_name
from floss_sim.records.host_notes import note_start
from floss_sim.training.step_time import StepTime
from planner import Request, grid
from planner.execution import step_measurement, trainer
from planner.execution.curve_store import CurveStore
from planner.execution.pace import (
    measured_pace,
    pace_of_steps,
    start_workers,
    steps_of_round,
    stored_pace,
)
from planner.execution.trainer import LocalTrainer
from planner.question.cost import price

STEP = StepTime("bank", 5, 0.014, 0.007, 0.021, 4.0, 0.1)


def asked() -> Request:
    return Request.of(
        "digits", "lte", budget="20-dense-rounds", reference_rank=4, max_rounds=60,
        candidates=grid([1, 4], [1.0], [1.0, 1 / 16]),
    )  # fmt: skip


def note(store: CurveStore, request: Request, number: int, rounds: int, seconds: float) -> None:
    folder = store.create(request.config(request.candidates[number]))
    line = {"after": 0, "round": rounds, "host_s": seconds, "peak_memory_kb": 1000 * (number + 1)}
    (folder.path / "host.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")


def test_stored_runs_tell_the_pace_and_nothing_is_measured(tmp_path: Path):
    request, store = asked(), CurveStore(tmp_path, "cpu")
    note(store, request, 0, 30, 6.0)
    note(store, request, 1, 10, 4.0)
    found = stored_pace(request, price(request), store)
    steps = steps_of_round(request.reference())
    assert found.step_s == pytest.approx(10.0 / (40 * steps))
    assert found.step_low_s <= 6.0 / (30 * steps) * 1.2
    assert found.step_low_s < found.step_s < found.step_high_s
    assert found.memory_bytes == 2000 * 1024
    assert not found.measured


def test_too_few_stored_rounds_tell_nothing(tmp_path: Path):
    request, store = asked(), CurveStore(tmp_path, "cpu")
    costs = price(request)
    assert stored_pace(request, costs, store, 1) is None
    note(store, request, 0, 19, 6.0)
    assert stored_pace(request, costs, store) is None
    assert stored_pace(request, costs, store, 1).step_s > 0


def test_the_last_start_of_the_processes_is_the_expected_one(tmp_path: Path):
    request, store = asked(), CurveStore(tmp_path, "cpu")
    note(store, request, 0, 30, 6.0)
    for seconds in (3.0, 12.5):
        note_start(store.root, seconds)
    assert stored_pace(request, price(request), store).start_s == 12.5


def test_workers_that_measure_at_once_have_one_pace():
    other = StepTime("bank", 5, 0.028, 0.014, 0.042, 4.0, 0.3)
    found = pace_of_steps([(STEP, 2.0, 7 * 10**8), (other, 3.0, 8 * 10**8)], 9.5)
    assert found.step_s == pytest.approx(0.021 / 1.4**0.5)
    assert (found.step_low_s, found.step_high_s) == (pytest.approx(0.005), 0.042)
    assert found.evaluation_s == pytest.approx(0.2)
    assert (found.start_s, found.measuring_s) == (6.5, 3.0)
    assert found.memory_bytes == 8 * 10**8
    assert found.measured


def test_every_worker_measures_once_and_keeps_what_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[str] = []
    monkeypatch.setattr(
        step_measurement, "bank_step_time", lambda config, device: seen.append(device) or STEP
    )
    ticks: list[None] = []
    local = LocalTrainer(CurveStore(tmp_path, "cpu"), Inline(), 3)
    found = measured_pace(asked(), local, lambda: ticks.append(None))
    assert seen == ["cpu"] * 3
    assert ticks
    assert found.evaluation_s == pytest.approx(STEP.evaluation_s)
    assert not list(tmp_path.iterdir())


def test_a_start_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trainer, "load_learner", lambda config, device: None)
    instants = iter([10.0, 17.5])
    local = LocalTrainer(CurveStore(tmp_path, "cpu"), Inline(), 2)
    took_s = start_workers(asked(), local, lambda: None, lambda: next(instants))
    assert took_s == 7.5


def test_steps_of_a_round_are_those_of_the_method(digits: RunConfig):
    plain = steps_of_round(digits)
    for name, told, expected in (
        ("feddpa", {}, 2 * plain),  # both adapters in turns
        ("fedkseed", {"seeds": 64, "steps": 40}, 40 * digits.server.cohort),
    ):
        run = RunConfig.of(digits.task, method_from_name(name, **told), rank=4)
        assert steps_of_round(run) == pytest.approx(expected)
