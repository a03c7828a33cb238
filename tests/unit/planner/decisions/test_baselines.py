"""Baselines of a plan: their costs, and the reason for which one has no run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from timed_training import TimedTrainer, TimedTraining

from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import DivergedError
from planner import Request, grid
from planner.candidates import Candidate
from planner.execution.curve_store import CurveStore
from planner.planning import make_plan
from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.question.cost import price
from planner.report.plan_table import table_rows
from planner.report.plan_text import sentences

POOR = grid([1], [1 / 16], [1 / 16])


def asked(**settings) -> Request:
    usual = {"budget": "20-dense-rounds", "reference_rank": 4, "max_rounds": 20, "effort": 1}
    return Request.of("digits", "lte", candidates=POOR, **usual | settings)


def planned(request: Request, folder: Path, patch: pytest.MonkeyPatch) -> Plan:
    training = TimedTraining(lambda now_s: 1.0, 1.0).install(patch)
    made = make_plan(request, training.trainer(CurveStore(folder, "cpu"), 2), lambda told: None)
    content = json.loads(json.dumps(made.to_json()))
    assert json.loads(json.dumps(plan_of(content, "plan").to_json())) == content
    return made


def text(plan: Plan) -> str:
    return " ".join(" ".join(sentences(plan)).split())


def limit_between(name: str, request: Request, baseline: str) -> float:
    """Return a limit that every candidate but the named baseline keeps to."""
    costs, most = price(request), request.baselines()[baseline]
    figures = {
        c: cost.round_s if name == "max_round_s" else (cost.down_bytes + cost.up_bytes) * 0.9
        for c, cost in costs.of.items()
    }
    largest = figures.pop(most)
    assert largest > 1.2 * max(figures.values())
    return (largest + max(figures.values())) / 2


def test_a_baseline_with_rounds_that_are_too_long_is_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    limit = limit_between("max_round_s", asked(), "dense")
    plan = planned(asked(max_round_s=limit), tmp_path, monkeypatch)
    assert plan.missing_baselines == {"dense": "round_s"}
    assert plan.to_json()["missing_baselines"] == {"dense": "round_s"}
    assert list(plan.baseline_costs) == ["thesis_rule"]
    (row,) = (row for row in table_rows(plan) if row[0] == "dense LoRA")
    assert set(row[1:]) == {"-"}
    assert "There are no figures for dense LoRA: a round would take more than" in text(plan)


def test_a_baseline_with_too_many_bytes_in_its_first_round_is_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = asked()
    dense = price(request).of[request.baselines()["dense"]]
    plan = planned(
        asked(max_client_bytes=0.5 * (dense.down_bytes + dense.up_bytes)), tmp_path, monkeypatch
    )
    assert plan.missing_baselines == {"dense": "client_bytes"}
    assert "no figures for dense LoRA: a client would transfer more than" in text(plan)


def test_a_baseline_of_which_the_budget_pays_no_round_is_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = asked(budget="1GB")
    dense = request.baselines()["dense"]
    cohort = request.config(dense).server.cohort
    traffic = Traffic.predict(request.config(dense), 1)
    nbytes = cohort * float(traffic.down.mean() + traffic.up.mean())
    plan = planned(asked(budget=f"{int(0.9 * nbytes)}B"), tmp_path, monkeypatch)
    assert plan.missing_baselines == {"dense": "budget"}
    assert "no figures for dense LoRA: the budget affords no round of it" in text(plan)


def test_a_diverged_baseline_and_one_without_an_evaluation_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = asked()
    training = TimedTraining(lambda now_s: 1.0, 1.0).install(monkeypatch)
    dense = request.config(request.baselines()["dense"])

    class DivergingTrainer(TimedTrainer):
        def train(self, jobs, *rest):
            trained = super().train(jobs, *rest)
            return [
                None if config == dense else n for (config, _), n in zip(jobs, trained, strict=True)
            ]

    trainer = DivergingTrainer(training, CurveStore(tmp_path, "cpu"), 2)
    plan = make_plan(request, trainer, lambda told: None)
    assert plan.missing_baselines == {"dense": "diverged"}
    assert "no figures for dense LoRA: its training diverged" in text(plan)
    assert plan_of(json.loads(json.dumps(plan.to_json())), "plan").baselines["dense"] is None


def test_baselines_have_costs_that_predict_the_bytes_of_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = asked()
    plan = planned(request, tmp_path, monkeypatch)
    made = plan.baselines["dense"]
    assert made.candidate not in map(Candidate.of_settings, plan.costs)
    cost = plan.cost(made.candidate)
    assert cost == plan.baseline_costs["dense"]
    told = Traffic.predict(request.config(made.candidate), made.rounds)
    assert cost["down_bytes"] == pytest.approx(float(told.down.mean()), rel=0.01)
    assert cost["up_bytes"] == pytest.approx(float(told.up.mean()), rel=0.01)
    messages = made.rounds * made.cohort
    told_bytes = messages * (cost["down_bytes"] + cost["up_bytes"])
    assert told_bytes == pytest.approx(made.total_bytes, rel=0.05)
    assert plan.affordable_rounds(made.candidate) >= made.rounds


def test_a_plan_of_which_every_run_diverged_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class DivergingTrainer(TimedTrainer):
        def train(self, jobs, *rest):
            return [None] * len(jobs)

    training = TimedTraining(lambda now_s: 1.0, 1.0).install(monkeypatch)
    trainer = DivergingTrainer(training, CurveStore(tmp_path, "cpu"), 2)
    with pytest.raises(DivergedError):
        make_plan(asked(), trainer, lambda told: None)


def test_baselines_take_the_workers_that_a_search_leaves_idle_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    space = grid([1, 4], [1, 1 / 4], [1 / 4, 1 / 16])
    request = replace(asked(), candidates=tuple(space), effort=0.6)
    baselines = [request.config(c) for c in request.baselines().values()]
    stages: list[dict[bool, list[int]]] = []  # missing rounds of searched runs, and of baselines
    training = TimedTraining(lambda now_s: 1.0, 1.0).install(monkeypatch)

    class CountingTrainer(TimedTrainer):
        def train(self, jobs, *rest):
            missing: dict[bool, list[int]] = {False: [], True: []}
            for config, rounds in jobs:
                missing[config in baselines].append(rounds - self.store.rounds(config))
            stages.append(missing)
            return super().train(jobs, *rest)

    def trainer(workers: int) -> CountingTrainer:
        store = CurveStore(tmp_path / str(workers), "cpu")
        return CountingTrainer(training, store, workers)

    plans = [make_plan(request, trainer(n), lambda told: None) for n in (1, 3)]
    assert plans[0].to_json() == plans[1].to_json()
    assert all(plans[0].baselines.values())
    first_stages = [i for i, stage in enumerate(stages) if len(stage[True]) == 2]
    assert first_stages[0] == 0  # one worker: whole, beside the first runs
    filled = [stage for stage in stages[1:] if stage[True] and stage[False]]
    assert filled
    assert all(max(stage[True]) <= max(stage[False]) for stage in filled)
