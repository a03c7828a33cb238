"""Difficulty of every image of digits for half-trained models that have not seen it.

    python experiments/validation_split/record.py    # seven minutes on two cores; it resumes

The 1,797 images are cut into three random folds, four times. For each fold the configurations below
are trained on the other two, with a seed of their own, and every evaluated round's model classifies
the fold. Writes ``difficulty.csv``: for each image and each stage of training, how many models
classified it and how many of them were wrong.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim import RunConfig, load_task
from floss_sim.methods import floss
from floss_sim.tasks.arrays import load_digits
from floss_sim.training.models.flat_model import FlatModel, build_flat_model
from floss_sim.wire import decode
from planner.execution.curve_store import CurveStore
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
REPEATS, FOLDS = 4, 3
CONFIGURATIONS = (
    (4, 1.0, 1.0),
    (4, 1.0, 1 / 4),
    (4, 1 / 4, 1 / 16),
    (16, 1.0, 1.0),
    (16, 1.0, 1 / 16),
    (16, 1 / 4, 1 / 4),
    (16, 1 / 4, 1 / 64),
    (64, 1 / 4, 1 / 16),
)  # rank, download density, upload density
ROUNDS = (10, 15, 20, 30, 40, 60)
STAGES = (0.6, 0.8, 0.9, 0.95)  # accuracies on the fold between which a model counts
Rows = NDArray[np.int64]


class FoldRun(NamedTuple):
    """A run, and the images that it does not train on."""

    config: RunConfig
    held: Rows


def main() -> None:
    """Train, classify and write."""
    x, y = load_digits()
    RUNS.mkdir(parents=True, exist_ok=True)
    runs = list(fold_runs(x, y))
    store, workers = (
        CurveStore(RUNS / "store", "cpu"),
        int(os.environ.get("WORKERS", os.cpu_count() or 1)),
    )
    with worker_pool(workers) as pool:
        trainer = LocalTrainer(store, pool, workers)
        trainer.train([(run.config, ROUNDS[-1]) for run in runs], lambda: None)
    models, errors = (np.zeros((len(STAGES) - 1, len(y)), dtype=np.int64) for _ in range(2))
    flats: dict[int, FlatModel] = {}
    for number, run in enumerate(runs, start=1):
        rank = run.config.rank
        if rank not in flats:
            flats[rank] = build_flat_model(run.config, torch.device("cpu"))
        for wrong in wrong_images(store, flats[rank], run, x, y):
            stage = int(np.searchsorted(STAGES, 1 - wrong.mean(), side="right")) - 1
            if 0 <= stage < len(models):
                models[stage, run.held] += 1
                errors[stage, run.held] += wrong
        print(f"\rclassifying: {number} of {len(runs)} runs", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    with (HERE / "difficulty.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [f"{100 * low:.0f} to {100 * high:.0f}" for low, high in pairwise(STAGES)]
        writer.writerow(["class", *(f"{what} {n}" for n in names for what in ("models", "errors"))])
        writer.writerows(
            np.column_stack([y, *np.stack([models, errors], axis=1).reshape(-1, len(y))])
        )


def fold_runs(x: NDArray[np.float32], y: Rows) -> Iterator[FoldRun]:
    """Yield the runs of every fold; each fold is held out by the order of the rows of a file."""
    for repeat in range(REPEATS):
        folds = np.array_split(np.random.default_rng([repeat, 1]).permutation(len(y)), FOLDS)
        for number, held in enumerate(folds):
            path = RUNS / f"fold_{repeat}_{number}.npz"
            kept = np.setdiff1d(np.arange(len(y)), held)
            order = np.empty(len(y), dtype=np.int64)
            # The random split holds out the last rows of this permutation.
            order[np.random.default_rng(0).permutation(len(y))] = np.concatenate([kept, held])
            if not path.exists():
                np.savez(path, x=x[order], y=y[order])
            changes = {"data.validation": len(held) // 2, "data.test": len(held) - len(held) // 2}
            changes |= {"data.split": "random", "data.split_seed": 0}
            task = load_task("digits", dataset=str(path), changes=changes)
            for rank, down, up in CONFIGURATIONS:
                seed = FOLDS * repeat + number
                yield FoldRun(RunConfig.of(task, floss(down, up), rank=rank, seed=seed), held)


def wrong_images(
    store: CurveStore, flat: FlatModel, run: FoldRun, x: NDArray[np.float32], y: Rows
) -> Iterator[NDArray[np.bool_]]:
    """Yield which of a run's images the model of each evaluated round classifies wrongly."""
    folder = store.folder(run.config)
    images, classes = torch.as_tensor(x[run.held]), torch.as_tensor(y[run.held])
    for round_ in ROUNDS:
        model_N, _ = decode(run.config.layout, folder.model(round_))
        flat.load(flat.base + model_N)
        flat.set_training(False)
        with torch.no_grad():
            logits, targets = flat.outputs(images, classes)
        yield (logits.argmax(dim=1) != targets).numpy()


if __name__ == "__main__":
    main()
