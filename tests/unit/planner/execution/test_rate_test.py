"""The range test of learning rates: how long it is, what it trains, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_sessions import in_this_process

from floss_sim.errors import BudgetError, ConfigError
from planner import Request, apply_plan, calls, grid, plan, session
from planner.candidates import with_axes
from planner.execution import rate_test
from planner.execution.allowance import FixedRounds
from planner.execution.curve_store import CurveStore
from planner.execution.rate_test import RangeTest, lacking_rounds, length_of_test, with_rates
from planner.execution.trainer import LocalTrainer
from planner.plans.rate_test import RateTest
from planner.progress import Progress
from planner.report.plan_text import sentences

FEW = grid([1], [1.0], [1.0, 1 / 4])
SETTINGS = {"budget": "20-dense-rounds", "reference_rank": 1, "effort": 1, "candidates": FEW}
SLOW = {"server.learning_rate": 1.5e-3}  # on digits; in a few rounds larger ones are clearly better


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CurveStore, RateTest]]:
    """A store and the test of a task whose server's rate is far too small, two rounds a run."""
    store = CurveStore(tmp_path_factory.mktemp("curves"), "cpu")
    asked = Request.of("digits", "lte", changes=SLOW, tune_lr=True, **SETTINGS)
    with in_this_process(1) as pool:
        run = RangeTest(asked, 2, LocalTrainer(store, pool), lambda told: None, FixedRounds(100))
        made = run.result()
    assert made is not None
    yield store, made


@pytest.mark.parametrize(
    ("rounds", "tune", "length"),
    [(3_200, False, 20), (3_199, False, 15), (2_400, False, 15), (2_399, False, 0),
     (640, True, 20), (480, True, 15)],
)  # fmt: skip
def test_a_test_takes_a_twentieth_of_the_search_or_a_quarter_of_a_tuned_one(
    rounds: int, tune: bool, length: int
):
    asked = Request.of("digits", "lte", tune_lr=tune, **SETTINGS)
    assert length_of_test(asked, rounds) == length
    assert length_of_test(replace(asked, tune_lr=False, lr_test=False), rounds) == 0
    assert length_of_test(replace(asked, tune_lr=False, max_rounds=14), rounds) == 0


def test_rates_are_tuned_or_searched_but_not_both_and_not_untested():
    searched = with_axes(FEW, server_lrs=[0.01])
    assert (
        length_of_test(Request.of("digits", "lte", **SETTINGS | {"candidates": searched}), 9999)
        == 0
    )
    with pytest.raises(ConfigError, match="chooses the learning rates before the search"):
        Request.of("digits", "lte", tune_lr=True, **SETTINGS | {"candidates": searched})
    with pytest.raises(ConfigError, match="no --no-lr-test"):
        Request.of("digits", "lte", tune_lr=True, lr_test=False, **SETTINGS)
    with pytest.raises(BudgetError, match="takes 120 rounds, more than a quarter of the 479"):
        length_of_test(Request.of("digits", "lte", tune_lr=True, **SETTINGS), 479)


def test_pairs_go_by_thirds_and_move_towards_the_better_ones(tried: tuple[CurveStore, RateTest]):
    store, made = tried
    assert (made.client_lr, made.server_lr, made.rounds) == (0.05, 1.5e-3, 2)
    ratios = {round(pair.server_lr / 1.5e-3, 3) for pair in made.tested}
    assert ratios >= {0.333, 1.0, 3.0, 9.0}
    assert made.trained_now_rounds == 2 * len(made.tested) >= 2 * 12
    assert made.better
    assert made.better.server_lr >= 4e-3
    assert made.better.accuracy
    assert made.better.accuracy > made.own.accuracy
    later = Request.of("digits", "wifi", changes=SLOW, **SETTINGS | {"budget": "1MB"})
    assert lacking_rounds(later, store, 2) == 0  # which other plans of the task share
    assert lacking_rounds(later, store, 3) == 8
    assert lacking_rounds(later, store, 0) == 0


def test_a_tuned_request_has_the_rates_and_can_be_loaded_again(tried: tuple[CurveStore, RateTest]):
    _, made = tried
    asked = Request.of("digits", "lte", changes=SLOW, tune_lr=True, **SETTINGS)
    tuned = with_rates(asked, made)
    assert made.better
    rates = tuned.task.client.learning_rate, tuned.task.server.learning_rate
    assert rates == (made.better.client_lr, made.better.server_lr)
    assert tuned.origin
    task, _ = tuned.origin.reload(fetch=False)
    assert (task.client.learning_rate, task.server.learning_rate) == rates
    assert with_rates(asked, made.model_copy(update={"tuned": False})) is asked
    assert with_rates(asked, None) is asked


def test_a_plan_has_the_better_rates_and_is_applied_with_them(
    tmp_path: Path, tried: tuple[CurveStore, RateTest], monkeypatch: pytest.MonkeyPatch
):
    store, made = tried
    monkeypatch.setattr(rate_test, "LENGTHS", (2,))
    monkeypatch.setattr(rate_test, "_TUNING_SHARE", 1.0)
    for module in (session, calls):
        monkeypatch.setattr(module, "worker_pool", in_this_process)
    asked = Request.of("digits", "lte", changes=SLOW, tune_lr=True, **SETTINGS | {"max_rounds": 8})
    planned = plan(asked, store=store.root, workers=1)
    test = planned.rate_test
    assert test
    assert test.tuned
    assert test.better == made.better
    assert test.trained_now_rounds == 0  # the store had all
    (said,) = (line for line in sentences(planned) if line.startswith("Learning rates"))
    assert "all runs have the better ones" in said
    planned.save(tmp_path / "plan")
    again = calls.read_plan(tmp_path / "plan")
    assert again.rate_test == test
    applied = apply_plan(again, store=store.root)
    assert applied.trained == 0
    assert applied.config.server.learning_rate == test.better.server_lr


def test_a_plan_with_the_rates_of_the_task_warns_before_it_trains_with_them(
    tried: tuple[CurveStore, RateTest], monkeypatch: pytest.MonkeyPatch
):
    store, made = tried
    monkeypatch.setattr(rate_test, "LENGTHS", (2,))
    monkeypatch.setattr(rate_test, "SHARE", 1.0)
    for module in (session, calls):
        monkeypatch.setattr(module, "worker_pool", in_this_process)
    asked = Request.of("digits", "lte", changes=SLOW, **SETTINGS | {"max_rounds": 8})
    seen: list[Progress] = []
    planned = plan(asked, store=store.root, workers=1, on_progress=seen.append)
    assert planned.rate_test
    assert planned.rate_test.better in made.tested
    (warned,) = [i for i, now in enumerate(seen) if now.warning]
    assert not any(now.done for now in seen[:warned])
    assert seen[warned].warning in sentences(planned)
    assert "--tune-lr plans with the better ones" in seen[warned].warning
    assert planned.request["origin"]["changes"] == SLOW
