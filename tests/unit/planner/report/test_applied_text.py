"""Report of an applied plan: the times that its budget counts, and seeds that are not new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from made_plans import whole_plan

from floss_sim.analysis.on_test import AccuracyOnTest, DifferenceOnTest
from floss_sim.analysis.time_spread import TimeSpread
from planner.apply import AppliedPlan
from planner.decisions.another_seed import SeedDifference
from planner.question.budget import Limit, parse_budget
from planner.report.applied_text import network_lines, rows, sentences

PLANNED, MADE = (
    TimeSpread(seconds, "closed form") for seconds in ((9.0, 1.0, 2.0), (8.0, 3.0, 4.0))
)


def time_rows(budget: str, planned: TimeSpread, made: TimeSpread) -> list[tuple[str, ...]]:
    limit, best = Limit(parse_budget(budget), 90.0, (), 5), whole_plan().recommendation
    plan = replace(whole_plan(), limit=limit, recommendation=replace(best, time=planned))
    outcome = replace(best, own_fleet_s=made.seconds[0], time=made)
    applied = AppliedPlan(plan, 1, *[cast(Any, None)], outcome, *[cast(Any, None)] * 2, limit, 0)
    return [row for row in rows(applied) if row[0].startswith("simulated time")]


@pytest.mark.parametrize("budget", ["1MB", "90s", "90s@50%"])
def test_times_are_medians_of_fleets(budget: str):
    assert time_rows(budget, PLANNED, MADE) == [
        ("simulated time, median of fleets", "2 s", "-", "4 s")
    ]


def test_a_budget_of_another_share_of_fleets_has_its_own_row():
    assert time_rows("90s@75%", PLANNED, MADE) == [
        ("simulated time, median of fleets", "2 s", "-", "4 s"),
        ("simulated time, 75 % of fleets", "9 s", "-", "8 s"),
    ]


def test_a_network_that_draws_nothing_has_one_time():
    one = TimeSpread((3.0,), "closed form")
    assert time_rows("90s", one, one) == [("simulated time", "3.4 s", "3.4 s", "3 s")]


def test_devices_energy_and_money_are_planned_and_realised():
    best = whole_plan().recommendation
    known = best.usage.model_copy(
        update={"energy_j": 9.0, "busiest_device_j": 2.0, "money": 0.5, "currency": "EUR"}
    )
    plan = replace(whole_plan(), recommendation=replace(best, usage=known))
    nothing = cast(Any, None)
    applied = AppliedPlan(
        plan, 1, nothing, replace(best, own_fleet_s=1.0), nothing, nothing, plan.limit, 0
    )
    assert rows(applied)[-5:] == [
        ("busiest device", "50 kB", "-", "50 kB"),
        ("mean device", "16 kB", "-", "16 kB"),
        ("device energy", "2 J", "-", "unknown"),
        ("all energy", "9 J", "-", "unknown"),
        ("money", "0.5 EUR", "-", "unknown"),
    ]
    old = replace(plan, recommendation=replace(best, usage=None))
    assert not any("device" in row[0] for row in rows(replace(applied, plan=old)))


class MadeFolder:
    """A run folder whose record has some seconds of a round."""

    path = Path("/a store/run")

    def __init__(self, closed_at_s: float) -> None:
        self.rounds = pa.table({"closed_at_s": [closed_at_s]})

    def record(self) -> MadeFolder:
        return self

    def manifest(self) -> SimpleNamespace:
        return SimpleNamespace(network="paper-200-20")


@pytest.mark.parametrize(
    ("ratio", "command"),
    [
        (None, "floss-sim account '/a store/run' --network /mine/phones.toml"),
        (16.0, "floss-sim replay '/a store/run' --network /mine/phones.toml --upload-ratio 16"),
    ],
)
def test_a_record_of_another_network_names_the_command_for_the_plans(
    ratio: float | None, command: str
):
    plan = whole_plan()
    origin = {"network": "/mine/phones.toml", "upload_ratio": ratio}
    plan = replace(plan, request={**plan.request, "origin": origin})
    recorded = MadeFolder(1.0)

    def lines(closed_at_s: float) -> list[str]:
        applied = SimpleNamespace(plan=plan, folder=recorded, record=MadeFolder(closed_at_s))
        return network_lines(cast(AppliedPlan, applied))

    said = "Its record has the seconds of paper-200-20; on the plan's network:"
    assert lines(2.0) == [said, command]
    assert lines(1.0) == []


def applied_plan(seed: int, seeds: tuple[int, ...], tested: int) -> AppliedPlan:
    """Return an applied plan whose finalists have some seeds, and its recommendation ``tested``."""
    plan = whole_plan()
    best = plan.recommendation
    test = replace(cast(AccuracyOnTest, best.test), seeds=tested)
    plan = replace(
        plan,
        recommendation=replace(best, test=test),
        effort={**plan.effort, "seeds": seeds, "replicated": len(seeds) - 1},
    )
    return AppliedPlan(plan, seed, *[cast(Any, None)], best, *[cast(Any, None)] * 2, plan.limit, 0)


@pytest.mark.parametrize(
    ("seed", "seeds", "tested", "said"),
    [
        (0, (0,), 1, "This is the run by which the plan was chosen: {}. `--seed 1` trains"),
        (0, (0, 1), 2, "This is the run by which the plan was chosen: {}. `--seed 2` trains"),
        (1, (0, 1), 2, "The plan rests on this seed: {}. `--seed 2` trains"),
    ],
)
def test_a_seed_on_which_the_plan_rests_confirms_nothing(
    seed: int, seeds: tuple[int, ...], tested: int, said: str
):
    first, second, *_ = sentences(applied_plan(seed, seeds, tested))
    assert f"seed {seed} as planned" in first
    assert second.startswith(said.format("nothing new was measured"))


@pytest.mark.parametrize(
    ("seeds", "tested", "rests_on"),
    [((0,), 1, (0,)), ((0, 1), 1, (0,)), ((0, 1), 2, (0, 1))],
)
def test_a_second_seed_of_other_finalists_is_new(
    seeds: tuple[int, ...], tested: int, rests_on: tuple[int, ...]
):
    assert applied_plan(1, seeds, tested).plan.seeds == rests_on


def test_another_seed_is_compared_with_the_plans():
    applied = applied_plan(3, (0,), 1)
    apart = SeedDifference(0, -0.03, 0.01, 0.05, 350, DifferenceOnTest(-0.02, -0.005, 0.01, 340))
    first, validation, test, *_ = sentences(replace(applied, difference=apart))
    assert "as planned" not in first
    assert (
        "0.950 with seed 3, 0.950 with the plan's seed 0: +1.0 points (-3.0 to +5.0)" in validation
    )
    assert test.startswith(
        "Test accuracy: -0.5 points (-2.0 to +1.0), paired on 340 test examples."
    )
    alone = sentences(replace(applied, difference=replace(apart, test=None)))
    assert alone[2].startswith(
        "On test both are not compared: the store lacks the run with seed 0."
    )


@pytest.mark.parametrize("alone", [True, False])
def test_seconds_of_traffic_alone_are_said_to_be(alone: bool):
    plan = replace(whole_plan(), traffic_alone=alone)
    limit, best = plan.limit, plan.recommendation
    applied = AppliedPlan(plan, 0, *[cast(Any, None)], best, *[cast(Any, None)] * 2, limit, 0)
    told = [line for line in sentences(applied) if line.startswith("paper has no round trip")]
    assert len(told) == alone
