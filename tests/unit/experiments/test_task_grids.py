"""Recorded grids of several tasks: each table has its recipe's runs, the study has its figures."""

from __future__ import annotations

import json
import tomllib
from itertools import product

import pandas as pd
import pyarrow.parquet as pq
import pytest
from places import EXPERIMENTS, load_study

GRIDS = EXPERIMENTS / "task_grids"
TABLES = sorted(path.stem for path in GRIDS.glob("*.parquet"))
AXES = ["rank", "down_density", "up_density", "depth", "client_lr", "server_lr", "seed"]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_every_run_of_its_recipe_to_its_end(name: str):
    recipe = tomllib.loads((GRIDS / f"{name}.toml").read_text(encoding="utf-8"))
    facts = json.loads(pq.read_schema(GRIDS / f"{name}.parquet").metadata[b"task"])
    table = pd.read_parquet(GRIDS / f"{name}.parquet")
    pairs = recipe.get("density_pairs") or product(recipe["down_densities"], recipe["up_densities"])
    asked = {
        (rank, *pair, depth, client_lr, server_lr, seed)
        for rank, pair, depth, client_lr, server_lr, seed in product(
            recipe["ranks"], map(tuple, pairs), recipe.get("depths", [facts["layers"]]),
            recipe.get("client_lrs", [facts["client"]["learning_rate"]]),
            recipe.get("server_lrs", [facts["server"]["learning_rate"]]), recipe["seeds"],
        )
    }  # fmt: skip
    ends = table.groupby(AXES)["round"].max()
    assert set(ends.index) == asked
    assert set(ends) == {recipe["rounds"]}
    assert table["accuracy"].between(0, 1).all()
    assert (table.groupby(AXES)["up_bytes"].diff().dropna() > 0).all()


def test_the_study_prints_its_tables(capsys: pytest.CaptureFixture[str]):
    load_study("task_grids/rates.py").main()
    assert capsys.readouterr().out == (GRIDS / "rates.md").read_text(encoding="utf-8")
