"""Sentences on test accuracies: paired leads, and where validation and test disagree."""

from __future__ import annotations

from dataclasses import replace

from made_plans import on_test, whole_plan

from floss_sim.analysis.on_test import AccuracyOnTest, DifferenceOnTest
from planner.forecasts.intervals import Interval
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.on_test_text import (
    accuracy_clause,
    baseline_sentences,
    disagreement_sentence,
    validation_difference,
)
from planner.report.plan_text import sentences


def compared(plan_ends, dense_ends, lead: DifferenceOnTest, **changes) -> Plan:
    """Return a plan whose lead over dense LoRA is known on both splits."""
    made = whole_plan()
    best = replace(made.recommendation, interval=Interval(*plan_ends, "measured"), **changes)
    dense = made.baselines["dense"]
    assert isinstance(dense, Outcome)
    dense = replace(dense, interval=Interval(*dense_ends, "measured"))
    return replace(
        made, recommendation=best, baselines={"dense": dense, "thesis_rule": None},
        test_differences={"dense": lead},
    )  # fmt: skip


def test_a_lead_is_told_on_both_splits_with_its_intervals():
    plan = compared(
        (0.93, 0.95, 0.97), (0.885, 0.90, 0.915), DifferenceOnTest(-0.01, 0.03, 0.07, 340)
    )
    assert baseline_sentences(plan) == [
        "Compared with dense LoRA at the same budget (rank 16, down 1, up 1): validation "
        "+5.0 points (+2.5 to +7.5), test +3.0 points (-1.0 to +7.0), paired on 340 test examples, "
        "1 seed; 0.89 times the bytes, 1.00 times the time."
    ]
    low, mean, high = validation_difference(plan.recommendation, plan.baselines["dense"])
    assert high - mean == mean - low == 0.025 or abs(high - mean - 0.025) < 1e-12  # 3, 4, 5


def test_a_plan_that_is_a_baseline_says_so():
    made = whole_plan()
    plan = replace(made, baselines={"dense": made.recommendation, "thesis_rule": None})
    (line,) = baseline_sentences(plan)
    assert line.startswith("The plan is dense LoRA at the same budget")


def test_what_was_not_measured_is_not_told():
    made = whole_plan()
    assert accuracy_clause(None) == "test accuracy not measured"
    assert baseline_sentences(replace(made, test_differences={})) == []
    assert disagreement_sentence(replace(made, test_differences={})) == []


def test_an_accuracy_says_what_it_is_the_mean_of():
    told = AccuracyOnTest(0.94, 0.95, 0.96, 350, 6, 2)
    assert accuracy_clause(told) == (
        "test accuracy 0.950 (0.940 to 0.960; mean of the last 6 evaluations on 350 examples, "
        "2 seeds)"
    )
    assert "the last evaluation on" in accuracy_clause(replace(told, models=1))


def test_splits_that_disagree_beyond_chance_are_named():
    """Half intervals of 3 and 4 points: figures more than 5 points apart disagree."""
    for apart, said in ((0.0495, False), (0.0505, True)):
        test = DifferenceOnTest(0.05 - apart - 0.04, 0.05 - apart, 0.05 - apart + 0.04, 340)
        plan = compared((0.93, 0.95, 0.97), (0.9 - 5**0.5 / 100, 0.9, 0.9 + 5**0.5 / 100), test)
        lines = disagreement_sentence(plan)
        assert bool(lines) == said
        assert not said or lines[0].startswith(
            "Validation and test disagree beyond chance: the lead over dense LoRA +5.0 points "
            "on validation and -0.1 on test. One split is harder"
        )


def test_an_accuracy_that_disagrees_is_named():
    test = DifferenceOnTest(0.0, 0.05, 0.1, 340)
    plan = compared((0.93, 0.95, 0.97), (0.88, 0.90, 0.92), test, test=on_test(0.91))
    (line,) = disagreement_sentence(plan)
    assert "the plan 0.950 on validation and 0.910 on test" in line
    assert line in sentences(plan)
    assert disagreement_sentence(compared((0.93, 0.95, 0.97), (0.88, 0.9, 0.92), test)) == []
