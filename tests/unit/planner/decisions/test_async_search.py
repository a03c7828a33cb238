"""Asynchronous search of a plan: its decisions are recorded, and made again in a replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_sessions import in_this_process

from floss_sim.errors import ConfigError, PlanError
from planner import Request, grid, plan, read_plan
from planner.decisions.async_offer import async_offer
from planner.plans.decision_section import DecisionsSection
from planner.plans.plan import Plan
from planner.plans.plan_checks import first_contradiction
from planner.report.reported_plan import ReportedPlan

NOW = ("trained_now_rounds", "trained_now_runs")  # of the effort, which the store changes


def request(**changes: Any) -> Request:
    asked = {"effort": 0.6, "search": "async-race", "reference_rank": 4, "lr_test": False} | changes
    space = grid([1, 4], [1.0], [1.0, 0.25])
    return Request.of(
        "digits", "lte", budget="5-dense-rounds", max_rounds=10, candidates=space, **asked
    )


@pytest.fixture(scope="module", autouse=True)
def _trains_in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.session.worker_pool", in_this_process)
        yield


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportedPlan, Path]:
    """Return a plan for three workers, and its store."""
    store = tmp_path_factory.mktemp("async")
    return plan(request(), workers=3, store=store), store


def content(made: Plan) -> dict[str, Any]:
    told = made.to_json()
    return {**told, "effort": {k: v for k, v in told["effort"].items() if k not in NOW}}


def test_a_replay_of_recorded_decisions_gives_the_same_plan(planned, tmp_path: Path):
    """The store holds all curves, so that answers come at once, in another order than before."""
    made, store = planned
    told = made.effort["decisions"]
    assert told["workers"] == 3
    assert len(told["steps"]) > len({str(step["candidate"]) for step in told["steps"]})
    again = plan(request(), workers=1, store=store, replay=made)
    assert content(again) == content(made)
    assert again.effort["trained_now_rounds"] == 0
    assert "runs of 3 workers ended; --replay makes them again" in " ".join(made.summary().split())
    again.save(tmp_path)
    assert content(read_plan(tmp_path)) == content(again)


def test_decisions_that_no_search_makes_are_refused(planned):
    made, _ = planned
    told = made.effort["decisions"]
    first, second, *rest = told["steps"]
    wrong = [
        [{**first, "after": 1}, second, *rest],
        [{**first, "answered": second["answered"]}, second, *rest],
        [{**first, "answered": None}, second, *rest],
        [{**first, "candidate": second["candidate"]}, second, *rest],
    ]
    for steps in wrong:
        effort = {**made.effort, "decisions": {**told, "steps": steps}}
        assert "effort.decisions" in first_contradiction(replace(made, effort=effort))
    lonely = DecisionsSection.model_validate({**told, "workers": 1})
    assert "1 workers" in next(lonely.contradictions())
    effort = {**made.effort, "search": "race"}
    assert first_contradiction(replace(made, effort=effort))


def test_a_replay_that_departs_from_the_record_is_refused(planned):
    made, store = planned
    steps = list(made.effort["decisions"]["steps"])
    steps[-1] = {**steps[-1], "rounds": steps[-1]["rounds"] + 5}
    other = replace(made, effort={**made.effort, "decisions": {"workers": 3, "steps": steps}})
    with pytest.raises(PlanError, match="departs from"):
        plan(request(), workers=1, store=store, replay=other)


def test_what_cannot_be_replayed_is_said_in_one_line(planned, tmp_path: Path):
    made, _ = planned
    plain = replace(made, effort={k: v for k, v in made.effort.items() if k != "decisions"})
    with pytest.raises(PlanError, match="no decisions to replay"):
        plan(request(), workers=1, store=tmp_path, replay=plain)
    with pytest.raises(ConfigError, match="needs --search async-race"):
        plan(request(search="race"), workers=1, store=tmp_path, replay=made)
    with pytest.raises(PlanError, match="was interrupted"):
        plan(request(), workers=1, store=tmp_path, replay=replace(made, interrupted=True))


def test_many_workers_are_told_of_it():
    assert "With 5 workers" in async_offer(5)
    assert async_offer(300).count("%") == 2
