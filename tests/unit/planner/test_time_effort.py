"""An effort in time: the search ends within a tenth of it, whatever the machine does.

Training takes made seconds (``timed_training``), so that no test depends on the machine.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from timed_training import TimedTraining

from floss_sim.errors import BudgetError
from planner import Request, grid
from planner.execution.curve_store import CurveStore
from planner.execution.effort import parse_effort
from planner.planning import StoppedError, make_plan
from planner.plans.plan_file import plan_of

ROUND_S = 0.5
TIME_S = 300.0
SEARCHES = ("race", "halving", "hyperband", "asha", "random", "flasc-search")


def asked(search: str = "race", training_s: float = TIME_S, **changes) -> Request:
    settings = {"budget": "40-dense-rounds", "reference_rank": 4, "max_rounds": 60} | changes
    candidates = grid([1, 2, 4, 8], [1.0, 1 / 4, 1 / 16], [1.0, 1 / 16])
    return Request.of(
        "digits", "paper-200-20", candidates=candidates, effort=1.0, training_s=training_s,
        search=search, **settings,
    )  # fmt: skip


def searched(
    training: TimedTraining, store: Path, request: Request, monkeypatch: pytest.MonkeyPatch
):
    training.install(monkeypatch)
    made = make_plan(
        request, training.trainer(CurveStore(store, "cpu"), 2), lambda now: None,
        lambda found: training.calls.append("estimate"), training.clock,
    )  # fmt: skip
    assert plan_of(json.loads(json.dumps(made.to_json())), "plan")  # its figures agree
    return made


def changing(before_s: float, after_s: float, at_s: float = TIME_S / 2):
    return lambda now_s: before_s if now_s < at_s else after_s


SPEEDS = {
    "as told": (changing(ROUND_S, ROUND_S), ROUND_S),
    "twice as fast as told": (changing(ROUND_S, ROUND_S), 2 * ROUND_S),
    "half as fast as told": (changing(ROUND_S, ROUND_S), ROUND_S / 2),
    "slower from the middle on": (changing(ROUND_S, 2 * ROUND_S), ROUND_S),
    "faster from the middle on": (changing(2 * ROUND_S, ROUND_S), 2 * ROUND_S),
    "slower at the end": (changing(ROUND_S, 2 * ROUND_S, 0.8 * TIME_S), ROUND_S),
}


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_search_from_an_empty_store_ends_within_a_tenth_of_its_time(
    speed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    training = TimedTraining(*SPEEDS[speed])
    made = searched(training, tmp_path, asked(), monkeypatch)
    assert made.effort["took_s"] == pytest.approx(TIME_S, rel=0.1)
    assert training.now_s == pytest.approx(TIME_S + 5.0, rel=0.1)  # and the processes' start
    assert training.calls[:2] == ["measure", "estimate"]
    assert training.calls.count("measure") == 1
    assert made.effort["search_rounds"] <= made.effort["limit_rounds"]
    finished = {o.candidate for o in (made.recommendation, *made.runners_up)}
    assert finished - {o.candidate for o in made.baselines.values() if o}


@pytest.mark.parametrize("search", SEARCHES)
def test_every_strategy_ends_within_a_tenth_of_its_time(
    search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    training = TimedTraining(*SPEEDS["slower from the middle on"])
    made = searched(training, tmp_path, asked(search), monkeypatch)
    assert made.effort["took_s"] == pytest.approx(TIME_S, rel=0.1)


@pytest.mark.parametrize("target", [0.5, 0.99])
def test_a_target_that_is_not_reached_is_sought_as_long_as_the_time_lasts(
    target: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from planner.question.objective import Objective

    request = asked(objective=Objective(target=target))
    made = searched(TimedTraining(*SPEEDS["as told"]), tmp_path, request, monkeypatch)
    assert made.reached == (target < 0.9)
    assert made.effort["took_s"] < 1.1 * TIME_S
    if not made.reached:
        assert made.effort["took_s"] > 0.9 * TIME_S


def test_an_interrupted_search_asked_again_has_its_whole_time_and_keeps_what_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    speed, told = SPEEDS["as told"]
    with pytest.raises((StoppedError, KeyboardInterrupt)):
        searched(TimedTraining(speed, told, TIME_S / 3), tmp_path, asked(), monkeypatch)
    again = TimedTraining(speed, told)
    made = searched(again, tmp_path, asked(), monkeypatch)
    assert made.effort["took_s"] == pytest.approx(TIME_S, rel=0.1)
    whole = searched(TimedTraining(speed, told), tmp_path / "other", asked(), monkeypatch)
    assert made.effort["search_rounds"] > whole.effort["search_rounds"]


def test_a_time_that_suffices_for_the_whole_grid_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = searched(TimedTraining(*SPEEDS["as told"]), tmp_path, asked(training_s=1e5), monkeypatch)
    assert made.effort["took_s"] < 1e4
    assert made.effort["search_rounds"] <= made.effort["limit_rounds"]
    assert made.effort["limit_rounds"] == made.effort["grid_rounds"]
    again = TimedTraining(*SPEEDS["as told"])
    made = searched(again, tmp_path, asked(training_s=1e5), monkeypatch)
    assert made.effort["trained_now_rounds"] == 0
    assert again.now_s < 20


def test_a_time_in_which_no_run_is_finished_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    training = TimedTraining(*SPEEDS["as told"])
    with pytest.raises(BudgetError, match=r"finishes no run.*--effort \S+ is enough") as caught:
        searched(training, tmp_path, asked(training_s=20.0), monkeypatch)
    assert training.calls == ["measure"]
    assert not list(tmp_path.iterdir())
    enough = parse_effort(str(caught.value).split("--effort ")[1].split()[0])
    made = searched(
        TimedTraining(*SPEEDS["as told"]), tmp_path, asked(training_s=enough["training_s"]),
        monkeypatch,
    )  # fmt: skip
    assert made.effort["took_s"] == pytest.approx(enough["training_s"], rel=0.1)
