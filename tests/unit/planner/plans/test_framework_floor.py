"""A plan on a network with a framework says how much of a round is the framework's floor."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_plans import whole_plan

from floss_sim import RunConfig, floss, load_profile, load_task, size_only
from planner.plans.time_shares import round_time
from planner.question.cost import resolve_limit
from planner.question.request import Request
from planner.report.explanation_text import explanation_sentences

NAME = "flower-1.42"


def test_the_floor_is_what_the_run_would_not_take_without_the_framework():
    task, profile = load_task("digits"), load_profile("lte").with_framework(NAME)
    config = RunConfig.of(task, floss(1 / 4, 1 / 16), rank=4)
    limit = resolve_limit(Request.of("digits", "lte", budget="20MB"))
    found = round_time(size_only(config, profile, rounds=6), profile, limit, 6)
    plain = profile.without_framework()
    rest = round_time(size_only(config, plain, rounds=6), plain, limit, 6)
    assert found.framework == pytest.approx(1 - rest.round_s / found.round_s)
    parts = ("download", "upload", "latency", "compute", "queueing", "framework")
    assert sum(getattr(found, part) for part in parts) == pytest.approx(1)
    assert "framework" not in rest.model_dump(exclude_unset=True)


def test_its_sentence_stands_in_the_plan():
    plan = whole_plan()
    assert not any("floor of" in line for line in explanation_sentences(plan))
    time = plan.explanation.time.model_copy(update={"framework": 0.9})
    explanation = plan.explanation.model_copy(update={"time": time})
    request = {**plan.request, "network": f"lte, framework {NAME}"}
    said = explanation_sentences(replace(plan, explanation=explanation, request=request))
    (line,) = (line for line in said if "floor of" in line)
    assert "(90 %) are the floor of flower-1.42: its polls and process starts." in line
