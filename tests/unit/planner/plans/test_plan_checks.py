"""A plan whose figures contradict each other is refused; every other plan is read."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import edited_plans
import pytest
from edited_plans import refusal
from made_plans import mirrored, outcome, whole_plan

from planner.forecasts.intervals import Interval
from planner.plans.document_checks import first_difference
from planner.plans.outcome import FALL
from planner.plans.plan_file import plan_of, read_plan
from planner.report.plan_text import sentences

ROOT = Path(__file__).parents[4]
DEFAULT = ROOT / "experiments" / "default_plan" / "plan.json"
REAL = ROOT / "tests" / "golden" / "real_plan.json"  # of digits, recorded once
CONTENT = json.loads(REAL.read_text(encoding="utf-8"))
GRID = CONTENT["effort"]["grid_rounds"]
FIRST = CONTENT["costs"][0]["affordable_rounds"]
DENSE = whole_plan().runners_up[1]
MADE = json.loads(json.dumps(whole_plan().to_json()))


def told(low: float, mean: float, high: float) -> dict[str, Any]:
    return {"low": low, "mean": mean, "high": high, "level": 0.9, "kind": "measured"}


def changed(path: str, value: Any, content: Any = CONTENT) -> Any:
    return edited_plans.changed(path, value, content)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("better_stored.rounds", 401, "better_stored.rounds: 401 rounds exceed the cap of 400"),
        ("better_stored.accuracy", 0.985, "better_stored.accuracy: 0.985 is not the mean of its"),
        ("better_stored.interval.low", 0.96, "better_stored.interval: it is not above that of the"),
        ("better_stored.total_bytes", 4_000_100, "better_stored.budget_spent: 4 is not the share"),
        ("better_stored.budget_spent", 0.4, "better_stored.budget_spent: 0.4 is not the share of"),
        ("rate_test.better.accuracy", 0.9, "rate_test: better: it is not the pair"),
        ("rate_test.rank", 4, "rate_test.rank: 4 differs from request.reference_rank"),
        ("rate_test.examples", 340, "rate_test.examples: 340 differs from request.judged"),
        ("rate_test.rounds", 401, "rate_test.rounds: 401 exceed request.max_rounds"),
        ("rate_test.tuned", True, "rate_test.tuned: a plan has the better rates if request"),
        ("request.lr_test", False, "rate_test: request.lr_test says that there was no test"),
        ("request.tune_lr", True, "rate_test.tuned: a plan has the better rates if request"),
    ],
)
def test_an_edit_of_a_stored_run_or_of_tested_rates_is_named(path: str, value: Any, said: str):
    assert said in refusal(changed(path, value, MADE))


def test_a_real_plan_agrees_with_itself():
    assert read_plan(REAL).recommendation.rounds == 400
    assert read_plan(DEFAULT).recommendation.rounds > 0


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("request.max_rounds", 399, "400 rounds exceed the cap of 399"),
        ("request.max_rounds", 10**9, "more than a plan may have, 50000"),
        ("recommendation.rounds", 401, "exceed the cap of 400"),
        ("recommendation.rounds", 399, "round 399 is none of the measured ones"),
        ("recommendation.rounds", 390, "must ascend to 390, the last one of the run"),
        ("runners_up.3.rounds", 54, "round 54 is none of the measured ones"),
        ("baselines.dense.rounds", 54, "baselines.dense.rounds: round 54"),
        ("recommendation.rank", 64, "recommendation.rank: 64 is outside the searched space"),
        ("recommendation.up_density", 0.3, "up_density: 0.3 is outside the searched space"),
        ("recommendation.values", "int8", "values: int8 is outside the searched space"),
        ("recommendation.method", "ffa", "method: ffa is outside the searched space"),
        ("baselines.dense.rank", 1, "is not this baseline"),
        ("baselines.thesis_rule.down_density", 1.0, "is not this baseline"),
        ("recommendation.last_evaluation.accuracy", 0.97, "differs from 0.977143 in the curve"),
        ("recommendation.validation_accuracy", 0.91, "recommendation.validation_accuracy"),
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
    assert "budget.amount: 2e+06 differs from '1MB'" in refusal(changed("budget.amount", 2e6, MADE))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("recommendation.largest_round", 0.9, "0.9 exceeds the 0.574411 of the whole run"),
        ("recommendation.largest_round", 0.001437, "rounds up to 150 spend more than largest"),
        ("recommendation.binds", "budget", "'budget', but the run ends at the cap on rounds"),
        ("recommendation.binds", "limit of a client", "ends at the cap on rounds"),
        ("runners_up.1.binds", "limit of a client", "needs request.max_client_bytes"),
        ("runners_up.3.binds", "round cap", "the cap of 400 rounds cannot end runs after [55, 400"),
        ("runners_up.1.binds", "target", "belongs to a plan with a target"),
        ("recommendation.own_fleet_s", 99.0, "99 differs from 1.33519, the time of the first"),
        ("costs.0.rank", True, "costs.0.rank: it contradicts"),
        ("baselines.dense.curve.0.2", 0.99, "differs from that of the same run in runners_up.3"),
        ("runners_up", lambda old: old[::-1], "runners_up: they must be ordered by accuracy"),
        ("costs", [], "costs: there are none"),
        ("costs", lambda old: [old[0], *old[:-1]], "costs: a candidate is there twice"),
        ("costs.0.rank", 9, "costs.0.rank: 9 is outside the searched space [1, 4, 16]"),
        (
            "costs.0.affordable_rounds",
            1,
            f"effort.grid_rounds: {GRID} differs from the {GRID - FIRST + 1}",
        ),
        ("costs", lambda old: old[:36], "is not among the costs"),
        ("request.candidates", 9, "request.candidates: 9 differs from the 48 of effort"),
        ("request.task", "cifar10", "request.task: 'cifar10' differs from 'digits'"),
        ("request.network", "lte", "request.network: 'lte' differs from 'paper-200-20'"),
        ("request.fleet.clients", 4, "request.fleet.clients: 4 are fewer than a cohort"),
        ("request.validation_examples", 351, "differs from request.judged.validation"),
        ("effort.search", "grid", "effort.search: 'grid' differs from request.search"),
        ("effort.searched", 47, "effort.searched: 47 differs from the 48 costs"),
        ("effort.starters", 49, "effort.starters: 49 of 48 were begun"),
        ("effort.unaffordable", 1, "effort.unaffordable: 1 differs from effort.left_out"),
        ("effort.limit_rounds", GRID + 1, f"exceed effort.grid_rounds, {GRID}"),
        ("effort.limit_rounds", 4000, f"effort.limit_rounds: 4000 is not 0.2 of the {GRID}"),
        ("effort.search_rounds", 10**6, "effort.search_rounds: 1000000 exceed"),
        ("explanation.time.download", 0.9, "add up to 1.71361, not 1"),
        ("explanation.time.round_s", 1.0, "recommendation.own_fleet_s"),
        ("explanation.spent_on_uploads", None, "belongs to a budget that is a sum over messages"),
        ("explanation.neighbours.0.kind", "measured", "an interval belongs to kind 'forecast'"),
        ("explanation.neighbours.0.rounds", 390, "neighbours.0.rounds: 390 differs from 400"),
        ("explanation.neighbours.0.accuracy", 0.8, "neighbours.0.accuracy: 0.8 differs from"),
        ("explanation.neighbours.0.axis", "up_density", "does not differ in up_density alone"),
        ("explanation.tenth.rounds", 300, "explanation.tenth.rounds: 300 is not within 400 to"),
        ("explanation.stop.noise", 0.5, "explanation.stop.noise: 0.5 differs from 0.00876"),
    ],
)
def test_evidence_that_contradicts_the_runs_is_named(path: str, value: Any, said: str):
    assert said in refusal(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("recommendation.budget_spent", 0.7, "differs from 0.8 in the curve"),
        ("budget.text", "2MB", "budget.amount"),
        ("explanation.spent_on_uploads", 0.1, "spent_on_uploads: 0.1 differs from 0.62"),
        ("explanation.neighbours.0.accuracy", 0.99, "0.accuracy: 0.99 differs from 0.945"),
        ("explanation.neighbours.0.rounds", 19, "neighbours.0.rounds: 19 differs from 20"),
        ("explanation.neighbours.2.kind", "measured", "an accuracy belongs to every kind"),
        ("explanation.tenth.accuracy", None, "belongs to a tenth that affords further rounds"),
        ("explanation.stop.candidate.up_density", 1 / 16, "is no unfinished one of the costs"),
        ("explanation.stop.rounds", 13, "explanation.stop.rounds: 13 exceed"),
        ("runners_up.0.rank", True, "runners_up.0.rank: it contradicts"),
        ("recommendation.time.median_s", 3.5, "time: median_s: 3.5 differs from 3.4"),
        ("recommendation.time.low_s", 0.1, "time: low_s: 0.1 differs from 3 by the seconds"),
        ("recommendation.time.high_s", 9.0, "time: high_s: 9 differs from 5 by the seconds"),
        ("recommendation.time.draws", 4, "time: draws: 4 differs from 3 by the seconds"),
        ("recommendation.time.seconds", [3.4], "time: low_s: 3 differs from 3.4"),
        ("recommendation.time.seconds", [3.0, 3.4, 5.0], "differs from 3, the time of the first"),
        ("recommendation.time.method", "guessed", "time.method"),
        ("runners_up.0.time.seconds.0", -1.0, "time.seconds.0"),
        ("runners_up.0.plan_faster", 0.4, "runners_up.0.plan_faster: it contradicts"),
        ("in_time", 0.5, "in_time: it contradicts"),
        ("elsewhere.0.times.plan.high_s", 8.0, "plan: high_s: 8 differs from 12 by the seconds"),
        ("also.0.time.median_s", 5.0, "time: median_s: 5 differs from 4"),
        ("also.2.time", MADE["also"][0]["time"], "a time belongs to all kinds but 'unknown'"),
        ("slow_fleets.fleets", 4, "slow_fleets.fleets: 4 of 3, but 3 were drawn"),
        ("slow_fleets.draws", 4, "slow_fleets.fleets: 2 of 4, but 3 were drawn"),
        ("straggler.all_rounds", 21, "straggler.all_rounds: the plan has 20 rounds of 5 clients"),
        ("straggler.cohort", 6, "straggler.all_rounds: the plan has 20 rounds of 5 clients"),
        ("straggler.run_s", 4.0, "straggler.run_s: 4 differs from 3.4 of the plan"),
        ("straggler.run_without_s", 3.5, "a run without a straggler takes no longer"),
        ("straggler.round_without_s", 0.5, "a run without a straggler takes no longer"),
        ("straggler.rounds", 21, "a run without a straggler takes no longer"),
        ("straggler.deadline_lost", None, "its time and its losses belong together"),
        ("recommendation.test.low", 0.99, "recommendation.test: low, mean and high must ascend"),
        ("recommendation.test.mean", 0.93, "test_differences.dense.mean: it differs from 0.02"),
        ("recommendation.test.examples", 350, "differs from request.judged.test"),
        ("recommendation.test_accuracy", 0.9, "recommendation.test_accuracy: it contradicts"),
        ("test_differences.dense.mean", 0.04, "test_differences.dense.mean: it differs from 0.03"),
        ("test_differences.dense.seeds", 2, "it is not of the seeds that both runs have"),
        ("test_differences.dense.high", 0.02, "test_differences.dense: low, mean and high must"),
        ("also.0.rounds", 10, "also.0.rounds: 10 exceed also.0.affords, 9"),
        ("also.0.measured", 9, "also.0.measured: 9 exceed also.0.searched"),
        ("also.1.accuracy", 0.99, "also.1.accuracy: 0.99 is not the mean"),
        ("front", [{"rank": 1, "down_density": 1, "up_density": 1, "rounds": 1, "cost": 1e5,
                    "validation_accuracy": 0.5, "cost_unit": "bytes",
                    "interval": told(0.4, 0.5, 0.6),
                    "budget_spent": 0.1}], "belongs to a plan with the objective 'pareto'"),
    ],
)  # fmt: skip
def test_figures_of_other_plans_that_contradict_each_other_are_named(path, value, said: str):
    assert said in refusal(changed(path, value, MADE))


def test_bytes_are_the_share_of_the_budget_that_they_take():
    content = changed("recommendation.up_bytes", 450_000, MADE)
    content["recommendation"]["up_bytes_per_client_round"] = 4500.0
    assert "0.8 is not the share of 754000 in the budget" in refusal(content)


def test_a_run_that_was_paid_for_is_affordable_as_predicted():
    content = changed("costs.0.affordable_rounds", 1, MADE)
    assert "effort.grid_rounds" in refusal(content)  # a run of 80 % leaves room for doubt
    content["recommendation"] |= {"budget_spent": 0.2, "down_bytes": 76_000, "up_bytes": 124_000,
                                  "down_bytes_per_client_round": 760.0,
                                  "up_bytes_per_client_round": 1240.0}  # fmt: skip
    content["recommendation"]["curve"] = [[10, 0.1, 0.85], [20, 0.2, 0.95]]
    content["recommendation"]["largest_round"] = 0.01
    content["costs"][0] |= {"down_bytes": 800, "up_bytes": 1300}
    said = "20 rounds take 0.2 of the budget, but costs say that it affords 1"
    assert said in refusal(content)


def test_a_target_is_reached_by_the_runs_that_say_so():
    content = changed("request.objective", {"kind": "target", "target": 0.9}, MADE)
    assert "reached: belongs to a plan with a target" in refusal(content)
    content["reached"] = True
    content["better_stored"] = None  # which belongs to a target that was missed
    assert "recommendation: its accuracy" not in (said := refusal(content))
    assert "every run of a plan that reached its target ends there" in said
    for made in (content["recommendation"], *content["runners_up"], content["baselines"]["dense"]):
        made["binds"] = "target"
    assert plan_of(content, "plan.json").reached
    content["request"]["objective"]["target"] = 0.96
    assert "reached: the run's accuracy 0.95 is below the target 0.96" in refusal(content)


def test_a_run_that_ends_before_a_fall_has_its_best_accuracy_there_and_budget_left():
    content = changed("recommendation.binds", FALL, MADE)
    assert "explanation.tenth.accuracy: the fall of accuracy leaves no" in refusal(content)
    content["explanation"]["tenth"] = {"rounds": 20, "accuracy": None}
    assert plan_of(content, "plan.json").recommendation.binds == FALL
    earlier = changed("recommendation.curve.0.2", 0.99, content)
    said = "recommendation.binds: 'fall of accuracy', but the smoothed accuracy is highest after"
    assert f"{said} round 10" in refusal(earlier)
    last = changed("recommendation.binds", FALL)
    assert "recommendation.binds: 'fall of accuracy', but the run ends at the cap" in refusal(last)
    spent = replace(whole_plan(), runners_up=(outcome(1, 0.945, 500_000, binds=FALL), DENSE))
    assert "runners_up.0.binds: 'fall of accuracy', but the budget affords no later" in refusal(
        json.loads(json.dumps(spent.to_json()))
    )


def test_points_of_a_front_ascend_and_are_those_of_their_runs():
    content = changed("request.objective", {"kind": "pareto", "target": None}, MADE)
    dense = {"rank": 16, "down_density": 1.0, "up_density": 1.0, "cost_unit": "bytes"}
    content["front"] = [
        {**dense, "rounds": 10, "validation_accuracy": 0.8, "cost": 450_000.0,
         "budget_spent": 0.45, "interval": told(0.7, 0.8, mirrored(0.7, 0.8))},
        {**dense, "rounds": 20, "validation_accuracy": 0.9, "cost": 900_000.0,
         "budget_spent": 0.9, "interval": told(0.8, 0.9, mirrored(0.8, 0.9))},
    ]  # fmt: skip
    assert len(plan_of(content, "plan.json").front) == 2
    assert "must exceed those of the point before" in refusal(
        changed("front", content["front"][::-1], content)
    )
    spent = changed("front.0.budget_spent", 0.5, content)
    assert "front.0.budget_spent: its run has spent 0.45" in refusal(spent)
    assert "front.0.validation_accuracy: it contradicts" in refusal(
        changed("front.0.validation_accuracy", 0.75, content)
    )
    content["front"][1]["rounds"] = 15
    assert "front.1.rounds: round 15 is none of the measured ones" in refusal(content)


def test_a_point_of_the_front_has_the_interval_of_its_run_in_the_plan():
    content = changed("request.objective", {"kind": "pareto", "target": None}, MADE)
    best = content["recommendation"]
    content["front"] = [
        {"rank": 4, "down_density": 1.0, "up_density": 1 / 16, "cost_unit": "bytes", "rounds": 20,
         "validation_accuracy": 0.95, "cost": 800_000.0, "budget_spent": 0.8,
         "interval": best["interval"]},
    ]  # fmt: skip
    assert plan_of(content, "plan.json").front[0].interval == Interval(
        0.93, 0.95, mirrored(0.93, 0.95), "measured"
    )
    content["front"][0]["interval"] = told(0.9, 0.95, mirrored(0.9, 0.95))
    assert "front.0.interval: it differs from that of the same run" in refusal(content)


@pytest.mark.parametrize(
    "place", ["recommendation.interval", "recommendation.test", "cheaper.0.interval"]
)
def test_an_interval_is_symmetric_in_log_odds(place):
    """Odds of 9 are the geometric mean of 4 and 20.25, those of 0.8 and 81/85."""
    assert refusal(changed(f"{place}.high", lambda high: high + 0.003)).endswith(
        f"{place}: it is not symmetric about its mean in log-odds"
    )
    assert mirrored(0.8, 0.9) == pytest.approx(81 / 85)


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
    assert first_difference({"a": True}, {"a": 1}) == "a"


def timed(**changes: Any) -> Any:
    """Return a plan whose effort is a time."""
    content = deepcopy(MADE)
    content["request"]["training_s"] = 600.0
    content["effort"] |= {
        "training_s": 600.0, "host_s_per_round": 0.2, "workers": 2, "planned_rounds": 18,
        "took_s": 588.0, **changes,
    }  # fmt: skip
    return content


def test_an_effort_in_time_says_what_was_planned_and_what_it_took():
    assert plan_of(timed(), "plan.json").effort["took_s"] == 588.0
    assert "planned_rounds: 21 exceed effort.limit_rounds" in refusal(timed(planned_rounds=21))
    assert "differs from request.training_s" in refusal(timed(training_s=60.0))
    lacking = timed()
    del lacking["effort"]["took_s"]
    assert "planned_rounds and took_s" in refusal(lacking)
    earlier = timed()
    del earlier["effort"]["took_s"], earlier["effort"]["planned_rounds"]
    assert plan_of(earlier, "plan.json").effort["training_s"] == 600.0


def test_runs_that_were_trained_now_are_some_of_all_with_a_round_each():
    for now, runs, said in ((6, 5, "exceed the 5 of effort.runs"), (0, 5, "rounds of 0 runs"),
                            (8, 9, "rounds of 8 runs")):  # fmt: skip
        content = deepcopy(MADE)
        content["effort"] |= {"trained_now_runs": now, "runs": runs}
        assert said in refusal(content)
    lacking = deepcopy(MADE)
    del lacking["effort"]["runs"]
    assert "one of effort.trained_now_runs and runs; give both or none" in refusal(lacking)
    del lacking["effort"]["trained_now_runs"]
    assert plan_of(lacking, "plan.json").effort["trained_now_rounds"] == 7


def test_the_seeds_of_the_runs_are_those_of_the_request():
    for changes in ({"seed": 1}, {"seeds": [0]}, {"seeds": [0, 2]}, {"replicated": 0}):
        content = deepcopy(MADE)
        for key, value in changes.items():
            content["request" if key == "seed" else "effort"][key] = value
        assert "are not those of request.seed" in refusal(content)
    once = deepcopy(MADE)
    once["effort"] |= {"seeds": [0], "replicated": 0}
    assert "further seeds" not in sentences(plan_of(once, "plan.json"))[-1]
    said = (
        "1 of the best runs and the baselines had further seeds, 1, in 4 rounds; the plan's own "
        "run did not fit again."
    )
    line = sentences(plan_of(MADE, "plan.json"))[-1]
    assert f"in 16 rounds (the budget affords 100 for all of them). {said}" in line


def test_a_plan_of_one_round_is_not_one_of_rounds():
    plan = whole_plan()
    best = replace(plan.recommendation, rounds=1)
    text = " ".join(sentences(replace(plan, recommendation=best)))
    assert f"Train {best.candidate} for 1 round: validation" in text


def test_a_search_that_used_all_its_rounds_is_not_said_to_have_ended_before():
    for limit, searched, said in ((20, 20, False), (20, 16, True)):
        content = deepcopy(MADE)
        content["effort"] |= {
            "limit_rounds": limit, "search_rounds": searched, "ended_early": True
        }  # fmt: skip
        line = sentences(plan_of(content, "plan.json"))[-1]
        assert (f"with {limit - searched} of {limit} rounds unused" in line) is said
