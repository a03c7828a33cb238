"""How ``experiments/real_grid`` cuts recorded curves where a budget ends."""

from __future__ import annotations

from types import ModuleType

import pandas as pd
import pytest
from places import EXPERIMENTS, load_study

from floss_sim.methods import dense
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import load_task

FOLDER = EXPERIMENTS / "real_grid"
RUN = {"method": "floss", "rank": 4, "down_density": 1.0, "up_density": 0.25}


@pytest.fixture(scope="module")
def cuts() -> ModuleType:
    return load_study("real_grid/cuts.py")


def curve(seed: int, shift: float) -> list[dict]:
    """Return 40 rounds of 300 bytes down and 100 up, evaluated every second round."""
    return [
        RUN
        | {"seed": seed, "round": r, "down_bytes": 300 * r, "up_bytes": 100 * r}
        | {"accuracy": r / 100 + shift, "test_accuracy": r / 100 - shift}
        for r in range(2, 41, 2)
    ]


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(curve(0, 0.0) + curve(1, 0.1))


def test_an_upload_counts_as_often_as_it_is_slower(cuts, table):
    assert cuts.spent(table, 7.0, 1e4).iloc[0] == pytest.approx(2 * (300 + 7 * 100) / 1e4)


def test_runs_end_at_the_last_evaluated_round_within_the_budget(cuts, table):
    ends = cuts.at_budget(table, 7.0, 21_500)  # 21 rounds
    assert ends["round"].tolist() == [20, 20]
    assert ends["accuracy"].tolist() == pytest.approx([0.2, 0.3])
    assert ends["smoothed"].tolist() == pytest.approx([0.19, 0.29])  # rounds 18 and 20


def test_a_budget_below_the_first_evaluated_round_leaves_runs_out(cuts, table):
    assert cuts.at_budget(table, 7.0, 1_999).empty


def test_choices_are_made_on_validation_over_seeds(cuts, table):
    other = table.assign(rank=16, accuracy=table["accuracy"] + 0.01, test_accuracy=0.0)
    means = cuts.over_seeds(cuts.at_budget(pd.concat([table, other]), 0.0, 1e9))
    best = cuts.best(means)
    assert best["rank"] == 16
    own = means[means["rank"] == 4].iloc[0]
    assert own["test_accuracy"] == pytest.approx(0.35)
    assert own["spread"] == pytest.approx(0.1 / 2**0.5)


def test_a_budget_is_what_dense_rounds_at_32_bits_take(cuts):
    entries, cohort = 17_034, 5  # digits at rank 16
    amount = cuts.budget(RunConfig.of(load_task("digits"), dense(), rank=1), 50, 16)
    assert amount == pytest.approx(50 * 17 * cohort * 4 * entries, rel=0.001)
