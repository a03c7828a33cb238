from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_plans import on_test, whole_plan
from stand_in_learners import CountingLearner

from floss_sim import RunConfig, run
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.network import NetworkProfile
from planner.apply import AppliedPlan
from planner.candidates import Candidate
from planner.decisions.another_seed import SeedDifference
from planner.decisions.recommend import choose
from planner.forecasts.intervals import Interval
from planner.plans.cheaper_way import CheaperWay
from planner.plans.outcome import EFFORT, Outcome, outcome_within
from planner.plans.plan import Plan
from planner.question.budget import Limit, parse_budget
from planner.question.request import Request
from planner.report import applied_text, plan_folder, plan_table, plan_text
from planner.report.plan_plots import applied_frame, curves_frame, draw_applied, draw_plan


def outcome(rank: int, accuracy: float, nbytes: int = 1000, **changes) -> Outcome:
    curve = ((10, 0.4, accuracy - 0.1), (20, 0.8, accuracy))
    made = Outcome(
        Candidate(rank, 1.0, 1 / 16),
        20,
        accuracy,
        0.1,
        nbytes,
        nbytes,
        3.5,
        0.8,
        0.04,
        "budget",
        5,
        curve,
    )
    return replace(made, **changes)


def plan(paper: NetworkProfile) -> Plan:
    limit = Limit(parse_budget("1MB"), 1e6, paper.links(50), 5)
    outcomes = [
        outcome(1, 0.95, 500, test=on_test(0.94)),
        outcome(4, 0.951, 900),
        outcome(16, 0.90, 100, test=on_test(0.91)),
    ]
    choice = choose(outcomes, 350)
    effort = dict.fromkeys(
        ("searched", "unaffordable", "starters", "grid_rounds", "limit_rounds", "search_rounds",
         "trained_now_rounds"), 7,
    )  # fmt: skip
    effort["search"] = "halving"
    request = {
        "task": "digits", "network": "paper", "seed": 0, "max_rounds": 22,
        "validation_examples": 350,
        "test_examples": 350, "judged": {"what": "examples", "validation": 350, "test": 350},
    }  # fmt: skip
    return Plan(
        request, limit, choice.recommendation, choice.others, choice.best_accuracy, choice.margin,
        {"dense": outcomes[2], "thesis_rule": None}, effort,
    )  # fmt: skip


def test_among_ties_far_fewer_bytes_are_recommended():
    best, cheap, poor = outcome(16, 0.96, 900), outcome(4, 0.958, 300), outcome(1, 0.90, 100)
    choice = choose([best, cheap, poor], 350)
    assert choice.recommendation is cheap
    assert choice.others == (best, poor)
    assert choice.best_accuracy == 0.96


def test_beyond_noise_the_best_accuracy_is_recommended():
    best, cheap = outcome(16, 0.96, 900), outcome(4, 0.93, 300)
    assert choose([best, cheap], 350).recommendation is best


def test_an_outcome_ends_at_the_last_evaluated_round_within_budget_and_cap(
    sparse_digits: RunConfig, paper: NetworkProfile
):
    record = run(sparse_digits, paper, CountingLearner(), rounds=40)
    spent = Limit(parse_budget("1GB"), 1, paper.links(50), 5).spending(record)
    limit = Limit(parse_budget("1GB"), float(spent[26]), paper.links(50), 5)  # 27 rounds
    candidate = Candidate(2, 0.25, 1 / 16)
    made = outcome_within(candidate, record, limit, 40, 400, 5)
    assert (made.rounds, made.binds) == (20, "budget")
    assert made.accuracy == 1 - 1 / 21
    assert made.total_bytes == spent[19]
    assert made.spent == pytest.approx(spent[19] / spent[26])
    assert made.own_fleet_s == record.rounds["closed_at_s"][19].as_py()
    capped = outcome_within(candidate, record, limit, 10, 10, 5)
    assert (capped.rounds, capped.binds) == (10, "round cap")
    assert made.most == pytest.approx(max(np.diff(spent[:20], prepend=0)) / spent[26])
    beyond = outcome_within(candidate, record, limit, 40, 30, 5)
    assert (beyond.rounds, beyond.binds) == (20, "budget")  # trained to the cap, paid for 20
    assert (
        outcome_within(candidate, record, replace(limit, amount=spent[0] / 2), 40, 400, 5) is None
    )


def test_the_json_carries_what_the_command_promises(paper: NetworkProfile):
    answer = json.loads(json.dumps(plan(paper).to_json()))
    promised = {
        "rank", "down_density", "up_density", "rounds", "validation_accuracy", "test_accuracy",
        "down_bytes", "up_bytes", "own_fleet_s",
    }  # fmt: skip
    assert promised <= set(answer["recommendation"])
    assert answer["recommendation"]["rank"] == 1
    assert [o["rank"] for o in answer["runners_up"]] == [4, 16]
    assert [o["tie"] for o in answer["runners_up"]] == [True, False]
    assert answer["baselines"]["thesis_rule"] is None
    assert answer["budget"]["text"] == "1MB"


def test_the_table_shows_baselines_once_and_marks_ties(paper: NetworkProfile):
    rows = {row[0]: row for row in plan_table.table_rows(plan(paper))}
    assert list(rows) == ["plan", "#2", "dense LoRA", "rule"]
    assert rows["plan"][5] == "95.0="
    assert rows["dense LoRA"][5] == "90.0 "
    assert rows["rule"][1] == "-"


def test_the_legend_says_which_rows_the_effort_ended_and_whose_rates_the_rule_has():
    made = whole_plan()
    assert "rate on the fleet of the network's seed." in plan_table.legend(made)
    steady = replace(made.recommendation, time=TimeSpread((3.4,), "closed form"))
    steady_plan = replace(made, recommendation=steady)
    assert "download to upload rate." in plan_table.legend(steady_plan)
    assert "Besides plan and baselines, #2 was trained to its end." in plan_table.legend(made)
    one, dense = made.runners_up
    ended = replace(made, runners_up=(replace(one, binds=EFFORT), dense))
    assert "baselines, #2 counts, which the effort ended early." in plan_table.legend(ended)
    third = replace(one, candidate=replace(one.candidate, rank=2), binds=EFFORT)
    both = plan_table.legend(replace(made, runners_up=(one, third, dense)))
    assert "trained to their end, best first, but for #3, which the effort ended early." in both


def test_the_plot_draws_every_curve_once_with_units(paper: NetworkProfile):
    frame = curves_frame(
        {label: run.curve for label, run in plan_folder.labelled_runs(plan(paper)).items()}
    )
    assert sorted(frame.run.unique()) == [
        "baseline, dense LoRA: rank 16, down 1, up 1/16",
        "plan: rank 1, down 1, up 1/16",
        "runner-up: rank 4, down 1, up 1/16",
    ]
    (axes,) = draw_plan(frame, "title", "budget spent (%)").axes
    assert len(axes.lines) == 3
    assert list(axes.lines[0].get_ydata()) == pytest.approx([85, 95])
    assert "%" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()


def test_saving_writes_both_files(paper: NetworkProfile, tmp_path: Path):
    plan_folder.save(plan(paper), tmp_path / "new" / "plan")
    assert sorted(p.name for p in (tmp_path / "new" / "plan").iterdir()) == [
        "accuracy.png",
        "plan.json",
    ]


def test_next_tokens_are_what_an_accuracy_of_texts_is_judged_on():
    tokens = np.array([[5, 6, 7, -1], [1, 2, -1, -1]], np.int32)  # two and one to predict
    split = tokens, np.zeros(2, np.int64)
    content = SimpleNamespace(validation=split, test=split)
    for kind, judged in (
        ("next-token", {"what": "next tokens", "validation": 3, "test": 3}),
        ("text-classification", {"what": "examples", "validation": 2, "test": 2}),
    ):
        task = SimpleNamespace(kind=kind, content=content)
        assert Request.prediction_counts(SimpleNamespace(task=task)) == judged


def test_ties_are_explained_where_there_are_any(paper: NetworkProfile):
    tied = plan(paper)
    assert sum(line.startswith("=") for line in plan_text.sentences(tied)) == 1
    assert sum("=" in row[5] for row in plan_table.table_rows(tied)) == 2
    best = replace(tied.runners_up[0], test=on_test(0.9))
    lonely = replace(tied, margin=0.0, recommendation=best, runners_up=())
    assert not any(line.startswith("=") for line in plan_text.sentences(lonely))
    assert not any("=" in row[5] for row in plan_table.table_rows(lonely))


def test_what_was_realised_is_judged_as_the_plan_judges():
    """By the last 15 % of rounds, 86 to 100, and not by a last evaluation that was unlucky."""
    curve = ((50, 0.5, 0.2), (90, 0.9, 0.94), (95, 0.95, 0.95), (100, 1.0, 0.90))
    planned = outcome(4, 0.93, test=on_test(0.9), interval=Interval(0.91, 0.93, 0.95, "measured"))
    made = outcome(4, 0.90, rounds=100, curve=curve, test=on_test(0.9))
    told = AppliedPlan(
        plan=SimpleNamespace(
            recommendation=planned, request={"seed": 0}, cost=lambda c: None, next_seed=1,
            learned=True, traffic_alone=False, measures_own=False,
            limit=Limit(parse_budget("1MB"), 1e6, (), 5),
        ),
        seed=0, config=None, outcome=made, record=None, folder=None, limit=None, trained=0,
    )  # fmt: skip
    own = replace(told, outcome=replace(made, interval=planned.interval))
    assert applied_text.rows(own)[1][-1] == "0.930±0.020"
    assert applied_text.sentences(told)[1].startswith(
        "This is the run by which the plan was chosen: nothing new was measured. `--seed 1`"
    )
    other = replace(
        told, seed=7, outcome=replace(made, curve=(*curve[:3], (100, 1.0, 0.99))),
        difference=SeedDifference(0, 0.01, 0.03, 0.05, 350, None),
    )  # fmt: skip
    assert applied_text.rows(other)[1][-1] == "0.960"
    assert applied_text.sentences(other)[1] == (
        "Validation accuracy, averaged over the last 15 % of rounds: 0.960 with seed 7, 0.930 with "
        "the plan's seed 0: +3.0 points (+1.0 to +5.0). Expected were 0.930 (90 % interval 0.910 "
        "to 0.950); the new seed is outside it."
    )


def test_the_plot_of_what_was_realised_has_both_runs_and_the_interval():
    made, planned = ((1, 0.1, 0.5), (5, 0.5, 0.8)), ((1, 0.1, 0.4), (5, 0.5, 0.9))
    own = applied_frame(made, planned, 0, 0)
    assert own.run.unique().tolist() == ["realised, seed 0"]
    both = applied_frame(made, planned, 3, 0)
    assert both.run.unique().tolist() == ["realised, seed 3", "planned, seed 0"]
    (axes,) = draw_applied(both, "title", (5, 0.85, 0.92, 0.95)).axes
    assert list(axes.lines[0].get_ydata()) == pytest.approx([50, 80])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[-1] == "expected by the plan, with its 90 % interval"
    (bars,) = axes.containers
    ends = bars.lines[2][0].get_segments()[0].ravel().tolist()
    assert ends == pytest.approx([5, 85, 5, 95])


def test_a_plan_at_chance_says_that_nothing_was_learned(paper: NetworkProfile):
    made = replace(plan(paper), best_accuracy=0.14, chance=0.11)
    assert not made.learned  # two standard errors of 350 examples are 0.033
    assert plan_text.sentences(made)[0].startswith("Nothing was learned: the best validation")
    assert replace(made, best_accuracy=0.15).learned
    assert replace(made, chance=None).learned
    assert made.to_json()["learned"] is False


def test_the_cap_on_rounds_is_the_asked_one(paper: NetworkProfile):
    made = plan(paper)
    capped = replace(made, recommendation=replace(made.recommendation, binds="round cap"))

    said = " ".join(plan_text.sentences(capped))
    assert (
        "Limited by the cap of 22 rounds (--max-rounds; the last evaluation is after round 20):"
        in said
    )
    whole = replace(capped, request={**capped.request, "max_rounds": 20})
    assert "Limited by the cap of 20 rounds (--max-rounds):" in " ".join(plan_text.sentences(whole))


def test_cheaper_ways_are_told_with_their_share_and_interval(paper: NetworkProfile):
    way = CheaperWay(0.5, Candidate(1, 1.0, 1.0), 10, 250, Interval(0.8, 0.85, 0.9, "measured"))
    made = replace(plan(paper), cheaper=(way,))
    share = 250 / made.recommendation.total_bytes
    line = (
        f"Cheaper, with {100 * share:.0f} % of the plan's bytes (250 B): validation accuracy 0.850 "
        "(0.800 to 0.900) by rank 1, down 1, up 1, 10 rounds."
    )
    assert line in plan_text.sentences(made)
    assert not any("As good as the plan" in line for line in plan_text.sentences(made))


def test_a_cheaper_way_as_good_as_the_plan_says_why_it_is_not_the_plan(paper: NetworkProfile):
    made = plan(paper)
    best = made.recommendation.expected_accuracy
    ways = tuple(
        CheaperWay(share, Candidate(1, 1.0, 1.0), 10, nbytes, Interval(0.8, mean, 1.0, "measured"))
        for share, nbytes, mean in ((0.5, 32_440, best), (0.25, 9_000, best - 0.01))
    )
    (line,) = (
        line
        for line in plan_text.sentences(replace(made, cheaper=ways))
        if line.startswith("As good as the plan and cheaper is only a run before its end.")
    )
    assert line.endswith("--budget 32.4kB plans with these bytes.")


def test_a_target_below_all_that_was_reached_is_in_the_picture(tmp_path: Path):
    """The cheapest run reaches it at once; dense LoRA costs many times as much."""
    frame = curves_frame({"plan": ((1, 0.003, 0.16),), "baseline": ((1, 0.12, 0.33),)})
    figure = draw_plan(frame, "made", "spent", target=0.11)
    figure.savefig(tmp_path / "plan.png")  # a layout that does not fit is a warning, and an error
    low, high = figure.axes[0].get_ylim()
    assert low <= 11 <= high


def test_the_legend_names_the_other_runs_the_rule_and_link_time(paper: NetworkProfile):
    made = plan(paper)
    legend = plan_table.legend(made)
    assert [row[0] for row in plan_table.table_rows(made)][1] == "#2"
    assert (
        "Besides plan and baselines, #2 was trained to its end. rule is the thesis' rule ("
        in legend
    )
    assert "Link time" not in legend
    more = replace(made, runners_up=(*made.runners_up, outcome(8, 0.9)))
    assert "#2 and #3 were trained to their end, best first" in plan_table.legend(more)
    most = replace(more, runners_up=(*more.runners_up, outcome(2, 0.9)))
    assert "#2 to #4 were trained to their end" in plan_table.legend(most)
    alone = replace(made, runners_up=(), limit=Limit(parse_budget("9-dense-rounds"), 1.0, (), 5))
    assert "#2" not in plan_table.legend(alone)
    assert "Link time is bytes over rates, added up over clients: slow" in plan_table.legend(alone)


def test_what_was_trained_now_is_told_apart_from_what_the_store_had(paper: NetworkProfile):
    made = plan(paper)

    def said(**changes: int) -> str:
        return plan_text.sentences(replace(made, effort={**made.effort, **changes}))[-1]

    assert "7 rounds were trained now, baselines included. The intervals" in said()
    assert (
        "7 rounds of 1 run were trained now, baselines included; 4 runs came whole from the store."
    ) in said(trained_now_runs=1, runs=5)
