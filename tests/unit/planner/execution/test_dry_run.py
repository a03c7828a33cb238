"""A dry run: what would be trained, and seconds that follow from a measured step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from floss_sim.training.step_time import StepTime
from planner import Request, grid
from planner.execution.curve_store import CurveStore
from planner.execution.dry_run import dry_run_of
from planner.question.cost import price

STEP = StepTime("bank", 5, 0.002, 0.001, 0.003, 4.0, 0.1)


def asked(**changes) -> Request:
    settings = {"budget": "20-dense-rounds", "reference_rank": 4, "max_rounds": 60, "effort": 0.5}
    return Request.of(
        "digits", "lte", candidates=grid([1, 4], [1.0], [1.0, 1 / 16]), **(settings | changes)
    )


def measured(step: StepTime = STEP):
    return lambda config, device, threads: [step]


def test_rounds_are_those_that_the_search_may_train_and_nothing_is_stored(tmp_path: Path):
    request = asked()
    found = dry_run_of(request, CurveStore(tmp_path / "store", "cpu"), 2, measured())
    costs = price(request)
    assert found.candidates == len(costs.searched)
    assert found.search_rounds == costs.grid_rounds // 2
    assert found.baseline_rounds == sum(
        costs.of[c].horizon // 5 * 5 for c in request.baselines().values() if c in costs.of
    )
    assert not list(tmp_path.iterdir())


def test_seconds_grow_with_the_step_and_fall_with_the_workers(tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    slow = replace(STEP, step_s=0.02, step_low_s=0.01, step_high_s=0.03)
    one = dry_run_of(asked(), store, 1, measured())
    two = dry_run_of(asked(), store, 2, measured())
    late = dry_run_of(asked(), store, 1, measured(slow))
    for found in (one, two, late):
        assert STEP.loading_s < found.wall_low_s < found.wall_s < found.wall_high_s
    assert two.wall_s - STEP.loading_s == pytest.approx((one.wall_s - STEP.loading_s) / 2)
    assert late.wall_s > 2 * one.wall_s
    assert two.memory_bytes == pytest.approx(2 * one.memory_bytes, rel=0.1)


def test_a_search_for_a_time_is_counted_in_its_rounds(tmp_path: Path):
    store = CurveStore(tmp_path, "cpu")
    short, long = (
        dry_run_of(asked(effort=1.0, training_s=s), store, 1, measured()).search_rounds
        for s in (1.0, 2.0)
    )
    assert long == pytest.approx(2 * short, abs=1)
    endless = dry_run_of(asked(effort=1.0, training_s=1e6), store, 1, measured())
    assert endless.search_rounds == price(asked()).grid_rounds


def test_the_bytes_of_runs_are_the_predicted_ones_with_their_errors(tmp_path: Path):
    """All messages up to the affordable rounds; the errors weigh as the bytes of the directions."""
    request = asked()
    found = dry_run_of(request, CurveStore(tmp_path, "cpu"), 1, measured())
    totals = {}
    for candidate, cost in price(request).of.items():
        sizes = request.config(candidate).sizes
        down, up = (sizes.messages(way, 0, 1, cost.horizon)[0].sum() for way in ("down", "up"))
        error = (down * sizes.error("down") + up * sizes.error("up")) / (down + up)
        totals[5 * int(down + up)] = error
    smallest, largest = min(totals), max(totals)
    assert (found.smallest_run_bytes, found.largest_run_bytes) == (smallest, largest)
    assert found.smallest_run_bytes_error == pytest.approx(totals[smallest], rel=1e-3)
    assert found.largest_run_bytes_error == pytest.approx(totals[largest], rel=1e-3)
