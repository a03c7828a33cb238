"""The choice is the best of all that was trained, baselines included, within the limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner import Request, grid, plan
from planner.plans.plan_file import plan_of
from planner.question.cost import price

POOR = grid([1], [1 / 64], [1 / 64])
SETTINGS = {"budget": "20-dense-rounds", "reference_rank": 4, "max_rounds": 20, "effort": 1}


def test_a_baseline_that_was_not_searched_is_recommended_where_it_is_best(tmp_path: Path):
    request = Request.of("digits", "paper-200-20", candidates=POOR, **SETTINGS)
    made = plan(request, store=tmp_path, workers=1)
    best = max([*made.runners_up, made.recommendation], key=lambda o: o.expected_accuracy)
    assert made.recommendation.candidate in {o.candidate for o in made.baselines.values() if o}
    assert made.recommendation.candidate not in request.candidates
    assert made.ties(made.recommendation)
    assert best.expected_accuracy == made.best_accuracy
    assert plan_of(json.loads(json.dumps(made.to_json())), "plan") is not None


def test_the_longest_mean_round_holds_for_baselines_too():
    request = Request.of("digits", "lte", candidates=POOR, **SETTINGS)
    free = price(request)
    slowest = max(request.baselines().values(), key=lambda c: free.of[c].round_s)
    limit = free.of[slowest].round_s * 0.999
    bound = price(Request.of("digits", "lte", candidates=POOR, max_round_s=limit, **SETTINGS))
    assert slowest in free.of
    assert slowest not in bound.of
    assert all(cost.round_s <= limit for cost in bound.of.values())


@pytest.mark.parametrize("share", [0.5])
def test_the_bytes_of_the_busiest_client_hold_for_baselines_too(share: float):
    request = Request.of("digits", "lte", candidates=POOR, **SETTINGS)
    free = price(request)
    dense = request.baselines()["dense"]
    most = share * (free.of[dense].down_bytes + free.of[dense].up_bytes)
    bound = price(Request.of("digits", "lte", candidates=POOR, max_client_bytes=most, **SETTINGS))
    assert dense in free.of
    assert dense not in bound.of
