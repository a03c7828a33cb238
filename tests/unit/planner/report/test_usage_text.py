"""Energy and money on a plan's page: known, or said to be unknown, never 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from made_plans import whole_plan

from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.question.budget import Limit, parse_budget
from planner.report.objective_text import cost_text
from planner.report.plan_text import sentences
from planner.report.usage_text import USAGE_COLUMNS, usage_rows

KNOWN = {"energy_j": 1_234.0, "busiest_device_j": 98.0, "money": 0.0123, "currency": "EUR"}


def plan_with(**changes: Any) -> Plan:
    made = whole_plan()
    usage = made.recommendation.usage.model_copy(update=changes)
    return replace(made, recommendation=replace(made.recommendation, usage=usage))


def test_what_no_network_states_is_unknown():
    made = whole_plan()
    assert usage_rows(made) == []
    told = "The busiest device transfers 50 kB in all, the mean of all devices is 16 kB."
    assert f"{told} Energy and money are unknown." in " ".join(sentences(made))


def test_known_energy_and_money_have_a_table():
    made = plan_with(**KNOWN)
    rows = usage_rows(made)
    assert rows[0] == ("plan", "50 kB", "16 kB", "98 J", "1.23 kJ", "0.0123 EUR")
    assert rows[1] == ("#2", "56.2 kB", "18 kB", "unknown", "unknown", "unknown")
    assert {len(row) for row in rows} == {len(USAGE_COLUMNS)}
    said = " ".join(sentences(made))
    assert "Energy" not in said
    assert "oney is unknown" not in said
    assert "by [energy] and [prices] of the network's file" in said
    assert plan_of(made.to_json(), "here") == made
    half = plan_with(energy_j=5.0, busiest_device_j=2.0)
    assert "Money is unknown." in " ".join(sentences(half))


def test_a_plan_without_usage_says_nothing_of_it():
    made = whole_plan()
    old = replace(made, recommendation=replace(made.recommendation, usage=None))
    assert "device" not in " ".join(sentences(old))


def test_a_budget_of_a_month_says_whose_bytes_they_are():
    limit = Limit(parse_budget("2GB/month@0.5/day"), 2e9, (), 5)
    made = replace(whole_plan(), limit=limit)
    assert limit.describe() == "2 GB a device in 30 days, at 0.5 rounds a day"
    said = " ".join(sentences(made))
    assert "spread evenly over days: those of the plan take 40 days." in said  # 20 rounds
    assert "30 days, in which at most 15 rounds start; spent is the most that one device" in said
    assert cost_text(made, 0.5) == "1 GB"


def test_costs_have_the_unit_of_their_budget():
    for text, amount, said in (
        ("50EUR", 50.0, "25.00 EUR"), ("500kJ", 5e5, "250 kJ"), ("5%battery", 2700.0, "1.35 kJ")
    ):  # fmt: skip
        limit = Limit(parse_budget(text), amount, (), 5)
        assert cost_text(replace(whole_plan(), limit=limit), 0.5) == said
