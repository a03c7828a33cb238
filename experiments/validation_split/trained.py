"""Validation against test of half-trained runs of digits, under three splits.

    python experiments/validation_split/trained.py    # five minutes on two cores; it resumes

Trains the configurations of ``record.py`` with two seeds under each split, and writes validation
and test accuracy of every evaluated round to ``trained.csv``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from record import CONFIGURATIONS, ROUNDS, RUNS

from floss_sim import RunConfig, load_task
from floss_sim.methods import floss
from planner.execution.curve_store import CurveStore
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
SPLITS = (("random", 0), ("stratified", 0), ("stratified", 383))
SEEDS = (0, 1)


def main() -> None:
    """Train, test and write."""
    configs = list(configurations())
    store, workers = (
        CurveStore(RUNS / "store", "cpu"),
        int(os.environ.get("WORKERS", os.cpu_count() or 1)),
    )
    with worker_pool(workers) as pool:
        trainer = LocalTrainer(store, pool, workers)
        trainer.train([(config, ROUNDS[-1]) for config in configs], lambda: None)
        jobs = [(config, round_) for config in configs for round_ in ROUNDS]
        tests = trainer.on_test(jobs)
    with (HERE / "trained.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["split", "split_seed", "configuration", "seed", "round", "validation", "test"]
        )
        for (config, round_), test in zip(jobs, tests, strict=True):
            data = config.task.data
            validation = validations(store, config)[round_]
            row = [data.split, data.split_seed, config.describe(), config.seed, round_]
            writer.writerow([*row, f"{validation:.6f}", f"{test:.6f}"])


def configurations() -> Iterator[RunConfig]:
    """Yield every configuration with every seed under every split."""
    for kind, split_seed in SPLITS:
        changes = {"data.split": kind, "data.split_seed": split_seed}
        task = load_task("digits", changes=changes)
        for rank, down, up in CONFIGURATIONS:
            for seed in SEEDS:
                yield RunConfig.of(task, floss(down, up), rank=rank, seed=seed)


def validations(store: CurveStore, config: RunConfig) -> dict[int, float]:
    """Return the validation accuracy of a run by its round."""
    rows = store.folder(config).record().evaluated().to_pylist()
    return {row["round"]: row["accuracy"] for row in rows}


if __name__ == "__main__":
    main()
