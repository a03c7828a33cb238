from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_plans import whole_plan

from floss_sim.errors import PlanError
from planner.plans.plan_file import plan_of, read_plan
from planner.report import plan_table, plan_text


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_plan_is_read_as_it_was_written(tmp_path: Path):
    made = whole_plan()
    path = written(tmp_path / "plan.json", made.to_json())
    for given in (path, tmp_path):
        read = read_plan(given)
        assert read == made
        assert json.dumps(read.to_json()) == path.read_text(encoding="utf-8")
        assert plan_text.sentences(read) == plan_text.sentences(made)
        assert plan_table.table_rows(read) == plan_table.table_rows(made)


def test_a_plan_of_an_earlier_name_of_the_own_time_is_read():
    made = whole_plan()
    text = json.dumps(made.to_json())
    assert '"own_fleet_s": 3.4' in text
    old = json.loads(text.replace('"own_fleet_s"', '"simulated_s"'))
    assert plan_of(old, "plan.json") == made


def test_an_interrupted_plan_without_explanation_is_read_too():
    best = replace(whole_plan().recommendation, test=None, interval=None)
    made = replace(
        whole_plan(), interrupted=True, explanation=None, also=(), recommendation=best,
        test_differences={},
    )  # fmt: skip
    read = plan_of(json.loads(json.dumps(made.to_json())), "here")
    assert read == made
    assert plan_text.sentences(read)[0].startswith("Interrupted: the best run so far. Repeat")
    assert "test accuracy not measured" in plan_text.sentences(read)[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "is not JSON"),
        ([], "is no plan: it has no plan_version"),
        ({"task": "digits"}, "is no plan: it has no plan_version"),
        ({**whole_plan().to_json(), "plan_version": 1}, "has plan version 1, not 3; plan again"),
        ({**whole_plan().to_json(), "runners": []}, "runners: unknown key; valid: plan_version"),
    ],
)
def test_what_is_no_plan_is_said_in_one_line(tmp_path: Path, content: object, said: str):
    with pytest.raises(PlanError, match=r"plan\.json") as error:
        read_plan(written(tmp_path / "plan.json", content))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(PlanError, match=r"cannot read .*none.json: No such file"):
        read_plan(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "was made when a budget of '90s' was spent on one fleet alone, not in the median"),
        ({"confidence": 0.95}, "budget.confidence: '90s' means 0.5, not 0.95"),
        ({"text": "1MB", "kind": "bytes", "unit": "bytes", "confidence": 0.5}, "means None, not"),
    ],
)
def test_the_fleets_of_a_budget_in_time_are_those_of_its_text(changes: dict, said: str):
    content = json.loads(json.dumps(whole_plan().to_json()))
    budget = {"text": "90s", "kind": "seconds", "amount": 90.0, "unit": "s"}
    content["budget"] = budget | changes
    with pytest.raises(PlanError) as error:
        plan_of(content, "plan.json")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("recommendation", "rounds"), 0, "recommendation.rounds"),
        (("recommendation", "rank"), -4, "rank -4 is invalid; valid: 1 to 2**53"),
        (("recommendation", "up_density"), 0, "density"),
        (("recommendation", "validation_accuracy"), 96, "recommendation.validation_accuracy"),
        (("recommendation", "total_bytes"), 3, "recommendation.total_bytes: unknown key"),
        (("budget", "amount"), float("nan"), "budget.amount"),
        (("budget", "text"), "3 apples", "cannot read budget '3 apples'"),
        (("budget", "text"), "90s", "'90s' means seconds, not bytes"),
        (("request", "seed"), -1, "request.seed"),
        (("request", "judged"), 350, "request.judged: Input should be a table"),
        (("explanation", "time", "upload"), 1.5, "explanation.time.upload"),
        (("explanation", "neighbours", 0, "accuracy"), None, "explanation.neighbours.0"),
        (("explanation", "tenth", "accuracy", "low"), 0.99, "must ascend"),
        (("also", 2, "candidate"), {"rank": 1}, "also.2"),
    ],
)
def test_nonsense_is_said_with_its_place(path, value, said: str):
    content = json.loads(json.dumps(whole_plan().to_json()))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(PlanError) as error:
        plan_of(content, "plan.json")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
