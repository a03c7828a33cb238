"""Edits of what a plan is compared with are found: by a second computation or a relation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from edited_plans import changed, refusal
from made_plans import outcome, whole_plan

from floss_sim.analysis.time_spread import TimeSpread
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.plans.cheaper_way import CheaperWay
from planner.plans.comparison_checks import comparison_contradictions
from planner.plans.elsewhere import TimesElsewhere
from planner.plans.outcome import EFFORT
from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of


def content_of(plan: Plan) -> Any:
    return json.loads(json.dumps(plan.to_json()))


def symmetric(mean: float) -> Interval:
    """Return an interval that is symmetric in log-odds: odds half and twice those of the mean."""
    odds = mean / (1 - mean)
    low, high = (factor * odds / (1 + factor * odds) for factor in (0.5, 2))
    return Interval(low, mean, high, "measured")


def compared() -> Plan:
    """Return a plan with three cheaper ways, and times on all networks but its own."""
    made = whole_plan()
    (lte,) = made.elsewhere
    return replace(
        made,
        elsewhere=tuple(replace(lte, network=name) for name in ("lte", "mobile-mixed", "wifi")),
        cheaper=(
            CheaperWay(0.5, made.recommendation.candidate, 10, 400_000, symmetric(0.9)),
            CheaperWay(0.25, Candidate(4, 1.0, 1 / 4), 10, 190_000, symmetric(0.85)),
            CheaperWay(0.1, Candidate(1, 1.0, 1 / 64), 2, 70_000, symmetric(0.8)),
        ),
    )


MADE = content_of(compared())
TIMES = MADE["elsewhere"][0]["times"]


def test_the_plan_itself_is_read():
    assert plan_of(MADE, "plan.json").cheaper == compared().cheaper


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("chance_accuracy", 0.13, "chance_accuracy: 0.13 is no share of 350 predictions"),
        ("chance_accuracy", 0.24, "most_frequent: it contradicts the other figures"),
        ("most_frequent", 43, "most_frequent: it contradicts the other figures"),
        ("chance_accuracy", 0.0, "chance_accuracy: 0 is no share of 350 predictions"),
        ("test_differences.dense.low", 0.012, "test_differences.dense.low: the interval is not"),
        ("test_differences.dense.high", 0.04, "test_differences.dense.low: the interval is not"),
        ("explanation.stop.gain", 0.002, "explanation.stop.gain: 0.002 differs from 0.000585993"),
        ("explanation.stop.gain", -0.5, "explanation.stop.gain: -0.5 differs from 0.000585993"),
        ("explanation.stop.forecast_sd", 0.03, "explanation.stop.gain: 0.000585993"),
        ("explanation.stop.forecast_mean", 0.93, "explanation.stop.gain: 0.000585993"),
        ("elsewhere.0.network", "mars", "elsewhere: the networks ['mars'"),
        ("elsewhere.0.network", "wifi", "elsewhere: the networks ['wifi'"),
        ("request.network", "lte", "elsewhere: the networks ['lte'"),
        ("elsewhere", lambda old: old[::-1], "elsewhere: the networks ['wifi'"),
        ("elsewhere.1.times", {"plan": TIMES["plan"]}, "elsewhere.1.times: the runs of the plan"),
        ("elsewhere.1.times.thesis_rule", TIMES["plan"], "elsewhere.1.times: the runs of the plan"),
        ("elsewhere.0.times.plan.seconds.0", 8.1, "plan: median_s: 8 differs from 8.1"),
        ("elsewhere.0.times.plan.mean_s", 9.1, "plan: mean_s: 9.1 differs from 9 by the seconds"),
        ("recommendation.time.mean_s", 4.0, "time: mean_s: 4 differs from 3.8 by the seconds"),
        ("cheaper.0.share", 0.6, "cheaper.0.share: 0.6 is none of 0.5, 0.25, 0.1"),
        ("cheaper.1.share", 0.5, "the shares of the bytes must fall"),
        ("cheaper.1.rounds", 11, "cheaper.1.bytes_per_client_round: it contradicts"),
        ("cheaper.1.bytes", 190_001, "cheaper.1.bytes_per_client_round: it contradicts"),
        ("cheaper.1.bytes", 210_000, "cheaper.1.bytes: 210000 are more than the share 0.25"),
        ("cheaper.1.bytes", 80_000, "cheaper.1: the way of the share 0.1 is as good for fewer"),
        ("cheaper.1.interval", MADE["cheaper"][2]["interval"], "the way of the share 0.1 is as"),
        ("cheaper.1.interval.mean", 0.86, "cheaper.1.interval: it is not symmetric"),
        ("cheaper.1.interval.low", 0.8, "cheaper.1.interval: it is not symmetric"),
        ("cheaper.1.interval.high", 0.9, "cheaper.1.interval: it is not symmetric"),
        ("cheaper.1.rank", 3, "cheaper.1"),
        ("cheaper.0.rounds", 9, "round 9 of rank 4, down 1, up 1/16 was not evaluated"),
        ("cheaper.0.bytes", 399_999, "round 10 of rank 4, down 1, up 1/16 had spent another"),
        ("cheaper.2.rank", 8, "cheaper.2"),
        ("missing_baselines", {"dense": "budget"}, "those without a run are thesis_rule"),
        ("missing_baselines.thesis_rule", "round_s", "'round_s' needs request.max_round_s"),
        ("missing_baselines.thesis_rule", "client_bytes", "needs request.max_client_bytes"),
        ("missing_baselines.thesis_rule", "diverged", "'diverged', but it has no baseline_costs"),
        ("missing_baselines.thesis_rule", "effort", "'effort', but it has no baseline_costs"),
        ("missing_baselines.thesis_rule", "luck", "missing_baselines.thesis_rule"),
        ("baseline_costs.dense.down_bytes", 3001, "baseline_costs.dense: it differs from that of"),
        ("baseline_costs.dense.rank", 8, "baseline_costs.dense: rank 8, down 1, up 1 is not this"),
    ],
)  # fmt: skip
def test_an_edit_is_named(path: str, value: Any, said: str):
    assert said in refusal(changed(path, value, in_a_space()))


def in_a_space() -> Any:
    """Return the plan with the values that its request searched."""
    content = deepcopy(MADE)
    content["request"]["ranks"] = [1, 4, 16]
    content["request"] |= {"down_densities": [1.0], "up_densities": [1.0, 1 / 4, 1 / 16, 1 / 64]}
    assert plan_of(content, "plan.json")
    return content


def places(value: Any, path: str) -> Iterator[str]:
    """Yield the path of every number in plain values."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from places(inner, f"{path}.{key}")
    elif isinstance(value, int | float):
        yield path


@pytest.mark.parametrize("key", ["elsewhere", "cheaper", "chance_accuracy", "test_differences"])
@pytest.mark.parametrize("factor", [0.99, 1.01, 2])
def test_no_number_of_a_comparison_can_be_changed_alone(key: str, factor: float):
    content = in_a_space()
    for path in places(content[key], key):
        refusal(changed(path, lambda old: old * factor, content))


def test_the_interval_of_a_difference_may_end_at_one():
    content = changed("test_differences.dense.high", 1.0, MADE)
    assert plan_of(changed("test_differences.dense.low", -0.99, content), "plan.json")


def test_a_cheaper_way_is_that_of_the_same_run_where_the_plan_has_it():
    base = compared()
    cheap = outcome(1, 0.93, 150_000, interval=symmetric(0.92))
    way = CheaperWay(0.5, cheap.candidate, 20, 300_000, symmetric(0.92))
    plan = replace(base, runners_up=(cheap, base.runners_up[1]), cheaper=(way,), explanation=None)
    content = content_of(plan)
    assert plan_of(content, "plan.json").cheaper == (way,)
    other = content_of(replace(plan, cheaper=(replace(way, interval=symmetric(0.91)),)))
    assert "cheaper.0.interval: it differs from that of the same run" in refusal(other)
    fewer = content_of(replace(plan, cheaper=(replace(way, nbytes=299_000),)))
    assert "cheaper.0.bytes: round 20 of rank 1, down 1, up 1/16 had spent another" in refusal(
        fewer
    )


def test_times_of_a_baseline_that_is_the_plan_are_the_plans():
    base = whole_plan()
    best, spread = base.baselines["dense"], base.elsewhere[0].times["plan"]
    alone = replace(
        base, recommendation=best, runners_up=(), best_accuracy=best.expected_accuracy,
        test_differences={}, explanation=None, cheaper=(), straggler=None,
        elsewhere=(TimesElsewhere("lte", {"plan": spread, "dense": spread}),),
    )  # fmt: skip
    assert plan_of(content_of(alone), "plan.json").elsewhere == alone.elsewhere
    apart = {"plan": spread, "dense": TimeSpread((8.0, 7.0, 11.0), "closed form")}
    said = "elsewhere.0.times.dense: it differs from that of the same run, the plan"
    assert said in refusal(content_of(replace(alone, elsewhere=(TimesElsewhere("lte", apart),))))


def test_runs_are_timed_on_the_same_fleets_of_a_network():
    base, fewer = whole_plan(), TimeSpread((9.5, 9.0), "closed form")
    times = {"plan": base.elsewhere[0].times["plan"], "dense": fewer}
    plan = replace(base, elsewhere=(TimesElsewhere("lte", times),))
    said = "elsewhere.0.times.dense.draws: 2 differs from the 3 of plan"
    assert said in refusal(content_of(plan))


def test_a_run_that_the_effort_ended_has_budget_left_and_is_ahead_or_a_baseline():
    base = whole_plan()
    dense = replace(base.baselines["dense"], binds=EFFORT)
    ended = replace(base, baselines={**base.baselines, "dense": dense},
                    runners_up=(base.runners_up[0], dense))  # fmt: skip
    assert plan_of(content_of(ended), "plan.json").baselines["dense"].binds == EFFORT
    affords = {**base.baseline_costs["dense"], "affordable_rounds": 20}
    costs = (*base.costs[:-1], affords)
    effort = {**base.effort, "grid_rounds": 99, "limit_rounds": 19, "search_rounds": 19}
    short = replace(ended, costs=costs, baseline_costs={"dense": affords}, effort=effort)
    assert "binds: 'effort', but the budget affords 20 rounds" in refusal(content_of(short))
    behind = replace(base, runners_up=(replace(base.runners_up[0], binds=EFFORT),
                                       base.runners_up[1]))  # fmt: skip
    assert "runners_up.0.binds: 'effort', but finished runs are as good" in refusal(
        content_of(behind)
    )
    ahead = replace(base, recommendation=replace(base.recommendation, binds=EFFORT))
    assert "explanation.tenth.accuracy: the effort leaves no further round" in refusal(
        content_of(ahead)
    )
    rest = {"rounds": 20, "accuracy": None}
    content = changed("explanation.tenth", rest, content_of(ahead))
    assert plan_of(content, "plan.json").recommendation.binds == EFFORT


def test_a_run_that_the_effort_ended_may_be_as_good_as_a_finished_one_for_fewer_bytes():
    base = whole_plan()
    best, other = base.recommendation, base.runners_up[0].candidate
    runs = (best, *base.runners_up[1:], *filter(None, base.baselines.values()))
    most = max(run.down_bytes + run.up_bytes for run in runs)
    said = "runners_up.0.binds: 'effort', but finished runs are as good"
    for nbytes, refused in ((most - 1, False), (most, True)):
        ended = replace(best, candidate=other, down_bytes=nbytes, up_bytes=0, binds=EFFORT)
        plan = replace(base, runners_up=(ended, *base.runners_up[1:]))
        assert (said in [*comparison_contradictions(plan)]) is refused
