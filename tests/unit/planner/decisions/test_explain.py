from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import get_args

import pytest
from made_plans import outcome, whole_plan
from stand_in_learners import CountingLearner

from floss_sim import RunConfig, run
from floss_sim.network import NetworkProfile
from floss_sim.units import format_duration
from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.decisions.explain import SearchResult, axis_neighbours, explain
from planner.execution.curve_store import last_evaluated_round
from planner.forecasts.forecast import Forecast
from planner.forecasts.improvement import expected_improvement
from planner.forecasts.intervals import Interval, KnownCurves
from planner.plans.explanation import Axis, Explanation, MoreBudget, Neighbour, Range
from planner.plans.outcome import CLIENT_LIMIT, EFFORT, FALL
from planner.question.budget import Limit, parse_budget
from planner.report.answer_text import answer_row, answer_sentences
from planner.report.explanation_text import explanation_sentences
from planner.report.on_test_text import baseline_sentences

SPACE = grid([1, 4, 16], [1, 1 / 4], [1, 1 / 16])
BEST = Candidate(4, 1.0, 1 / 16)
EVALUATED = tuple(sorted({last_evaluated_round(n) for n in range(1, 101)}))
CAP = 400


def curve(candidate: Candidate, rounds: int) -> Curve:
    """Return a curve that rises towards what rank and down density allow."""
    ceiling = 0.9 + 0.02 * math.log2(candidate.rank) / 4 - 0.1 * (candidate.down_density < 1)
    seen = tuple(r for r in EVALUATED if r <= rounds)
    return Curve(seen, tuple(ceiling - 0.6 / (1 + r) for r in seen), rounds)


def known(
    finished: dict[Candidate, int], begun: dict[Candidate, int], horizon: int = 100
) -> SearchResult:
    history = {c: curve(c, rounds) for c, rounds in {**finished, **begun}.items()}
    outcomes = {
        c: replace(
            outcome(c.rank, history[c].accuracies[-1]), candidate=c, rounds=finished[c], spent=0.99
        )
        for c in finished
    }
    door = KnownCurves(history, 350, CAP)
    return SearchResult(outcomes, door, dict.fromkeys(SPACE, horizon), CAP)


def explained_by(digits: RunConfig, paper: NetworkProfile, knows: SearchResult) -> Explanation:
    record = run(digits, paper, CountingLearner(), rounds=100)
    limit = Limit(parse_budget("1MB"), 1e6, paper.links(50), 5)
    return explain(knows.outcomes[BEST], record, paper, limit, knows)


def test_neighbours_are_measured_forecast_or_unknown(digits: RunConfig, paper: NetworkProfile):
    finished = {BEST: 100, Candidate(1, 1.0, 1 / 16): 100}
    begun = dict.fromkeys([c for c in SPACE if c not in finished], 10)
    failed = Candidate(4, 1.0, 1.0)
    knows = known(finished, begun)
    knows.history[failed] = replace(knows.history[failed], failed=True)
    said = {one.candidate: one for one in explained_by(digits, paper, knows).neighbours}
    assert said[Candidate(1, 1.0, 1 / 16)].kind == "measured"
    assert said[Candidate(1, 1.0, 1 / 16)].accuracy == pytest.approx(0.9 - 0.6 / 101)
    for candidate in (Candidate(16, 1.0, 1 / 16), Candidate(4, 1 / 4, 1 / 16)):
        one = said[candidate]
        assert one.kind == "forecast"
        assert one.interval.low <= curve(candidate, 100).accuracies[-1] <= one.interval.high
    assert said[failed].kind == "unknown"
    assert len(said) == 4


def test_one_step_is_one_step_of_the_space():
    near = axis_neighbours(Candidate(4, 1.0, 1 / 16), SPACE)
    assert near == [
        ("rank", Candidate(1, 1.0, 1 / 16)),
        ("rank", Candidate(16, 1.0, 1 / 16)),
        ("down_density", Candidate(4, 1 / 4, 1 / 16)),
        ("up_density", Candidate(4, 1.0, 1.0)),
    ]
    assert axis_neighbours(Candidate(8, 1.0, 1 / 16), SPACE)[:2] == [
        ("rank", Candidate(4, 1.0, 1 / 16)),
        ("rank", Candidate(16, 1.0, 1 / 16)),
    ]


def test_a_tenth_more_is_forecast_and_never_measured(digits: RunConfig, paper: NetworkProfile):
    more = explained_by(digits, paper, known({BEST: 100}, {}, 100)).tenth
    assert more.rounds == last_evaluated_round(int(110 / 0.99))
    assert more.accuracy.low < more.accuracy.mean < more.accuracy.high
    knows = known({BEST: 100}, {}, 100)
    capped = replace(knows, cap=100)
    assert explained_by(digits, paper, capped).tenth.accuracy is None
    for binds in (CLIENT_LIMIT, FALL, EFFORT):
        limited = {BEST: replace(knows.outcomes[BEST], binds=binds, spent=0.05)}
        unchanged = explained_by(digits, paper, replace(knows, outcomes=limited)).tenth
        assert (unchanged.rounds, unchanged.accuracy) == (100, None)


def test_more_search_stops_where_nothing_is_to_be_gained(digits: RunConfig, paper: NetworkProfile):
    all_known = known(dict.fromkeys(SPACE, 100), {})
    assert explained_by(digits, paper, all_known).stop is None
    near_end = known(
        dict.fromkeys([c for c in SPACE if c.rank < 16 and c.down_density == 1], 100),
        dict.fromkeys([c for c in SPACE if c.down_density < 1], 80),
    )
    poor = replace(near_end, horizons=dict.fromkeys(near_end.history, 100))
    stop = explained_by(digits, paper, poor).stop
    assert stop.is_reached
    assert stop.rounds == 20
    assert 0 <= stop.gain < stop.noise == pytest.approx(math.sqrt(0.904 * 0.096 / 350), rel=0.1)
    early = known({BEST: 100}, dict.fromkeys([c for c in SPACE if c != BEST], 1))
    assert explained_by(digits, paper, early).stop.gain > stop.gain


def test_the_effort_may_end_a_run_that_promises_most(digits: RunConfig, paper: NetworkProfile):
    knows = known(dict.fromkeys(SPACE, 100), {})
    assert explained_by(digits, paper, knows).stop is None
    ended = {**knows.outcomes, BEST: replace(knows.outcomes[BEST], binds=EFFORT, rounds=60)}
    curves = {**knows.history, BEST: knows.history[BEST].until(60)}
    known_curves = replace(knows.known, history=curves)
    stop = explained_by(digits, paper, replace(knows, outcomes=ended, known=known_curves)).stop
    assert (stop.candidate, stop.rounds) == (BEST, 40)
    assert stop.gain == pytest.approx(
        expected_improvement(
            Forecast(stop.forecast_mean, stop.forecast_sd),
            max(o.expected_accuracy for o in ended.values()),
        )
    )


def test_a_forecast_is_marked_in_every_sentence():
    lines = "\n".join(explanation_sentences(whole_plan()))
    assert "rank 1 -0.5;" in lines
    assert "up 1/4 ~-3.0 (-5.5 to -0.4); up 1/64 unknown." in lines
    assert "25 rounds: validation accuracy ~0.955 (0.940 to 0.966)" in lines
    assert "network's seed: 50 % upload, 20 % download" in lines
    assert "a client waits for the others during 25 % of a round" in lines
    least = "0.3 points, a quarter of the noise of one evaluation"
    said = f"at most 0.2 points, which is less than {least}: more search is not worth it"
    assert said in lines
    assert "~ marks a forecast; in parentheses is its 90 % interval." in lines
    measured_only = whole_plan().explanation.model_copy(
        update={"neighbours": whole_plan().explanation.neighbours[:1], "tenth": None}
    )
    assert "~" not in "\n".join(
        explanation_sentences(replace(whole_plan(), explanation=measured_only))
    )


def lines_with(*neighbours: Neighbour, **changes) -> str:
    said = whole_plan().explanation.model_copy(update={"neighbours": neighbours, **changes})
    return "\n".join(explanation_sentences(replace(whole_plan(), explanation=said)))


def test_a_measured_neighbour_has_the_interval_that_a_baseline_has():
    made = whole_plan()
    best = replace(made.recommendation, interval=Interval(0.947, 0.95, 0.953, "measured"))
    dense = replace(
        made.baselines["dense"], candidate=replace(best.candidate, up_density=1.0),
        interval=Interval(0.886, 0.9, 0.904, "measured"),
    )  # fmt: skip
    near = Neighbour(
        axis="up_density", candidate=dense.candidate, rounds=20, kind="measured", accuracy=0.9
    )
    said = made.explanation.model_copy(update={"neighbours": (near,)})
    plan = replace(
        made, recommendation=best, runners_up=(dense,), explanation=said,
        baselines={"dense": dense, "thesis_rule": None},
    )  # fmt: skip
    # the roots of 1.4 ** 2 + 0.3 ** 2 and 0.4 ** 2 + 0.3 ** 2
    assert "90 % interval): up 1 -5.0 (-6.4 to -4.5)." in explanation_sentences(plan)[1]
    assert "validation +5.0 points (+4.5 to +6.4)" in baseline_sentences(plan)[0]


def test_more_search_is_worth_it_where_a_whole_forecast_is_better():
    better = (
        whole_plan()
        .explanation.neighbours[1]
        .model_copy(update={"accuracy": 0.97, "interval": Range(low=0.955, mean=0.97, high=0.98)})
    )
    lines = lines_with(better)
    assert "More search may be worth it: up 1/4 ~+2.0 (-0.1 to +4.2)." in lines
    assert "not worth it" not in lines


def test_a_forecast_of_more_than_twenty_points_is_unknown():
    wide = Range(low=0.5, mean=0.8, high=0.95)
    vague = (
        whole_plan()
        .explanation.neighbours[1]
        .model_copy(update={"accuracy": 0.8, "interval": wide})
    )
    lines = lines_with(vague, tenth=MoreBudget(rounds=25, accuracy=wide))
    assert "up 1/4 unknown." in lines
    assert "10 % more budget affords 25 rounds; what they gain is unknown." in lines
    assert "~" not in lines
    answer = whole_plan().also[1].model_copy(update={"interval": wide})
    assert "unknown" in answer_row(answer, "paper")
    assert "is a forecast" not in "\n".join(answer_sentences([answer]))


def test_neighbours_differ_in_what_candidates_are_made_of():
    assert get_args(Axis) == tuple(field.name for field in fields(Candidate))


def test_a_round_of_compute_says_that_compression_saves_no_time():
    plan = whole_plan()
    bound = plan.explanation.time.model_copy(
        update={"download": 0.0, "upload": 0.01, "latency": 0.0, "compute": 0.99, "queueing": 0.0}
    )
    said = plan.explanation.model_copy(update={"time": bound})
    assert (
        "compression saves no time here"
        in explanation_sentences(replace(plan, explanation=said))[1]
    )
    assert "compression" not in "".join(explanation_sentences(plan))


def test_the_round_is_equally_long_in_the_sentences_of_its_parts_and_of_compute():
    plan = whole_plan()
    bound = plan.explanation.time.model_copy(
        update={"round_s": 60.0, "download": 0.0, "upload": 0.01, "latency": 0.0, "compute": 0.99}
    )
    said = plan.explanation.model_copy(update={"time": bound})
    parts, compute = explanation_sentences(replace(plan, explanation=said))[:2]
    best = plan.recommendation
    round_text = format_duration(best.time.median_s / best.rounds)
    assert parts.startswith(f"A round takes {round_text}")
    assert f"of a round of {round_text}" in compute


def test_what_more_budget_affords_is_not_said_of_a_run_that_the_effort_ended():
    plan = whole_plan()
    assert "10 % more budget" in "".join(explanation_sentences(plan))
    ended = replace(plan, recommendation=replace(plan.recommendation, binds=EFFORT))
    assert "10 % more budget" not in "".join(explanation_sentences(ended))
