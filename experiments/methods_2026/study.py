"""Methods of 2024 to 2026 on a task: accuracy within budgets, beside FLoSS and dense LoRA.

    python experiments/methods_2026/study.py experiments/methods_2026/digits/inputs.toml

Writes ``tuning.csv`` and ``results.csv`` beside the inputs. Trains what the store lacks, a process
a core; interrupted runs go on. Within each budget each configuration takes the best of the same
server rates, by validation accuracy of a seed of its own; then the reported seeds train with that
rate. A configuration with another server optimizer tries as many rates of that one. A budget of N
dense rounds is N times the bytes over rates of a dense round at the first configuration's rank; a
run ends at its last evaluated round within it.

With ``--only LABEL`` (again for each further one) only these configurations are trained, and the
rows of all others stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import accumulate, product
from pathlib import Path
from typing import Any

from floss_sim import RunConfig, RunRecord, load_task, method_from_name
from floss_sim.analysis.last_part import last_part
from floss_sim.tasks import Task
from floss_sim.units import format_duration
from planner.execution.curve_store import CurveStore, Job, default_root, last_evaluated_round
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

Row = dict[str, Any]
_MORE = 15  # rounds beyond those that the run for tuning afforded


@dataclass(frozen=True)
class Cell:
    """A configuration within a budget, with the rate that was chosen for it.

    Attributes:
        one: The configuration, as in ``inputs.toml``.
        ratio: Rate of downloads over rate of uploads.
        budget: Dense rounds.
        limit: The budget in bytes, uploads weighted by the ratio.
        rate: The chosen rate.
        rounds: Rounds that the budget affords, by the run that was tuned.
    """

    one: Row
    ratio: float
    budget: int
    limit: float
    rate: float
    rounds: int


@dataclass(frozen=True)
class Study:
    """What is run, and where its tables go.

    Attributes:
        inputs: Content of the inputs' file.
        folder: Folder of that file.
        only: Labels of the configurations to be trained; none: all.
    """

    inputs: Row
    folder: Path
    only: tuple[str, ...] = ()

    @property
    def asked(self) -> list[Row]:
        """Configurations to be trained."""
        every: list[Row] = self.inputs["configuration"]
        return [one for one in every if not self.only or one["label"] in self.only]

    @property
    def reference(self) -> Row:
        """Configuration whose rounds are the unit of budgets."""
        first: Row = self.inputs["configuration"][0]
        return first

    def config(self, one: Row, rate: float, seed: int) -> RunConfig:
        """Return a configuration with a tried rate and a seed."""
        method = method_from_name(one["method"], **one.get("options", {}))
        config = RunConfig.of(self.task, method, rank=one["rank"], seed=seed)
        return config.with_(server=one.get("server", {}) | {"learning_rate": rate})

    def rates(self, one: Row) -> list[float]:
        """Return the rates that a configuration tries."""
        optimizer = one.get("server", {}).get("optimizer")
        tuning = self.inputs["tuning"]
        rates: list[float] = tuning[f"{optimizer}_lr" if optimizer else "server_lr"]
        return rates

    @cached_property
    def task(self) -> Task:
        """Task of the inputs: a file beside them, or a packaged one."""
        place = self.folder / self.inputs["task"]
        package = self.inputs.get("backbone_package")
        return load_task(
            str(place) if place.exists() else self.inputs["task"],
            backbone=str(import_module(package).MODEL_DIR) if package else None,
        )


def main() -> None:
    """Tune, train, test, and write ``tuning.csv`` and ``results.csv``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="LABEL")
    asked = parser.parse_args()
    inputs = tomllib.loads(asked.inputs.read_text(encoding="utf-8"))
    study = Study(inputs, asked.inputs.parent, tuple(asked.only))
    store = CurveStore(default_root(), "cpu")
    store.root.mkdir(parents=True, exist_ok=True)
    with worker_pool(os.cpu_count() or 1) as pool:
        trainer = LocalTrainer(store, pool, os.cpu_count() or 1)
        cells = list(chosen_cells(study, tuned_records(study, trainer)))
        train_within_budgets(study, trainer, cells)
        write(study, "results.csv", list(results(study, trainer, cells)))


def tuned_records(study: Study, trainer: LocalTrainer) -> dict[tuple[str, float], RunRecord]:
    """Return the record of each configuration and rate with the seed for tuning."""
    tuning = study.inputs["tuning"]
    first = study.reference
    tried = {
        (one["label"], rate): study.config(one, rate, tuning["seed"])
        for one in study.asked
        for rate in study.rates(one)
    }
    unit = {
        (first["label"], study.rates(first)[0]): study.config(
            first, study.rates(first)[0], tuning["seed"]
        )
    }
    tried = unit | tried
    train(trainer, [(config, tuning["rounds"]) for config in tried.values()], "tuning")
    return {key: trainer.store.folder(config).record() for key, config in tried.items()}


def chosen_cells(study: Study, records: Mapping[tuple[str, float], RunRecord]) -> Iterator[Cell]:
    """Yield each configuration within each budget with its best rate; write ``tuning.csv``."""
    inputs, rows = study.inputs, []
    reference = records[study.reference["label"], study.rates(study.reference)[0]]
    for ratio, budget in product(inputs["upload_ratios"], inputs["budgets"]):
        limit = budget * costs(reference, ratio)[-1] / reference.rounds.num_rows
        for one in study.asked:
            tried = {rate: records[one["label"], rate] for rate in study.rates(one)}
            ends = {rate: last_round(r, costs(r, ratio), limit) for rate, r in tried.items()}
            scores = {rate: smoothed(tried[rate], ends[rate]) for rate in tried}
            best = max(tried, key=lambda rate: scores[rate])
            rows += [
                {"upload_ratio": ratio, "budget": budget, "configuration": one["label"],
                 "rate": rate, "rounds": ends[rate], "validation": scores[rate]}
                for rate in tried
            ]  # fmt: skip
            yield Cell(one, ratio, budget, limit, best, ends[best])
    write(study, "tuning.csv", rows)


def train_within_budgets(study: Study, trainer: LocalTrainer, cells: Sequence[Cell]) -> None:
    """Train the reported seeds until each run has spent its budgets, or has the most rounds."""
    inputs = study.inputs
    ends = {
        (i, seed): cell.rounds + _MORE for i, cell in enumerate(cells) for seed in inputs["seeds"]
    }
    while ends:
        jobs: dict[tuple[str, float, int], Job] = {}
        for (i, seed), rounds in ends.items():
            cell = cells[i]
            key = cell.one["label"], cell.rate, seed
            config = study.config(cell.one, cell.rate, seed)
            most = last_evaluated_round(min(inputs["rounds"], rounds))
            jobs[key] = (config, max(most, jobs.get(key, (config, 0))[1]))
        train(trainer, list(jobs.values()), "training")
        ends = {
            (i, seed): 2 * rounds
            for (i, seed), rounds in ends.items()
            if rounds < inputs["rounds"] and not _is_spent(study, trainer, cells[i], seed)
        }


def _is_spent(study: Study, trainer: LocalTrainer, cell: Cell, seed: int) -> bool:
    record = trainer.store.folder(study.config(cell.one, cell.rate, seed)).record()
    return costs(record, cell.ratio)[-1] > cell.limit


def train(trainer: LocalTrainer, jobs: Sequence[Job], stage: str) -> None:
    """Train runs up to their rounds, with an estimate on the way."""
    began_s, store = time.monotonic(), trainer.store
    first = sum(min(rounds, store.rounds(config)) for config, rounds in jobs)
    whole = sum(rounds for _, rounds in jobs)

    def tick() -> None:
        done = sum(min(rounds, store.rounds(config)) for config, rounds in jobs)
        pace = (time.monotonic() - began_s) / max(1, done - first)
        left = format_duration(pace * (whole - done))
        print(f"\r{stage}: {done} of {whole} rounds, {left} left   ", end="", flush=True)

    trainer.train(jobs, tick)
    print()


def smoothed(record: RunRecord, rounds: int) -> float:
    """Return the mean validation accuracy of the last part of the rounds."""
    rows = {row["round"]: row["accuracy"] for row in record.evaluated().to_pylist()}
    part = last_part([number for number in rows if number <= rounds], rounds)
    return float(sum(rows[number] for number in part) / len(part))


def costs(record: RunRecord, upload_ratio: float) -> list[float]:
    """Return the cost of rounds 1, 2, ... together: download bytes plus weighted upload bytes."""
    down, up = (record.rounds[f"{way}_bytes"].to_pylist() for way in ("down", "up"))
    return list(accumulate(d + upload_ratio * u for d, u in zip(down, up, strict=True)))


def results(study: Study, trainer: LocalTrainer, cells: Sequence[Cell]) -> Iterator[Row]:
    """Yield accuracy and bytes of each configuration and seed within each budget."""
    runs = list(product(cells, study.inputs["seeds"]))
    jobs, records = [], []
    for cell, seed in runs:
        config = study.config(cell.one, cell.rate, seed)
        record = trainer.store.folder(config).record()
        jobs.append((config, last_round(record, costs(record, cell.ratio), cell.limit)))
        records.append(record)
    tested = trainer.on_test(jobs)
    for (cell, seed), (_, end), record, hits in zip(runs, jobs, records, tested, strict=True):
        yield {
            "upload_ratio": cell.ratio, "budget": cell.budget, "configuration": cell.one["label"],
            "seed": seed, "rate": cell.rate, "rounds": end,
            "down_bytes": sum(record.rounds["down_bytes"].to_pylist()[:end]),
            "up_bytes": sum(record.rounds["up_bytes"].to_pylist()[:end]),
            "validation": smoothed(record, end), "test": hits.right.mean(),
            "binds": "cap" if end == study.inputs["rounds"] else "budget",
        }  # fmt: skip


def last_round(record: RunRecord, cost: Sequence[float], limit: float) -> int:
    """Return the last evaluated round whose cost is within the limit."""
    rounds = record.evaluated()["round"].to_pylist()
    return max(number for number in rounds if cost[number - 1] <= limit)


def write(study: Study, name: str, rows: Sequence[Row]) -> None:
    """Write a table as CSV, by cell and in the order of the inputs.

    Rows of configurations that were not asked stay as they are.
    """
    path, rows = study.folder / name, list(rows)
    if study.only and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows += [row for row in csv.DictReader(file) if row["configuration"] not in study.only]
    inputs = study.inputs
    labels = [one["label"] for one in inputs["configuration"]]
    rows.sort(
        key=lambda row: (
            inputs["upload_ratios"].index(int(row["upload_ratio"])),
            inputs["budgets"].index(int(row["budget"])),
            labels.index(row["configuration"]),
        )
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
