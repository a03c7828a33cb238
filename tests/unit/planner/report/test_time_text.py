"""The table and the sentences of a plan's times."""

from __future__ import annotations

from dataclasses import replace

from made_plans import outcome, whole_plan

from floss_sim.analysis.time_spread import TimeSpread
from planner.plans.elsewhere import TimesElsewhere
from planner.plans.plan import Plan
from planner.question.budget import Limit, parse_budget
from planner.report.explanation_text import explanation_sentences
from planner.report.objective_text import front_title, target_sentence
from planner.report.time_text import (
    median_clause,
    time_columns,
    time_rows,
    time_sentences,
    time_words,
)


def drawn_plan(*seconds: float, **changes: object) -> Plan:
    """Return the plan made by hand, whose runs take other times."""
    made = whole_plan()
    time = TimeSpread(seconds or (60.0, 12.0, 220.0), "closed form")
    return replace(made, recommendation=replace(made.recommendation, time=time), **changes)


def test_times_stand_beside_those_on_other_networks():
    made = drawn_plan()
    assert time_columns(made) == ("", "time", "5-95 %", "slower", "lte")
    assert time_rows(made) == [
        ("plan", "60 s", "12-220 s", "", "8 s"),
        ("#2", "3.4 s", "3-5 s", "0 %", ""),
        ("dense LoRA", "3.4 s", "3-5 s", "0 %", "≈9.5 s"),
    ]


def test_a_network_that_draws_nothing_has_no_interval_and_says_so():
    made = drawn_plan(60.0)
    assert time_columns(made) == ("", "time", "lte")
    assert time_rows(made)[0] == ("plan", "60 s", "8 s")
    lines = time_sentences(made)
    assert lines[0] == (
        "paper is the same for every seed, so that its times have no interval; those on other "
        "networks are medians over 3 fleets drawn by seed."
    )
    assert time_words(made.recommendation) == "1 min of simulated time"
    assert not any("faster" in line for line in lines)
    alone = TimesElsewhere("wifi", {"plan": TimeSpread((3.0,), "closed form")})
    same = replace(made, elsewhere=(alone,), traffic_alone=False, straggler=None, slow_fleets=None)
    assert time_sentences(same) == [
        "paper is the same for every seed, so that its times have no interval."
    ]


def test_drawn_times_are_explained_once():
    lines = time_sentences(drawn_plan())
    assert lines[:3] == [
        "Times are medians over 3 fleets that the network may draw, with the same clients in each "
        "round. 5-95 % holds nine in ten of them; slower: the share of them on which a run takes "
        "longer than the plan.",
        "≈: the first rounds of each fleet are exact, the others are scaled.",
        "The plan is faster than dense LoRA on 0 % of fleets.",
    ]
    assert time_words(drawn_plan().recommendation) == (
        "1 min of simulated time in the median of fleets (5 to 95 %: 12 s to 3.67 min)"
    )
    assert explanation_sentences(drawn_plan())[0].startswith(
        "A round takes 3 s in the median of fleets; its shares on the fleet of the network's "
        "seed: 50 % upload"
    )


def test_a_budget_of_seconds_says_on_how_many_fleets_it_suffices():
    limit = Limit(parse_budget("90s"), 90.0, (), 5)
    assert drawn_plan().in_time is None
    assert median_clause(drawn_plan()) == ""
    assert median_clause(drawn_plan(limit=limit)) == " in the median of fleets"
    assert median_clause(drawn_plan(60.0, limit=limit)) == ""
    assert front_title(drawn_plan(limit=limit)).endswith("cost in the median of fleets")
    objective = {**whole_plan().request, "objective": {"kind": "target", "target": 0.9}}
    (reached,) = target_sentence(drawn_plan(limit=limit, request=objective, reached=True))
    assert reached == (
        "The cheapest run found that reaches 0.9 costs 1.2 min in the median of fleets: 80 % of "
        "the budget."
    )
    assert (
        "The budget is planned for the median of fleets: the plan ends within 1.5 min on 67 % of "
        "these; 90s@95% plans for 95 % of them."
    ) in time_sentences(drawn_plan(limit=limit))
    sure = Limit(parse_budget("90s@60%"), 90.0, (), 5)
    assert (
        "The budget is planned for 60 % of fleets: the plan ends within 1.5 min on 67 % of these."
    ) in time_sentences(drawn_plan(limit=sure))


def test_the_client_that_decides_the_time_is_named_with_what_would_remove_it():
    slow, line, remedy = time_sentences(drawn_plan())[-4:-1]
    assert slow == (
        "On 2 of 3 fleets a single client takes more than half of the time, at worst one with "
        "1 Mbit/s down, 500 kbit/s up, round trip 80 ms."
    )
    assert line.startswith(
        "On the fleet of the network's seed, client 7 (1 Mbit/s down, 500 kbit/s up, round trip "
        "80 ms) holds up its rounds: 4 of 20 rounds have it, and take 400 ms in the median instead "
        "of 150 ms; without it the run takes "
    )
    assert remedy.startswith("In floss-sim run it is removed by --policy deadline:0.2s (about ")
    assert remedy.endswith("; this changes what is learned.")
    assert "Client 7 (" in "\n".join(time_sentences(drawn_plan(60.0)))
    none = drawn_plan(straggler=None, slow_fleets=None)
    said = " ".join(time_sentences(none))
    assert "single client" not in said
    assert "holds up its rounds" not in said


def test_the_recommendation_is_compared_with_other_runs_alone():
    made = drawn_plan()
    assert made.faster_than(made.recommendation) is None
    assert made.faster_than(outcome(1, 0.9, time=None)) is None
    assert made.faster_than(outcome(1, 0.9, time=TimeSpread((61.0, 12.0, 1.0), "closed form"))) == (
        0.5  # faster on one of three fleets, as fast on another
    )
