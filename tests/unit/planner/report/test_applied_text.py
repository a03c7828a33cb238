"""Rows of an applied plan: the times that its budget counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from made_plans import whole_plan

from floss_sim.analysis.time_spread import TimeSpread
from planner.apply import AppliedPlan
from planner.question.budget import Limit, parse_budget
from planner.report.applied_text import rows

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
