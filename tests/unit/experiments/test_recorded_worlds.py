"""Worlds of recorded curves, on a tiny file that was made up."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from places import load_with_siblings

from planner.candidates import Candidate, grid
from planner.search import STRATEGIES

GRID = grid((4, 16), (1.0, 0.25), (1.0, 1 / 16))
ROUNDS = (1, 2, 5, *range(10, 401, 10))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("worlds", "recorded", "benchmark"):
        load_with_siblings("search_benchmark", name, monkeypatch)
    return sys.modules["recorded"]


def accuracy(c: Candidate, seed: int, round_: int) -> float:
    return 0.9 + 0.01 * seed - 0.05 * (c.rank == 4) - 0.8 / (1 + round_ / 5)


@pytest.fixture
def world(recorded: ModuleType, tmp_path: Path):
    rows = []
    for c in GRID:
        down, up = (5 * nbytes for nbytes in recorded.round_nbytes(c))
        for seed in (7, 8, 9):
            for r in ROUNDS:
                row = {**c.settings(), "method": "floss", "seed": seed, "round": r}
                rows.append({**row, "down_bytes": down * r, "up_bytes": up * r,
                             "accuracy": accuracy(c, seed - 7, r)})  # fmt: skip
    rows.append({**rows[0], "method": "bitfit", "accuracy": 1.0})
    path = tmp_path / "curves.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return recorded.Recorded(path, seed=1)


def test_the_seed_picks_a_recorded_run_and_others_are_runs_again(world):
    for run in range(4):
        curve = world.again(run).curve(GRID[0], 40)
        assert curve.evaluated == (1, 2, 5, 10, 20, 30, 40)
        seed = (1 + run) % 3
        assert curve.accuracies == tuple(accuracy(GRID[0], seed, r) for r in curve.evaluated)


def test_horizons_follow_from_recorded_bytes_as_predicted(world, recorded):
    for c, predicted in world.horizons.items():
        assert abs(world.curve(c, 400).horizon - predicted) <= 1
    assert world.curve(Candidate(16, 1.0, 1.0), 400).horizon < 70


def test_what_is_true_is_the_mean_over_seeds(world):
    best = max(GRID, key=world.truth)
    assert best.rank == 16
    assert world.regret(best) == 0
    horizon = world.curve(best, 400).horizon
    assert world.truth(best) == pytest.approx(accuracy(best, 1, 0.9 * horizon), abs=0.01)
    assert world.regret(Candidate(4, 0.25, 1.0)) > 3


def test_every_committed_grid_is_as_its_recipe_says(recorded):
    recipe = tomllib.loads((recorded.HERE / "inputs.toml").read_text(encoding="utf-8"))
    for told in recipe["grid"]:
        world = recorded.Recorded.read(told["name"], seed=0)
        assert world.cell.dense_rounds == told["dense_rounds"]
        assert world.longest == told["rounds"]
        assert len(world.horizons) == len(told["ranks"]) * len(told["densities"]) ** 2
        off = [world.curve(c, 1).horizon / h - 1 for c, h in world.horizons.items()]
        assert abs(np.median(off)) < 0.02  # bytes are predicted for the right adapter


@pytest.mark.parametrize("name", ["race", "halving"])
def test_strategies_are_replayed_on_it(world, name: str):
    row = sys.modules["benchmark"].replay(STRATEGIES[name], world, 0.5)
    assert row["regret"] < 3
    assert 0 < row["rounds"] <= 0.5 * world.grid_rounds
