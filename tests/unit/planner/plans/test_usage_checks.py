"""What a run takes from its devices: figures that contradict the run are refused."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from made_plans import whole_plan

from floss_sim.errors import PlanError
from planner.plans.plan_file import plan_of

MADE = json.loads(json.dumps(whole_plan().to_json()))


def with_usage(**changes: Any) -> Any:
    content = deepcopy(MADE)
    content["recommendation"]["usage"] |= changes
    return content


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"busiest_device_bytes": 900_000}, "is not between the mean of all devices"),
        ({"busiest_device_bytes": 15_000}, "is not between the mean of all devices"),
        (
            {"busiest_device_bytes": 7_999, "mean_device_bytes": 7_000.0},
            "is less than a message of the mean round",
        ),
        ({"energy_j": 5.0}, "energy_j and busiest_device_j belong together"),
        ({"money": 5.0}, "money and currency belong together"),
        ({"energy_j": 5.0, "busiest_device_j": 6.0}, "6 exceeds the 5 of all devices"),
        ({"busiest_device_bytes": 0}, "recommendation.usage.busiest_device_bytes"),
    ],
)
def test_figures_that_contradict_the_run_are_refused(changes: dict[str, Any], said: str):
    with pytest.raises(PlanError) as error:
        plan_of(with_usage(**changes), "plan.json")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_mean_is_that_of_all_devices_of_the_fleet():
    content = deepcopy(MADE)
    content["request"]["fleet"] = {"clients": 50}
    assert plan_of(content, "plan.json").recommendation.usage.mean_device_bytes == 16_000
    content["request"]["fleet"] = {"clients": 49}
    with pytest.raises(PlanError, match=r"49 devices of \d+ bytes are not the \d+ bytes"):
        plan_of(content, "plan.json")


def test_the_busiest_device_spends_the_budget_of_a_device():
    content = deepcopy(MADE)
    content["budget"] |= {"text": "70kB/device", "kind": "device-bytes", "amount": 70_000.0}
    content["explanation"]["spent_on_uploads"] = None
    with pytest.raises(PlanError, match="50000 differs from the 56000 of the budget"):
        plan_of(content, "plan.json")  # the run spent 0.8 of the budget


def test_a_plan_without_usage_is_read():
    content = deepcopy(MADE)
    for run in (content["recommendation"], *content["runners_up"], content["baselines"]["dense"]):
        del run["usage"]
    assert plan_of(content, "plan.json").recommendation.usage is None


@pytest.mark.parametrize(
    ("place", "changes", "said"),
    [
        (0, {"busiest_device_bytes": 20_000}, "20000 is not between the mean of all devices, 200,"),
        (1, {"mean_device_bytes": 100.0}, "50 devices of 100 bytes are not the 10000 bytes"),
        (1, {"energy_j": 5.0, "busiest_device_j": 6.0}, "6 exceeds the 5 of all devices"),
        (2, {}, "a usage belongs to all kinds but 'unknown'"),
    ],
)
def test_figures_of_an_answer_that_contradict_it_are_refused(
    place: int, changes: dict[str, Any], said: str
):
    content = deepcopy(MADE)
    content["request"]["fleet"] = {"clients": 50}
    assert plan_of(content, "plan.json").also[place].usage == whole_plan().also[place].usage
    content["also"][place]["usage"] = content["also"][0]["usage"] | changes
    with pytest.raises(PlanError, match=rf"also\.{place}.*{said}"):
        plan_of(content, "plan.json")


def test_a_budget_of_an_answer_that_cannot_be_read_is_refused():
    content = deepcopy(MADE)
    content["also"][0]["budget"] = "3 apples"
    with pytest.raises(PlanError, match="cannot read budget '3 apples'; valid: "):
        plan_of(content, "plan.json")


@pytest.mark.parametrize(
    ("budget", "usage", "said"),
    [
        ("1EUR", {"money": 0.7, "currency": "EUR"}, "usage.money: 0.7 differs from the 0.8 of"),
        ("1EUR", {"money": 0.8, "currency": "USD"}, "USD is not that of the budget, EUR"),
        ("1EUR", {}, "usage.money: None differs from the 0.8 of the budget"),
        ("1J", {"energy_j": 0.9, "busiest_device_j": 0.1}, "energy_j: 0.9 differs from the 0.8"),
        ("1%battery", {"energy_j": 0.9, "busiest_device_j": 0.7}, "0.7 differs from the 0.8"),
        ("1%battery@2J", {}, "budget.amount: 1 differs from '1%battery@2J', which is 0.02"),
    ],
)
def test_what_a_run_takes_is_what_it_spends(budget: str, usage: dict[str, Any], said: str):
    content = with_usage(**usage)
    kind = "money" if "EUR" in budget else "battery" if "%" in budget else "energy"
    unit = "EUR" if kind == "money" else "J"
    content["budget"] = {"text": budget, "kind": kind, "amount": 1.0, "unit": unit}
    content["explanation"]["spent_on_uploads"] = None
    with pytest.raises(PlanError) as error:
        plan_of(content, "plan.json")
    assert said in str(error.value)
