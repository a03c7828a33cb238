"""What a plan says of the methods that were asked for, by hand-made runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import edited_plans
import pytest
from edited_plans import refusal
from made_plans import mirrored, outcome, whole_plan

from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.plans.method_result import MethodResult, MethodRun, method_gaps
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.report.method_text import METHOD_COLUMNS, method_rows, method_sentences

REASON = "its tiers are given by hand"


def interval(mean: float) -> Interval:
    return Interval(mean - 0.02, mean, mirrored(mean - 0.02, mean), "measured")


def run_of(made: Outcome, *, counts: bool = True) -> MethodRun:
    assert made.interval
    return MethodRun(
        made.candidate, made.rounds, made.total_bytes, made.spent, counts, made.interval
    )


def square(accuracy: float) -> Outcome:
    """Return a finished run of Fed-SB with a quarter less bytes than the plan's."""
    candidate = Candidate(32, 1.0, 1 / 16, method="fed-sb")
    return outcome(32, accuracy, 300_000, candidate=candidate, interval=interval(accuracy))


def method_plan(accuracy: float = 0.94, *, counts: bool = True) -> Plan:
    """Return a plan of FLoSS, a run of Fed-SB, Ravan without rounds, and HetLoRA refused."""
    plain, other = whole_plan(), square(accuracy)
    cost = {**plain.costs[0], **other.candidate.settings()}
    grid = plain.effort["grid_rounds"] + cost["affordable_rounds"]
    effort = {**plain.effort, "searched": 6, "grid_rounds": grid, "limit_rounds": grid // 5}
    asked = {"method": ["fed-sb", "floss", "ravan"], "left_out_methods": {"hetlora": REASON}}
    first, dense = plain.runners_up
    return replace(
        plain,
        request={**plain.request, **asked},
        costs=(*plain.costs, cost),
        effort=effort,
        runners_up=(first, *([other] if counts else []), dense),
        methods=(
            MethodResult("floss", 5, 5, 3, run_of(plain.recommendation)),
            MethodResult("fed-sb", 1, 1, 1, run_of(other, counts=counts)),
            MethodResult("ravan", 2, 0, 0, lacks="budget"),
            MethodResult("hetlora", 0, 0, 0, lacks="refused"),
        ),
    )


CONTENT = json.loads(json.dumps(method_plan().to_json()))


def test_a_plan_of_methods_is_read_as_it_was_written():
    read = plan_of(CONTENT, "here")
    assert read.methods == method_plan().methods
    assert read.to_json() == method_plan().to_json()


def test_a_gap_is_the_difference_to_the_best_run():
    (gap,) = method_plan().method_gaps
    ours, theirs = interval(0.94), method_plan().recommendation.interval
    assert theirs
    assert gap.mean == pytest.approx(-0.01)
    down = ((ours.mean - ours.low) ** 2 + (theirs.high - theirs.mean) ** 2) ** 0.5
    up = ((ours.high - ours.mean) ** 2 + (theirs.mean - theirs.low) ** 2) ** 0.5
    assert (gap.low, gap.high) == pytest.approx((gap.mean - down, gap.mean + up))
    assert gap.bytes_ratio == pytest.approx(600_000 / 800_000)
    assert gap.ties
    assert not method_gaps(method_plan(0.93).methods, 0.016)[0].ties


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (method_plan(), "floss has the best run; fed-sb ties, at -1.0 points (-3."),
        (method_plan(0.93), "floss has the best run, by +2.0 points (-0.6 to +4.5) over "
                            "fed-sb, which takes 0.75 times the bytes; "),
        (method_plan(0.8), "floss is ahead of fed-sb, which takes 0.75 times the bytes, by "),
        (method_plan(counts=False), "floss alone has a run to its end; fed-sb has no run to "
                                    "its end: its best was ended after round 20 of 24; "),
        (method_plan(), "ravan was not searched: each of its 2 candidates cannot afford two "
                        f"rounds; hetlora was not searched: {REASON}."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_was_measured(plan: Plan, says: str):
    (line,) = method_sentences(plan)
    assert line.startswith("Of the methods asked for, floss ")
    assert says in line


def test_a_plan_of_one_method_says_nothing_of_methods():
    assert method_sentences(whole_plan()) == []
    assert method_rows(whole_plan()) == []
    assert whole_plan().method_gaps == []


def test_the_table_has_a_row_for_each_method():
    rows = method_rows(method_plan())
    assert {len(row) for row in rows} == {len(METHOD_COLUMNS)}
    assert [row[0] for row in rows] == ["floss", "fed-sb", "ravan", "hetlora"]
    assert rows[1][:4] == ("fed-sb", "1 of 1", "rank 32, down 1, up 1/16", "20")
    assert rows[1][5:] == ("-1.0=", "600 kB", "60 %")
    assert method_rows(method_plan(counts=False))[1][3:6] == ("20 (ended)", rows[1][4], "-")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("request.method", ["fed-sb", "floss"], "methods: those that were asked for are fed-sb, f"),
        ("request.left_out_methods", None, "methods: those that were asked for are fed-sb, floss"),
        ("methods.0.begun", 2, "methods: their begun add up to 3, but those of effort are 4"),
        ("methods.0.candidates", 6, "methods: their candidates add up to 9, but those of effort"),
        ("methods.2.lacks", "refused", "methods.2.lacks: request.left_out_methods says otherwise"),
        ("methods.1.lacks", "budget", "methods.1: a method has a run, or lacks one"),
        ("methods.0.run.rounds", 10, "methods.0.run: it differs from the same run in the plan"),
        ("methods.0.run.bytes", 10, "methods.0.run: it differs from the same run in the plan"),
        ("methods.1.run.counts", False, "methods.1.run.counts: the plan was chosen among runs wi"),
        ("methods.1.run.method", "floss", "methods.1.run: rank 32, down 1, up 1/16 is none of fed"),
        ("methods.1.run.rank", 64, "methods.1.run: rank 64, down 1, up 1/16, fed-sb is not among"),
        ("method_gaps.0.mean", -0.02, "method_gaps.0.mean: it contradicts the other figures"),
        ("method_gaps.0.ties", False, "method_gaps.0.ties: it contradicts the other figures"),
        ("methods.1.run.options", "heads=2", "method 'fed-sb' has no option 'heads'"),
    ],
)  # fmt: skip
def test_an_edit_of_the_methods_is_named(path: str, value: Any, said: str):
    assert said in refusal(edited_plans.changed(path, value, CONTENT))


def test_methods_come_best_first():
    shuffled = {**CONTENT, "methods": [CONTENT["methods"][i] for i in (1, 0, 2, 3)]}
    assert "methods: those with a measured run come first, best first" in refusal(shuffled)
