"""A dry run: what would be trained, and seconds that follow from the pace of training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planner import Request, grid
from planner.execution.curve_store import CurveStore
from planner.execution.dry_run import END_S, StoredStart, dry_run_of
from planner.execution.pace import Pace
from planner.question.cost import price

PACE = Pace(0.002, 0.001, 0.003, 0.0, 7.0, 5 * 10**8, 2.0)


def asked(**changes) -> Request:
    settings = {"budget": "20-dense-rounds", "reference_rank": 4, "max_rounds": 60, "effort": 0.5}
    return Request.of(
        "digits", "lte", candidates=grid([1, 4], [1.0], [1.0, 1 / 16]), **(settings | changes)
    )


def never() -> Pace:
    raise AssertionError("a step was measured")


def note(store: CurveStore, request: Request, number: int, rounds: int, seconds: float) -> None:
    folder = store.create(request.config(request.candidates[number]))
    line = {"after": 0, "round": rounds, "host_s": seconds}
    (folder.path / "host.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")


def test_rounds_are_those_that_the_search_may_train_and_nothing_is_stored(tmp_path: Path):
    request = asked()
    found = dry_run_of(request, CurveStore(tmp_path / "store", "cpu"), 2, lambda: PACE)
    costs = price(request)
    assert found.candidates == len(costs.searched)
    assert found.search_rounds == costs.grid_rounds // 2
    assert found.baseline_rounds == sum(
        costs.of[c].horizon // 5 * 5 for c in request.baselines().values() if c in costs.of
    )
    assert found.stored_rounds == 0
    assert not list(tmp_path.iterdir())


def test_runs_end_at_their_last_evaluated_round(tmp_path: Path):
    """Rounds 7 and 10 are evaluated, those between are not."""
    store = CurveStore(tmp_path, "cpu")
    of_seven, of_nine, of_ten = (
        dry_run_of(asked(max_rounds=rounds, effort=1.0), store, 1, lambda: PACE)
        for rounds in (7, 9, 10)
    )
    for name in ("search_rounds", "wall_s", "smallest_run_bytes", "largest_run_bytes"):
        assert getattr(of_nine, name) == getattr(of_seven, name)
    assert of_seven.search_rounds == 7 * of_seven.candidates
    assert of_ten.search_rounds == 10 * of_ten.candidates
    assert of_nine.baseline_rounds == 7 * len(set(asked().baselines().values()))


def test_seconds_grow_with_the_step_and_fall_with_the_workers(tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    slow = replace(PACE, step_s=0.02, step_low_s=0.01, step_high_s=0.03)
    one = dry_run_of(asked(), store, 1, lambda: PACE)
    two = dry_run_of(asked(), store, 2, lambda: PACE)
    late = dry_run_of(asked(), store, 1, lambda: slow)
    around_s = PACE.start_s + PACE.measuring_s + END_S
    for found in (one, two, late):
        assert around_s < found.wall_low_s < found.wall_s < found.wall_high_s
    assert two.wall_s - around_s == pytest.approx((one.wall_s - around_s) / 2)
    assert late.wall_s - around_s == pytest.approx(10 * (one.wall_s - around_s))
    assert two.memory_bytes == 2 * one.memory_bytes == 2 * PACE.memory_bytes


def test_the_start_of_the_processes_is_part_of_the_seconds(tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    early = dry_run_of(asked(), store, 1, lambda: replace(PACE, start_s=0.0))
    late = dry_run_of(asked(), store, 1, lambda: replace(PACE, start_s=12.0))
    assert late.wall_s - early.wall_s == pytest.approx(12.0)
    assert late.wall_low_s - early.wall_low_s == pytest.approx(12.0)


def test_stored_runs_tell_the_seconds_and_nothing_is_measured(tmp_path: Path):
    store, request = CurveStore(tmp_path, "cpu"), asked()
    note(store, request, 0, 30, 6.0)
    quick = dry_run_of(request, store, 1, never)
    note(store, request, 0, 30, 12.0)
    slow = dry_run_of(request, store, 1, never)
    assert not quick.measured
    assert slow.step_s == pytest.approx(2 * quick.step_s)
    around_s = quick.start_s + END_S
    assert slow.wall_s - around_s == pytest.approx(2 * (quick.wall_s - around_s))


def test_a_search_that_the_store_holds_trains_nothing(tmp_path: Path):
    store, start = CurveStore(tmp_path, "cpu"), StoredStart(130, 0, True, 0.5)
    found = dry_run_of(asked(), store, 2, lambda: PACE, lambda *given: start)
    assert (found.search_rounds, found.reused_rounds, found.trains_nothing) == (130, 130, True)
    assert found.wall_low_s == found.wall_s == pytest.approx(END_S + 0.5)
    assert found.wall_high_s == pytest.approx(PACE.start_s + END_S + 0.5)  # to test its models
    assert found.memory_bytes == found.disk_bytes == 0
    assert found.line().startswith(
        f"{found.candidates} candidates; the store holds all 130 rounds that the search asks for, "
        "so that nothing is trained: about 1.5 s ("
    )


def test_rounds_of_the_start_that_the_store_holds_take_no_time(tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    whole, less = (
        dry_run_of(asked(), store, 1, lambda: PACE, lambda *given, start=start: start)
        for start in (StoredStart(20, 20), StoredStart(60, 10))
    )
    assert whole.search_rounds == less.search_rounds > 60
    assert (whole.reused_rounds, less.reused_rounds) == (0, 50)
    around_s = PACE.start_s + PACE.measuring_s + END_S
    trained = whole.search_rounds + whole.baseline_rounds
    for end in ("wall_low_s", "wall_s", "wall_high_s"):
        ratio = (getattr(less, end) - around_s) / (getattr(whole, end) - around_s)
        assert ratio == pytest.approx((trained - 50) / trained)
    assert f"at most {less.search_rounds} rounds, 50 or more of them in the store, and" in (
        less.line()
    )


def test_an_effort_that_finishes_no_run_is_refused_before_a_step_is_measured(tmp_path: Path):
    from floss_sim.errors import BudgetError

    with pytest.raises(BudgetError, match="finishes no run"):
        dry_run_of(asked(effort=1e-4), CurveStore(tmp_path, "cpu"), 1, never)


def test_a_search_for_a_time_takes_that_time(tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    short, long = (
        dry_run_of(asked(effort=1.0, training_s=s), store, 1, lambda: PACE) for s in (6.0, 8.0)
    )
    assert short.search_rounds < long.search_rounds
    for found, seconds in ((short, 6.0), (long, 8.0)):
        assert found.wall_s == pytest.approx(PACE.start_s + seconds)
        assert found.wall_low_s == pytest.approx(PACE.start_s + 0.9 * seconds)
        assert found.wall_high_s == pytest.approx(PACE.start_s + 1.1 * seconds)
    endless = dry_run_of(asked(effort=1.0, training_s=1e6), store, 1, lambda: PACE)
    costs = price(asked())
    assert endless.search_rounds == sum(costs.of[c].horizon // 5 * 5 for c in costs.searched)
    assert endless.wall_high_s < 1e5  # the grid is trained long before


def test_the_line_says_what_the_search_would_do(tmp_path: Path):
    found = dry_run_of(asked(), CurveStore(tmp_path, "cpu"), 2, lambda: PACE)
    assert found.line().startswith(f"{found.candidates} candidates, at most {found.search_rounds} ")
    assert f"and {found.baseline_rounds} of baselines, in 2 processes: about " in found.line()
    assert "1 GB of memory" in found.line()
    assert "\n" not in found.line()


def test_the_bytes_of_runs_are_the_predicted_ones_with_their_errors(tmp_path: Path):
    """All messages of whole runs; the errors weigh as the bytes of the directions."""
    request = asked()
    found = dry_run_of(request, CurveStore(tmp_path, "cpu"), 1, lambda: PACE)
    totals = {}
    for candidate, cost in price(request).of.items():
        sizes = request.config(candidate).sizes
        last = cost.horizon // 5 * 5  # every fifth round is evaluated
        down, up = (sizes.messages(way, 0, 1, last)[0].sum() for way in ("down", "up"))
        errors = [sizes.error(way, cost.horizon) for way in ("down", "up")]
        error = (down * errors[0] + up * errors[1]) / (down + up)
        totals[5 * int(down + up)] = error
    smallest, largest = min(totals), max(totals)
    assert (found.smallest_run_bytes, found.largest_run_bytes) == (smallest, largest)
    assert found.smallest_run_bytes_error == pytest.approx(totals[smallest], rel=1e-3)
    assert found.largest_run_bytes_error == pytest.approx(totals[largest], rel=1e-3)
