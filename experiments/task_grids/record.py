"""Recorded grids of several tasks: learning curves of every configuration of a recipe.

    python experiments/task_grids/record.py experiments/task_grids/digits-iid.toml

Trains what ``runs/task_grids`` lacks, in one process, then writes every evaluated round of every
run to ``NAME.parquet`` beside the recipe; test accuracies only of the last round, and none where a
recipe says ``test = false``. A table that the recipe has made is not made again. Interrupted, the
same command goes on.
"""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from floss_sim import RunConfig, load_task
from floss_sim.fingerprints import fingerprint
from floss_sim.runs.config import stack_layers
from floss_sim.tasks import Task
from floss_sim.training.evaluation import measure
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.wire import decode
from planner import Request
from planner.candidates import Candidate
from planner.execution.curve_store import CurveStore
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
TELL_S = 30  # seconds between lines of progress
Row = dict[str, Any]


class Recorded(NamedTuple):
    """One run of a grid: its place on the axes, and what is trained."""

    axes: Row
    config: RunConfig


def main(recipes: list[str]) -> None:
    """Bring the tables of recipes up to date, in the order given."""
    for path in map(Path, recipes):
        bring_up_to_date(tomllib.loads(path.read_text(encoding="utf-8")), path)


def bring_up_to_date(recipe: Row, path: Path) -> None:
    """Train and tabulate a grid, unless its table is of this recipe."""
    table = path.with_suffix(".parquet")
    task = task_of(recipe, path.parent)
    mark = fingerprint(recipe | {"data": task.content.digest, "backbone": task.backbone_hash})
    if table.exists() and (pq.read_schema(table).metadata or {}).get(b"mark") == mark.encode():
        print(f"{table.name} is up to date", file=sys.stderr)
        return
    store = CurveStore(RUNS, "cpu")
    runs = [run for seed in recipe["seeds"] for run in runs_of(recipe, task, seed)]
    print(f"{path.stem}: {len(runs)} runs of {recipe['rounds']} rounds", file=sys.stderr)
    train(store, runs, recipe["rounds"])
    rows = [row for run in runs for row in rows_of(store, run, recipe)]
    notes = {"mark": mark, "task": json.dumps(facts_of(task))}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(notes), table)
    print(f"{table.name}: {len(rows)} rows", file=sys.stderr)


def task_of(recipe: Row, folder: Path) -> Task:
    """Return the task of a recipe: a name or a file beside it, with the recipe's changes."""
    place = folder / recipe["task"]
    package = recipe.get("backbone_package")
    return load_task(
        str(place) if place.exists() else recipe["task"],
        backbone=str(import_module(package).MODEL_DIR) if package else None,
        changes=recipe.get("changes"),
    )


def runs_of(recipe: Row, task: Task, seed: int) -> Iterator[Recorded]:
    """Yield the runs of a seed: every combination of the axes, at the task's rates by default."""
    layers = stack_layers(task)
    names = ("rank", "down_density", "up_density", "depth", "client_lr", "server_lr")
    axes = (
        recipe["ranks"],
        recipe.get("density_pairs") or product(recipe["down_densities"], recipe["up_densities"]),
        recipe.get("depths", [layers]),
        recipe.get("client_lrs", [task.client.learning_rate]),
        recipe.get("server_lrs", [task.server.learning_rate]),
    )
    for values in product(*axes):
        rank, (down, up), depth, client_lr, server_lr = values
        config = Candidate(rank, down, up, depth=depth).config(task, seed)
        config = config.with_(
            client={"learning_rate": client_lr}, server={"learning_rate": server_lr}
        )
        axes_of_run = (rank, down, up, depth, client_lr, server_lr)
        yield Recorded(dict(zip(names, axes_of_run, strict=True)), config)


def train(store: CurveStore, runs: list[Recorded], rounds: int) -> None:
    """Train every run to the last round, in one process."""
    began = told = time.monotonic()
    folders = [store.folder(run.config) for run in runs]
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

    with worker_pool(1) as pool:
        trained = LocalTrainer(store, pool).train([(run.config, rounds) for run in runs], show)
    for run, count in zip(runs, trained, strict=True):
        if count is None:
            print(f"diverged: {run.axes}, seed {run.config.seed}", file=sys.stderr)


def rows_of(store: CurveStore, run: Recorded, recipe: Row) -> Iterator[Row]:
    """Yield one row for each evaluated round; bytes are of all transfers up to it."""
    folder, rounds = store.folder(run.config), recipe["rounds"]
    record = folder.record()
    down_R, up_R = (np.cumsum(record.rounds[f"{way}_bytes"]) for way in ("down", "up"))
    evaluated = [row for row in record.evaluated().to_pylist() if row["round"] <= rounds]
    for row in evaluated:
        round_ = row["round"]
        is_tested = round_ == rounds and recipe.get("test", True)
        yield {
            **run.axes,
            "entries": run.config.layout.entries,
            "seed": run.config.seed,
            "round": round_,
            "down_bytes": int(down_R[round_ - 1]),
            "up_bytes": int(up_R[round_ - 1]),
            "accuracy": row["accuracy"],
            "loss": row["loss"],
            "test_accuracy": accuracy_on_test(store, run.config, round_) if is_tested else None,
        }


def accuracy_on_test(store: CurveStore, config: RunConfig, round_: int) -> float:
    """Return the test accuracy of a run's model after a round."""
    test = [torch.as_tensor(part) for part in config.task.content.test]
    model_N, _ = decode(config.layout, store.folder(config).model(round_))
    accuracy, _ = measure(build_flat_model(config, torch.device(store.device)), model_N, *test)
    return accuracy


def facts_of(task: Task) -> Row:
    """Return what a reader of the table needs to know of its task, as plain values."""
    request = Request.of(task, "paper-200-20")
    return {
        "name": task.name,
        "kind": task.kind,
        "classes": task.labels,
        "layers": stack_layers(task),
        "chance": request.chance_accuracy(),
        "judged": request.prediction_counts(),
        "train_examples": len(task.content.train[1]),
        "partition": task.partition.model_dump(mode="json"),
        "client": task.client.model_dump(mode="json"),
        "server": task.server.model_dump(mode="json"),
        "lora": task.lora.model_dump(mode="json"),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
