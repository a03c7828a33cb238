"""Seconds of a step: really trained each time, more for larger inputs and larger batches."""

from __future__ import annotations

from types import SimpleNamespace

from floss_sim import RunConfig, dense, load_task
from floss_sim.methods import method_from_name
from floss_sim.training import local_sgd, step_time
from floss_sim.training.learners import build, sequential_learner
from floss_sim.training.side_by_side import training_job
from floss_sim.training.step_time import bank_step_time, step_times


def digits(method=None, **changes) -> RunConfig:
    return RunConfig.of(load_task("digits"), method or dense(), rank=2).with_(**changes)


def test_every_cohort_that_is_timed_is_really_trained_on_another_order(monkeypatch):
    seen: list[bytes] = []

    def noted(works) -> None:
        seen.extend(b"".join(batch.tobytes() for batch in work.batches) for work in works)

    together, alone = training_job.train_together, local_sgd.train_locally
    monkeypatch.setattr(
        training_job, "train_together", lambda *a: noted(a[0][0].works) or together(*a)
    )
    monkeypatch.setattr(sequential_learner, "train_locally", lambda *a: noted([a[-2]]) or alone(*a))
    monkeypatch.setattr(step_time, "_REPETITIONS", 2)
    bank, sequential = step_times(digits(), "cpu", 1)
    assert (bank.learner, sequential.learner) == ("bank", "sequential")
    assert bank.clients == sequential.clients == 5
    assert len(seen) == 2 * 3 * 5
    assert len(set(seen)) == 3 * 5  # both learners see the same cohorts
    assert 0 < bank.step_low_s <= bank.step_s <= bank.step_high_s


def test_a_learner_that_cannot_batch_is_named_once(monkeypatch):
    monkeypatch.setattr(step_time, "_REPETITIONS", 1)
    (only,) = step_times(digits(method_from_name("full")), "cpu", 1)
    assert only.learner == "sequential"


def test_a_slow_model_is_not_timed_more_often_than_is_enough(monkeypatch):
    monkeypatch.setattr(step_time, "_ENOUGH_S", 0.0)
    timed = []
    real = training_job.train_together
    monkeypatch.setattr(training_job, "train_together", lambda *a: timed.append(1) or real(*a))
    step_times(digits(), "cpu", 1)
    assert len(timed) == 1  # the warm-up itself


def test_loading_contains_the_libraries_and_the_backbone(monkeypatch):
    """The clock stands still but while the backbone is opened: 100 seconds."""
    now, opened = [0.0], build.open_side_by_side

    def slowly(device: str):
        now[0] += 100.0
        return opened(device)

    monkeypatch.setattr(build, "open_side_by_side", slowly)
    monkeypatch.setattr(step_time, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(step_time, "_REPETITIONS", 1)
    found = bank_step_time(digits(), "cpu")
    assert (found.loading_s, found.step_s, found.evaluation_s) == (100.0, 0.0, 0.0)
