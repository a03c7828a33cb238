"""Better runs that the store holds beside those of a plan's own search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_plans import whole_plan
from stand_in_learners import CountingLearner

from floss_sim import load_profile, load_task, run
from floss_sim.records import RunFolder, RunRecord
from floss_sim.training import learner_identity
from planner.candidates import Candidate, grid
from planner.decisions.better_stored import better_stored_run
from planner.execution.curve_store import CurveStore
from planner.forecasts.intervals import Interval
from planner.plans.plan import Plan
from planner.plans.stored_run import StoredRun
from planner.question.budget import parse_budget
from planner.question.request import Request
from planner.report.plan_text import sentences

SPACE = grid([1, 2], [1], [1, 1 / 16])
ROUNDS = 20
BYTES_A_ROUND = 5 * (1000 + 100)  # at least; messages grow with the version


def request(**changes: object) -> Request:
    asked = Request(
        task=load_task("digits"), budget=parse_budget("10kB"), profile=load_profile("lte"),
        candidates=SPACE, reference_rank=2, max_rounds=40, effort=1.0, seed=0,
    )  # fmt: skip
    return replace(asked, **changes)


def store_of(root: Path, rounds: dict[Candidate, int]) -> CurveStore:
    """Return a store of made-up runs, whose accuracy is 1 - 1 / (1 + r) after round r."""
    store = CurveStore(root, "cpu")
    for candidate, count in rounds.items():
        config, learner = request().config(candidate), CountingLearner()
        learner.identity = learner_identity(config)
        folder = store.create(config)
        with folder.lock():
            run(config, request().profile, learner, rounds=count, folder=folder, eval_every=1)
    return store


def plan_of(low: float, high: float) -> Plan:
    interval = Interval(low, (low + high) / 2, high, "measured")
    made = whole_plan()
    return replace(made, recommendation=replace(made.recommendation, interval=interval))


def found(store: CurveStore, asked: Request, low: float = 0.5, high: float = 0.6):
    return better_stored_run(plan_of(low, high), asked, store)


def test_a_clearly_better_run_is_named_with_its_bytes_and_its_share_of_the_budget(tmp_path: Path):
    store = store_of(tmp_path, {SPACE[0]: 3, SPACE[1]: ROUNDS})
    better = found(store, request())
    rounds = store.find(request().config(SPACE[1])).record().rounds
    nbytes = sum(sum(rounds[f"{way}_bytes"].to_pylist()) for way in ("down", "up"))
    assert nbytes > ROUNDS * BYTES_A_ROUND
    assert (better.candidate, better.rounds, better.total_bytes) == (SPACE[1], ROUNDS, nbytes)
    assert better.budget_spent == pytest.approx(nbytes / 10_000)
    last = np.mean([1 - 1 / (1 + r) for r in (18, 19, 20)])
    assert better.accuracy == pytest.approx(last, abs=0.02)
    assert better.interval.low > 0.6


def test_nothing_is_said_of_runs_that_are_no_better_or_keep_to_no_limit(tmp_path: Path):
    store = store_of(tmp_path, {SPACE[1]: ROUNDS})
    rounds = store.find(request().config(SPACE[1])).record().rounds
    whole_s = rounds["closed_at_s"][-1].as_py()
    assert found(store, request(), 0.93, 0.97) is None
    assert found(store, request(candidates=[SPACE[0]])) is None
    assert found(CurveStore(tmp_path / "new", "cpu"), request()) is None
    assert found(store, request(max_client_bytes=1000)) is None
    assert found(store, request(max_round_s=whole_s / ROUNDS / 100)) is None
    assert found(store, request(max_client_bytes=10**6, max_round_s=100 * whole_s)) is not None
    reached = replace(plan_of(0.5, 0.6), reached=True)
    assert better_stored_run(reached, request(), store) is None


def test_a_longer_run_counts_up_to_the_cap_of_the_plan(tmp_path: Path):
    store = store_of(tmp_path, {SPACE[1]: ROUNDS})
    better = found(store, request(max_rounds=12))
    assert better.rounds == 10
    assert better.accuracy == pytest.approx(np.mean([1 - 1 / (1 + r) for r in (9, 10)]), abs=0.02)


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        (4.0, "20 rounds, 4 MB, which takes 4 times this budget (--effort 0 keeps to it)."),
        (0.5, "20 rounds, 4 MB, within 50 % of this budget; --effort 0 answers by it."),
    ],
)
def test_a_plan_says_what_the_better_run_needs(spent: float, said: str):
    made = whole_plan()
    better = StoredRun.model_validate({**made.better_stored.to_json(), "budget_spent": spent})
    (line,) = (s for s in sentences(replace(made, better_stored=better)) if "The store holds" in s)
    assert line.startswith(
        "The store holds a better run of the same question: validation accuracy 0.980 (0.970 to "
        "0.987) by rank 16, down 1, up 1/16, "
    )
    assert line.endswith(said)
    assert not [s for s in sentences(replace(made, better_stored=None)) if "The store holds" in s]


def test_a_run_whose_record_states_no_work_is_timed_on_phones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Records of earlier versions lack the operations of local training."""
    store = store_of(tmp_path, {SPACE[0]: ROUNDS})
    whole = RunFolder.record

    def without_work(folder: RunFolder) -> RunRecord:
        record = whole(folder)
        kept = {key: value for key, value in record.description.items() if key != "work"}
        return replace(record, description=kept)

    asked = request(profile=load_profile("phone-wifi"), budget=parse_budget("1h"))
    stated = found(store, asked)
    monkeypatch.setattr(RunFolder, "record", without_work)
    assert stated is not None
    assert found(store, asked) == stated
