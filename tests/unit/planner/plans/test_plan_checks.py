"""A plan whose figures contradict each other is refused; every other plan is read."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from made_plans import whole_plan

from floss_sim.errors import PlanError
from planner.plans.plan_checks import first_difference
from planner.plans.plan_file import plan_of, read_plan

DEFAULT = Path(__file__).parents[4] / "experiments" / "default_plan" / "plan.json"
CONTENT = json.loads(DEFAULT.read_text(encoding="utf-8"))


def changed(path: str, value: Any, content: Any = CONTENT) -> Any:
    made = deepcopy(content)
    place = made
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        place = place[key]
    place[last] = value(place[last]) if callable(value) else value
    return made


def refusal(content: Any) -> str:
    with pytest.raises(PlanError) as error:
        plan_of(content, "plan.json")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_real_plan_agrees_with_itself():
    assert read_plan(DEFAULT).recommendation.rounds == 400


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("request.max_rounds", 399, "400 rounds exceed the cap of 399"),
        ("request.max_rounds", 10**9, "more than a plan may have, 50000"),
        ("recommendation.rounds", 401, "exceed the cap of 400"),
        ("recommendation.rounds", 399, "round 399 is none of the measured ones"),
        ("recommendation.rounds", 390, "must ascend to 390, the last one of the run"),
        ("runners_up.1.rounds", 54, "round 54 is none of the measured ones"),
        ("baselines.dense.rounds", 54, "baselines.dense.rounds: round 54"),
        ("recommendation.rank", 64, "recommendation.rank: 64 is outside the searched space"),
        ("recommendation.up_density", 0.3, "up_density: 0.3 is outside the searched space"),
        ("recommendation.values", "int8", "values: int8 is outside the searched space"),
        ("recommendation.method", "ffa", "method: ffa is outside the searched space"),
        ("baselines.dense.rank", 4, "is not this baseline"),
        ("baselines.thesis_rule.down_density", 1.0, "is not this baseline"),
        ("recommendation.validation_accuracy", 0.97, "differs from 0.98 in the curve"),
        ("recommendation.budget_spent", 0.5, "recommendation.budget_spent"),
        ("recommendation.largest_round", 1e-6, "do not spend"),
        ("recommendation.down_bytes", lambda old: old + 5, "down_bytes_per_client_round"),
        ("recommendation.cohort", 6, "down_bytes_per_client_round"),
        ("recommendation.binds", "luck", "'luck' is unknown"),
        ("recommendation.tie", False, "recommendation.tie: it contradicts"),
        ("recommendation.interval.low", 0.99, "low, mean and high must ascend"),
        ("recommendation.interval.level", 0.5, "recommendation.interval.level"),
        ("recommendation.curve.3.0", 2, "must ascend"),
        ("recommendation.curve.3.1", 0.9, "must not fall"),
        ("best_accuracy", 0.99, "differs from the best run's"),
        ("runners_up.1", CONTENT["runners_up"][0], "a candidate is there twice"),
        ("budget.unit", "bytes", "budget.unit: it contradicts"),
        ("costs.0.affordable_rounds", 401, "costs.0.affordable_rounds"),
        ("explanation.neighbours.0.rounds", 999, "explanation.neighbours.0.rounds"),
        ("reached", True, "belongs to a plan with a target"),
    ],
)
def test_figures_that_contradict_each_other_are_named(path: str, value: Any, said: str):
    assert said in refusal(changed(path, value))


def test_an_amount_is_that_of_its_text():
    content = json.loads(json.dumps(whole_plan().to_json()))
    assert "budget.amount: 2e+06 differs from '1MB'" in refusal(
        changed("budget.amount", 2e6, content)
    )


def test_a_changed_count_of_rounds_is_never_silent():
    draw = random.Random(3)
    outcomes = ["recommendation", *(f"runners_up.{i}" for i in range(len(CONTENT["runners_up"])))]
    for _ in range(60):
        path = f"{draw.choice(outcomes)}.rounds"
        refusal(
            changed(path, lambda old: draw.choice([old + 1, old - 1, 2 * old, old // 2, 10**9]))
        )


def test_differences_are_found_by_their_place():
    assert first_difference({"a": [1, {"b": 2.0}], "x": 1}, {"a": [1, {"b": 2}], "y": 1}) == ""
    assert first_difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}) == "a.1.b"
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == "a"
    assert first_difference({"a": None}, {"a": {}}) == "a"
