"""The recorded grids: every rank and pair of densities of ``inputs.toml``, trained for real.

    python experiments/real_grid/record.py digits      # an hour; interrupted, it goes on
    WORKERS=1 python experiments/real_grid/record.py digits chat

Trains what ``runs/real_grid`` lacks, one process a core, then writes every evaluated round of every
run to ``NAME.parquet``; test accuracies only where a figure's budget ends. A table that these
inputs have made is not made again.
"""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from cuts import RATIOS, TESTED, budget

from floss_sim import RunConfig, load_task
from floss_sim.fingerprints import fingerprint
from floss_sim.methods import Method, floss, method_from_name
from floss_sim.tasks import Task
from floss_sim.training.evaluation import measure
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.wire import decode
from planner.execution.curve_store import CurveStore
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
TELL_S = 10
SPLIT = {"split", "split_seed"}  # keys of a task's data that make another table
Row = dict[str, Any]


class Recorded(NamedTuple):
    """One run of the table: how it is named there, and what it is."""

    label: str
    down_density: float
    up_density: float
    config: RunConfig


def main(names: Sequence[str]) -> None:
    """Bring the tables of the named grids up to date."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    for grid in inputs["grid"]:
        if grid["name"] in names:
            bring_up_to_date(grid, HERE / f"{grid['name']}.parquet")


def bring_up_to_date(grid: Row, table: Path) -> None:
    """Train and tabulate a grid, unless its table is of these inputs."""
    place = HERE / grid["task"]
    task = load_task(str(place) if place.exists() else grid["task"])
    store = CurveStore(RUNS, "cpu", diagnose=True)
    runs = [run for seed in grid["seeds"] for run in runs_of(grid, task, seed)]
    mark = fingerprint(grid | task.data.model_dump(include=SPLIT, exclude_defaults=True))
    if table.exists() and (pq.read_schema(table).metadata or {}).get(b"mark") == mark.encode():
        print(f"{table.name} is up to date", file=sys.stderr)
        return
    train(store, runs, grid["rounds"])
    rows = []
    for number, run in enumerate(runs, start=1):
        rows += rows_of(store, run, grid)
        print(f"\rtesting: {number} of {len(runs)} runs", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata({"mark": mark}), table)


def runs_of(grid: Row, task: Task, seed: int) -> Iterator[Recorded]:
    """Yield the runs of a seed: the grid, then the other methods."""

    def run(label: str, method: Method, rank: int, down: float, up: float) -> Recorded:
        return Recorded(label, down, up, RunConfig.of(task, method, rank=rank, seed=seed))

    densities = grid["densities"]
    for rank, down, up in product(grid["ranks"], densities, densities):
        yield run("floss", floss(down, up), rank, down, up)
    for other in grid.get("other", []):
        for density in other.get("densities", [1.0]):
            options = other["options"] | ({"density": density} if "densities" in other else {})
            method = method_from_name(other["label"], **options)
            yield run(other["label"], method, other["rank"], density, density)


def train(store: CurveStore, runs: list[Recorded], rounds: int) -> None:
    """Train every run to the last round."""
    folders = [store.folder(run.config) for run in runs]
    began = told = time.monotonic()
    before = sum(folder.manifest().rounds for folder in folders)

    def show() -> None:
        nonlocal told
        if (now := time.monotonic()) - told < TELL_S:
            return
        told = now
        done = sum(folder.manifest().rounds for folder in folders)
        left = rounds * len(runs) - done
        minutes = left * (now - began) / max(1, done - before) / 60
        print(f"training: {left} rounds are left, about {minutes:.0f} min", file=sys.stderr)

    workers = int(os.environ.get("WORKERS", os.cpu_count() or 1))
    with worker_pool(workers) as pool:
        trained = LocalTrainer(store, pool).train([(run.config, rounds) for run in runs], show)
    for run, count in zip(runs, trained, strict=True):
        if count is None:
            print(f"diverged: {run.label}, {run.config.method}", file=sys.stderr)


def rows_of(store: CurveStore, run: Recorded, grid: Row) -> Iterator[Row]:
    """Yield one row for each evaluated round; bytes are of all transfers up to it."""
    folder, config = store.folder(run.config), run.config
    record = folder.record()
    down_R, up_R = (np.cumsum(record.rounds[f"{way}_bytes"]) for way in ("down", "up"))
    evaluated = [row for row in record.evaluated().to_pylist() if row["round"] <= grid["rounds"]]
    at = np.array([row["round"] for row in evaluated])
    ends = {at[-1], *at[at == TESTED]}
    for ratio in RATIOS:
        amount = budget(config, grid["dense_rounds"], ratio)
        ends |= set(at[down_R[at - 1] + ratio * up_R[at - 1] <= amount][-1:])
    flat = build_flat_model(config, torch.device(store.device))
    examples = [torch.as_tensor(part) for part in config.task.content.test]
    for row in evaluated:
        round_ = row["round"]
        test = None
        if round_ in ends:
            model_N, _ = decode(config.layout, folder.model(round_))
            test, _ = measure(flat, model_N, *examples)
        yield {
            "method": run.label,
            "rank": config.rank,
            "down_density": run.down_density,
            "up_density": run.up_density,
            "seed": config.seed,
            "round": round_,
            "down_bytes": int(down_R[round_ - 1]),
            "up_bytes": int(up_R[round_ - 1]),
            "accuracy": row["accuracy"],
            "loss": row["loss"],
            "dense_accuracy": row["dense_accuracy"],
            "test_accuracy": test,
        }


if __name__ == "__main__":
    main(sys.argv[1:])
