"""A run whose accuracy fell is recommended at its highest accuracy or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import pytest
from stand_in_learners import CountingLearner

from floss_sim import load_task, run
from floss_sim.network import NetworkProfile
from floss_sim.protocol import Metrics
from floss_sim.training import learner_identity
from planner.answers import BudgetOnNetwork, answer_all
from planner.candidates import Candidate, grid
from planner.execution.curve_store import CurveStore
from planner.execution.trainer import LocalTrainer
from planner.forecasts.smoothing import smoothed_accuracy
from planner.planning import make_plan
from planner.plans.outcome import FALL
from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.question.budget import parse_budget
from planner.question.request import Request
from planner.report.plan_text import sentences

SPACE = grid([1, 2], [1], [1, 1 / 16])
FALLEN, STEADY = Candidate(1, 1.0, 1.0), Candidate(1, 1.0, 1 / 16)
ROUNDS = 40
COLLAPSE = (0.77, 0.43, 0.09)
FLAT = (0.568,) * ROUNDS


class ScriptedLearner(CountingLearner):
    """A learner with given accuracies after rounds 1, 2, ..."""

    def __init__(self, accuracies: Sequence[float]) -> None:
        super().__init__()
        self.accuracies = accuracies

    def evaluate(self, version: int) -> Metrics | None:
        return Metrics(self.accuracies[version - 1], 1.0, 0.5, 2.0)


def question(paper: NetworkProfile) -> Request:
    return Request(
        task=load_task("digits"), budget=parse_budget("1GB"), profile=paper, candidates=SPACE,
        reference_rank=2, max_rounds=ROUNDS, effort=1.0, seed=0, search="grid",
    )  # fmt: skip


def filled_store(request: Request, folder: Path, fallen: Sequence[float]) -> CurveStore:
    """Return a store with every run of a request: one of given accuracies, the others steady."""
    store = CurveStore(folder, "cpu")
    for candidate in {*SPACE, *request.baselines().values()}:
        config = request.config(candidate)
        learner = ScriptedLearner(fallen if candidate == FALLEN else FLAT)
        learner.identity = learner_identity(config)  # it stands for the store's
        made = store.create(config)
        with made.lock():
            run(config, request.profile, learner, rounds=ROUNDS, folder=made, eval_every=1)
    return store


def made_plan(
    paper: NetworkProfile, folder: Path, fallen: Sequence[float], patch: pytest.MonkeyPatch
) -> Plan:
    patch.setattr(LocalTrainer, "on_test", lambda trainer, jobs: [None] * len(jobs))
    request = question(paper)
    store = filled_store(request, folder, fallen)
    return make_plan(request, LocalTrainer(store, Executor()), lambda progress: None)


def test_a_better_peak_is_recommended_with_its_own_rounds(
    paper: NetworkProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    curve = (*(0.8 - 0.6 * (1 + r) ** -1.0 for r in range(1, 38)), *COLLAPSE)
    plan = made_plan(paper, tmp_path, curve, monkeypatch)
    best = plan.recommendation
    assert (best.candidate, best.rounds, best.binds) == (FALLEN, 37, FALL)
    assert best.accuracy == pytest.approx(curve[36])
    end = smoothed_accuracy(range(1, 38), curve[:37], 37)
    assert best.interval.mean == pytest.approx(end, abs=0.01)
    assert best.interval.low < end < best.interval.high
    whole = question(paper)
    record = CurveStore(tmp_path, "cpu").folder(whole.config(FALLEN)).record()
    sent = [record.rounds[way].to_pylist()[:37] for way in ("down_bytes", "up_bytes")]
    assert [best.down_bytes, best.up_bytes] == [sum(way) for way in sent]
    assert best.time.draws == 1
    assert 0 < best.spent < 1
    text = " ".join(" ".join(sentences(plan)).split())
    assert "its validation accuracy fell, by more than noise: it ends after round 37" in text
    assert "10 % more budget would not help: the run would still end after 37 rounds" in text
    assert plan_of(json.loads(json.dumps(plan.to_json())), "plan") is not None


def test_a_collapsed_end_is_not_recommended_over_a_steady_run(
    paper: NetworkProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    curve = (*(0.45,) * 30, *(0.5,) * 7, *COLLAPSE)
    peak = smoothed_accuracy(range(1, ROUNDS + 1), curve, 38)
    plan = made_plan(paper, tmp_path, curve, monkeypatch)
    assert plan.recommendation.candidate != FALLEN
    assert plan.recommendation.expected_accuracy == pytest.approx(0.568, abs=0.02)
    (fallen,) = (run for run in plan.runners_up if run.candidate == FALLEN)
    assert (fallen.rounds, fallen.binds) == (38, FALL)
    assert fallen.interval.low < peak < fallen.interval.high
    assert {run.binds for run in plan.runners_up if run.candidate != FALLEN} == {"round cap"}


def test_an_answer_from_stored_curves_ends_where_the_plan_does(
    paper: NetworkProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    curve = (*(0.8 - 0.6 * (1 + r) ** -1.0 for r in range(1, 38)), *COLLAPSE)
    best = made_plan(paper, tmp_path, curve, monkeypatch).recommendation
    cell = BudgetOnNetwork(paper, parse_budget("1GB"))
    (told,) = answer_all(question(paper), [cell], CurveStore(tmp_path, "cpu"))
    assert (told.kind, told.candidate, told.rounds) == ("measured", FALLEN, best.rounds)
    assert told.affords == ROUNDS
    assert told.accuracy == best.expected_accuracy
    assert (told.interval.low, told.interval.high) == (best.interval.low, best.interval.high)
    assert told.total_bytes == best.total_bytes
    assert told.confirm_rounds == 0
