"""Recorded spans of rounds: the rows of ``messages.parquet``, and what the fit asks of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from record import GROUPS, TABLE, Case

from floss_sim import RunConfig, load_task
from floss_sim.methods import Method
from floss_sim.methods.predicted_sizes import changes_by_round, statistics_name
from floss_sim.vectors.layout import BIAS, HEAD_WEIGHT, LORA_A, Layout, TensorSpec

PLAIN, HEADLESS = "floss", "floss, no head"
# Methods without recorded ratios whose touched entries are fitted.
BY_PART = ("lora-a2", "rolora", "fedsvd")
Row = dict[str, Any]
Floats = NDArray[np.float64]


def table() -> list[Row]:
    """Return the recorded spans of rounds."""
    rows: list[Row] = pq.read_table(TABLE).to_pylist()
    return rows


def method_of(row: Row) -> Method:
    """Return the method of a recorded run."""
    return _case(row).settings()


def config_of(row: Row) -> RunConfig:
    """Return the configuration of a recorded run of ``digits``, whose layout has all tensors."""
    return _config(_case(row))


@lru_cache(maxsize=512)
def _config(case: Case) -> RunConfig:
    return case.config(load_task("digits"))


def _case(row: Row) -> Case:
    return Case(**{name: row[name] for name in Case.__dataclass_fields__})


def layout_of(row: Row) -> Layout:
    """Return a layout with as many entries of each group as the recorded run has."""
    tensors = {"a": (LORA_A, "adapter"), "b": (HEAD_WEIGHT, "head"), "c": (BIAS, "zeros")}
    return Layout(
        tuple(
            TensorSpec(name, (row[group],), kind)
            for name, (kind, group) in tensors.items()
            if row[group]
        )
    )


def groups_of(row: Row) -> tuple[int, int, int]:
    """Return the entries of A, of the head's weight, and of all other tensors."""
    adapter, head, zeros = (row[name] for name in GROUPS)
    return adapter, head, zeros


def runs_of(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows by run."""
    runs = defaultdict(list)
    for row in rows:
        runs[row["label"]].append(row)
    return dict(runs)


def name_of(row: Row) -> str:
    """Return the name by which statistics of a recorded run are listed."""
    return statistics_name(method_of(row), layout_of(row))


def is_fitted(row: Row) -> bool:
    """Return whether a run is of the kind that statistics are fitted to."""
    if name_of(row) in BY_PART:
        return not row["held_out"]
    return (
        changes_by_round(method_of(row))
        and not row["held_out"]
        and not (row["up"] == 1 and row["down"] < 1)
    )


def middles(rows: Sequence[Row]) -> Floats:
    """Return the middle round of each span."""
    return np.array([(row["first"] + row["last"]) / 2 for row in rows])


def selected_of(row: Row) -> int:
    """Return the selected entries of a recorded message of FLoSS."""
    return max(1, int(row[row["way"]] * row["entries"]))
