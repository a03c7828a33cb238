"""Energy and money on a plan's page: known, or said to be unknown, never 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_plans import whole_plan

from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.plans.usage_section import UsageSection
from planner.question.budget import Limit, parse_budget
from planner.report.answer_text import COST_COLUMNS, answer_sentences, device_rows
from planner.report.objective_text import cost_text
from planner.report.plan_text import sentences
from planner.report.reported_plan import ReportedPlan
from planner.report.usage_text import USAGE_COLUMNS, usage_legend, usage_rows

KNOWN = {"energy_j": 1_234.0, "busiest_device_j": 98.0, "money": 0.0123, "currency": "EUR"}


def plan_with(**changes: Any) -> Plan:
    made = whole_plan()
    usage = made.recommendation.usage.model_copy(update=changes)
    return replace(made, recommendation=replace(made.recommendation, usage=usage))


def test_what_no_network_states_is_unknown():
    made = whole_plan()
    assert usage_rows(made)[0] == ("plan", "50 kB", "16 kB", "unknown", "unknown", "unknown")
    assert [row[0] for row in usage_rows(made)] == ["plan", "#2", "dense LoRA"]
    said = " ".join(sentences(made))
    assert "Energy and money are unknown where the network's file lacks [energy] or" in said


def test_known_energy_and_money_are_shown():
    made = plan_with(**KNOWN)
    rows = usage_rows(made)
    assert rows[0] == ("plan", "50 kB", "16 kB", "98 J", "1.23 kJ", "0.0123 EUR")
    assert rows[1] == ("#2", "56.2 kB", "18 kB", "unknown", "unknown", "unknown")
    assert {len(row) for row in rows} == {len(USAGE_COLUMNS)}
    assert plan_of(made.to_json(), "here") == made
    known = UsageSection(busiest_device_bytes=9, mean_device_bytes=2, **KNOWN)
    assert "unknown" not in " ".join(usage_legend([known, None]))
    half = known.model_copy(update={"money": None, "currency": None})
    assert "Money is unknown where" in " ".join(usage_legend([half]))
    half = known.model_copy(update={"energy_j": None, "busiest_device_j": None})
    assert "Energy is unknown where" in " ".join(usage_legend([known, half]))


def test_a_plan_without_usage_says_nothing_of_it():
    made = whole_plan()
    silent = {name: run and replace(run, usage=None) for name, run in made.baselines.items()}
    old = replace(
        made,
        recommendation=replace(made.recommendation, usage=None),
        runners_up=tuple(replace(run, usage=None) for run in made.runners_up),
        baselines=silent,
    )
    assert usage_rows(old) == []
    assert "device" not in " ".join(sentences(old))


def test_rows_of_answers_are_known_forecast_or_empty():
    made = whole_plan()
    assert device_rows(made.also, "paper") == [
        ("2MB", "900 B", "200 B", "unknown", "unknown", "unknown"),
        ("lte: 1h", "~900 B", "~200 B", "unknown", "unknown", "unknown"),
        ("lte: 9s", "-", "-", "-", "-", "-"),
    ]
    said = " ".join(answer_sentences(made.also))
    assert "A device is a client of the fleet" in said
    unknown = made.also[2:]
    assert device_rows(unknown, "paper") == []
    assert "device" not in " ".join(answer_sentences(unknown))


@pytest.mark.parametrize(
    ("budget", "limit", "said"),
    [
        ("500MB/client", "500 MB a cohort slot", "A cohort slot is a place in every round"),
        ("3-dense-rounds", "3-dense-rounds = 2 s of link time", "A dense round has 32 bits"),
        ("2GB/month@3/day", "2 GB a device in 30 days, at 3 rounds a day", "within any 30 days"),
        ("5%battery@15Wh", "5 % of a battery = 2.7 kJ of the device that takes most", ""),
    ],
)
def test_answers_say_whose_amount_their_budget_is(budget: str, limit: str, said: str):
    answer = whole_plan().also[0].model_copy(update={"budget": budget, "limit": limit})
    told = " ".join(answer_sentences([answer]))
    assert f"{budget} is {limit.removeprefix(f'{budget} = ')}." in told
    assert said in told


def test_the_summary_and_the_notebook_have_all_tables():
    made = ReportedPlan.of(whole_plan())
    for text in (made.summary(), made._repr_html_()):
        for name in (*USAGE_COLUMNS, *COST_COLUMNS):
            assert text.count(name) > 0
        assert "~900 B" in text
        assert "2 of 8" in text


def test_a_budget_of_a_month_says_whose_bytes_they_are():
    limit = Limit(parse_budget("2GB/month@0.5/day"), 2e9, (), 5)
    made = replace(whole_plan(), limit=limit)
    assert limit.describe() == "2 GB a device in 30 days, at 0.5 rounds a day"
    said = " ".join(sentences(made))
    assert "at most 15 rounds start; those of the plan take 40 days." in said  # 20 rounds
    assert "the most that one device transfers within any 30 days" in said
    assert cost_text(made, 0.5) == "1 GB"


def test_costs_have_the_unit_of_their_budget():
    for text, amount, said in (
        ("50EUR", 50.0, "25.00 EUR"), ("500kJ", 5e5, "250 kJ"), ("5%battery", 2700.0, "1.35 kJ")
    ):  # fmt: skip
        limit = Limit(parse_budget(text), amount, (), 5)
        assert cost_text(replace(whole_plan(), limit=limit), 0.5) == said
