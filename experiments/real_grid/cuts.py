"""The recorded curves cut where a budget ends: what Figures 5.3 and 5.4 are drawn from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from floss_sim.methods import dense
from floss_sim.runs.config import RunConfig
from floss_sim.wire import plain_nbytes

HERE = Path(__file__).parent
RUN = ["method", "rank", "down_density", "up_density"]
RATIOS = (1, 4, 16)  # down rate over up rate
TESTED = 200  # a round whose test accuracies are compared whatever they cost
SMOOTHED = 0.15  # of a curve, its last: what choices are made on
REFERENCE_RANK = 16


def load(name: str) -> pd.DataFrame:
    """Return the table of a grid: one row for each evaluated round of each run."""
    return pd.read_parquet(HERE / f"{name}.parquet")


def budget(run: RunConfig, dense_rounds: int, ratio: float) -> float:
    """Return a budget of dense rounds as bytes at the download's rate, of a whole cohort.

    A byte up counts ``ratio`` times (thesis, section 5.3); dense LoRA at rank 16, on the run's
    task, is counted at 32 bits an entry.
    """
    config = RunConfig.of(run.task, dense(), rank=REFERENCE_RANK)
    message = plain_nbytes(config.layout.entries)
    return dense_rounds * (1 + ratio) * message * config.server.cohort


def spent(table: pd.DataFrame, ratio: float, amount: float) -> pd.Series:
    """Return the fraction of a budget that each row's run has spent by then."""
    return (table["down_bytes"] + ratio * table["up_bytes"]) / amount


def at_budget(table: pd.DataFrame, ratio: float, amount: float) -> pd.DataFrame:
    """Return one row for each run and seed: its last evaluated round within a budget.

    ``accuracy`` (validation) and ``test_accuracy`` are of that round; ``smoothed`` is the mean
    validation accuracy over the last 15 % of the rounds before it. Runs that afford no evaluated
    round are left out.
    """
    inside = table[spent(table, ratio, amount) <= 1]
    keys = [*RUN, "seed"]
    last = inside.groupby(keys)["round"].transform("max")
    ends = inside[inside["round"] == last].set_index(keys)
    tail = inside[inside["round"] > (1 - SMOOTHED) * last]
    ends["smoothed"] = tail.groupby(keys)["accuracy"].mean()
    ends["smoothed"] = ends["smoothed"].fillna(ends["accuracy"])
    return ends.reset_index()


def over_seeds(ends: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds, and the standard deviation of the test accuracy as ``spread``."""
    groups = ends.groupby(RUN)
    means = groups[["round", "accuracy", "smoothed", "test_accuracy"]].mean()
    means["spread"] = groups["test_accuracy"].std()
    return means.reset_index()


def best(means: pd.DataFrame) -> pd.Series:
    """Return the configuration of the best smoothed validation accuracy."""
    return means.loc[means["smoothed"].idxmax()]
