"""Runs that the effort ends before the budget does: shown, and recommended where they are best."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import timed_training
from hypothesis import given
from hypothesis import strategies as st
from made_plans import outcome
from timed_training import RisingLearner, TimedTraining

from floss_sim import RunConfig
from floss_sim.protocol import Metrics
from planner import Request
from planner.candidates import Candidate
from planner.decisions.recommend import choose, options, rank
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.forecasts.intervals import Interval
from planner.planning import StoppedError, make_plan
from planner.plans.outcome import EFFORT, Outcome
from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.report.plan_table import table_rows
from planner.report.plan_text import sentences

POOR, RULE = Candidate(1, 1.0, 1 / 16), Candidate(4, 0.25, 0.025)
CAP = 40
ROUND_S = 1.0
TIME_S = 34.0  # for the 20 rounds that the budget affords dense LoRA, not for 40 of the rule


class ChosenLearner(RisingLearner):
    """A learner whose accuracy rises to that of its kind: rank 1, or sparse or dense downloads."""

    tops: Mapping[str, float] = {}

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        sparse = config.method.download_size(config.layout, 0, 1, 0).count < config.layout.entries
        kind = "rank 1" if config.rank == 1 else "sparse" if sparse else "dense"
        self.top = self.tops.get(kind, 0.6)

    def evaluate(self, version: int) -> Metrics:
        return Metrics(accuracy(self.top, version), 0.5, None, None)


def accuracy(top: float, version: int) -> float:
    return top * (1 - math.exp(-version / 3))


def asked(training_s: float = TIME_S) -> Request:
    return Request.of(
        "digits", "paper-200-20", candidates=[POOR], budget="20-dense-rounds", reference_rank=4,
        max_rounds=CAP, effort=1.0, training_s=training_s, search="random",
    )  # fmt: skip


def planned(
    tops: Mapping[str, float],
    folder: Path,
    patch: pytest.MonkeyPatch,
    stop_at_s: float = math.inf,
    training_s: float = TIME_S,
) -> Plan:
    """Return the plan of a search whose time cuts runs."""
    patch.setattr(timed_training, "RisingLearner", ChosenLearner)
    patch.setattr(ChosenLearner, "tops", tops)
    training = TimedTraining(lambda now_s: ROUND_S, ROUND_S / 4, stop_at_s).install(patch)
    trainer, nothing = training.trainer(CurveStore(folder, "cpu"), 3), lambda told: None
    made = make_plan(asked(training_s), trainer, nothing, nothing, training.clock)
    assert plan_of(json.loads(json.dumps(made.to_json())), "plan")  # its figures agree
    return made


def shown(plan: Plan) -> str:
    return " ".join(" ".join(sentences(plan)).split())


def test_a_baseline_that_the_time_cut_is_recommended_where_it_is_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = planned({"sparse": 0.9}, tmp_path, monkeypatch)
    best, record = plan.recommendation, CurveStore(tmp_path, "cpu").folder(asked().config(RULE))
    ran = record.manifest().rounds
    assert 10 <= ran < CAP
    assert (best.candidate, best.rounds) == (RULE, last_evaluated_round(ran))
    assert best.binds == EFFORT
    told = [accuracy(0.9, r) for r, _, _ in best.curve if r > 0.85 * best.rounds]
    assert best.interval.low < fmean(told) < best.interval.high
    assert best.interval.mean == pytest.approx(fmean(told), abs=0.02)
    rows = record.record().rounds.to_pylist()[: best.rounds]
    assert best.down_bytes == sum(row["down_bytes"] for row in rows)
    assert best.up_bytes == sum(row["up_bytes"] for row in rows)
    assert plan.baselines["thesis_rule"] == best
    assert plan.missing_baselines == {}
    cells = {row[0]: row for row in table_rows(plan)}
    assert cells["rule"][1:] == cells["plan"][1:]
    affords = plan.baseline_costs["thesis_rule"]["affordable_rounds"]
    assert affords == CAP
    clause = f"after round {best.rounds} of the {affords} that the budget affords"
    assert f"The run was ended by the effort {clause}: " in shown(plan)
    assert plan.explanation.tenth.accuracy is None


def test_a_baseline_that_the_time_cut_has_its_row_where_others_are_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = planned({"dense": 0.9}, tmp_path, monkeypatch)
    rule = plan.baselines["thesis_rule"]
    assert plan.recommendation.candidate != RULE
    assert (rule.candidate, rule.binds) == (RULE, EFFORT)
    assert RULE in {made.candidate for made in plan.runners_up}
    (row,) = (row for row in table_rows(plan) if row[0] == "rule")
    assert row[4] == str(rule.rounds)
    text = shown(plan)
    assert "the thesis' rule, ended by the effort after round" in text
    assert f"of the {CAP} that the budget affords" in text


def test_a_cheaper_way_never_shows_a_better_run_than_was_chosen_among(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for tops in ({"sparse": 0.9}, {"dense": 0.9}):
        plan = planned(tops, tmp_path / next(iter(tops)), monkeypatch)
        choice = {o.candidate for o in (plan.recommendation, *plan.runners_up)}
        assert all(way.candidate in choice for way in plan.cheaper)
        assert max((w.interval.mean for w in plan.cheaper), default=0) <= plan.best_accuracy + 0.01


def test_an_interrupted_search_shows_the_baseline_that_it_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(StoppedError) as caught:
        planned({"sparse": 0.9}, tmp_path, monkeypatch, stop_at_s=8.0 + 5.0 + 25.0)
    plan = caught.value.plan
    assert plan.interrupted
    assert (plan.recommendation.candidate, plan.recommendation.binds) == (RULE, EFFORT)
    assert "The run was ended by the interruption after round 30 of the 40" in shown(plan)


@pytest.mark.parametrize(("top", "counts"), [(0.9, True), (0.6, False), (0.4, False)])
def test_a_searched_run_that_the_time_cut_is_recommended_where_it_is_far_ahead(
    top: float, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = planned({"rank 1": top}, tmp_path, monkeypatch, training_s=50.0)
    ran = CurveStore(tmp_path, "cpu").folder(asked().config(POOR)).manifest().rounds
    assert 5 <= ran < CAP
    best = plan.recommendation
    assert (best.candidate == POOR) == counts
    assert (POOR in {made.candidate for made in plan.runners_up}) is False
    if counts:
        assert (best.rounds, best.binds) == (last_evaluated_round(ran), EFFORT)
        assert f"ended by the effort after round {best.rounds} of the {CAP}" in shown(plan)


def told(rank_: int, mean: float, half: float = 0.02, **changes) -> Outcome:
    interval = Interval(mean - half, mean, mean + half, "measured")
    return outcome(rank_, mean, interval=interval, **changes)


def by_candidate(*outcomes: Outcome) -> dict[Candidate, Outcome]:
    return {made.candidate: made for made in outcomes}


def test_an_ended_run_counts_only_where_it_is_ahead_by_more_than_a_tie():
    finished = by_candidate(told(16, 0.95), told(8, 0.93))
    known = {c: o.interval for c, o in finished.items()}
    margin = rank(known, {c: o.total_bytes for c, o in finished.items()}).margin
    assert 0.005 < margin < 0.015
    for mean, counts in ((0.9, False), (0.95 + 0.9 * margin, False), (0.95 + 1.1 * margin, True)):
        ended = told(4, mean, nbytes=450_000, binds=EFFORT)
        among = options(finished, by_candidate(ended), baselines=[])
        assert (ended.candidate in among) == counts
        assert choose(list(among.values()), 350).recommendation == (
            ended if counts else finished[Candidate(16, 1.0, 1 / 16)]
        )


@pytest.mark.parametrize(
    ("mean", "nbytes", "counts"),
    [
        (0.951, 40_000, True),
        (0.95, 390_000, True),
        (0.951, 400_000, False),
        (0.9499, 40_000, False),
    ],
)
def test_an_ended_run_counts_where_it_is_cheaper_and_no_worse_than_the_choice(
    mean: float, nbytes: int, counts: bool
):
    finished = by_candidate(told(16, 0.95), told(8, 0.93))
    ended = told(4, mean, nbytes=nbytes, binds=EFFORT)
    among = options(finished, by_candidate(ended), baselines=[])
    assert (ended.candidate in among) == counts
    rank_ = choose(list(among.values()), 350).recommendation.candidate.rank
    assert rank_ == (4 if counts else 16)


@given(
    st.lists(
        st.tuples(
            st.integers(9000, 9200),  # accuracy, in hundredths of a percent
            st.integers(1000, 9000),  # bytes
            st.booleans(),  # trained to its end
        ),
        min_size=1,
        max_size=12,
    )
)
def test_nothing_that_was_trained_is_cheaper_and_no_worse_than_the_choice(
    drawn: list[tuple[int, int, bool]],
):
    made = [
        (told(i + 1, accuracy / 1e4, nbytes=nbytes), whole or not i)
        for i, (accuracy, nbytes, whole) in enumerate(drawn)
    ]
    finished = by_candidate(*(one for one, whole in made if whole))
    ended = by_candidate(*(one for one, whole in made if not whole))
    best = choose(list(options(finished, ended, baselines=[]).values()), 350).recommendation
    for one, _ in made:
        assert one.total_bytes >= best.total_bytes or one.interval.mean < best.interval.mean


def test_an_ended_baseline_always_counts_and_ties_go_to_its_fewer_bytes():
    finished = by_candidate(told(16, 0.95))
    ended = told(4, 0.949, nbytes=40_000, binds=EFFORT)
    among = options(finished, by_candidate(ended), baselines=[ended.candidate])
    assert choose(list(among.values()), 350).recommendation == ended
    worse = replace(ended, interval=Interval(0.88, 0.9, 0.92, "measured"))
    among = options(finished, by_candidate(worse), baselines=[ended.candidate])
    assert set(among) == {Candidate(16, 1.0, 1 / 16), worse.candidate}
    assert choose(list(among.values()), 350).recommendation.candidate.rank == 16
