"""Methods of 2024 to 2026 on digits: accuracy within budgets, beside FLoSS and dense LoRA.

    python experiments/methods_2026/study.py

Trains what the store lacks, one process a core; interrupted runs go on. Within each budget each
configuration takes the best of the same server rates, by validation accuracy of a seed of its own;
then the reported seeds train with that rate. A budget of N dense rounds is N times the bytes over
rates of a dense round at the first configuration's rank; a run ends at its last evaluated round
within it.
"""

from __future__ import annotations

import csv
import os
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path
from typing import Any

from floss_sim import RunConfig, RunRecord, load_task, method_from_name
from floss_sim.analysis.last_part import last_part
from floss_sim.units import format_duration
from planner.execution.curve_store import CurveStore, Job, default_root, last_evaluated_round
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
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
        server_lr: The chosen rate.
        rounds: Rounds that the budget affords, by the run that was tuned.
    """

    one: Row
    ratio: float
    budget: int
    limit: float
    server_lr: float
    rounds: int


def main() -> None:
    """Tune, train, test, and write ``tuning.csv`` and ``results.csv``."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    store = CurveStore(default_root(), "cpu")
    store.root.mkdir(parents=True, exist_ok=True)
    with worker_pool(os.cpu_count() or 1) as pool:
        trainer = LocalTrainer(store, pool, os.cpu_count() or 1)
        cells = list(chosen_cells(inputs, tuned_records(inputs, trainer)))
        train_within_budgets(inputs, trainer, cells)
        write(HERE / "results.csv", list(results(inputs, trainer, cells)))


def config_of(inputs: Row, one: Row, server_lr: float, seed: int) -> RunConfig:
    """Return a configuration with a server rate and a seed."""
    task = load_task(inputs["task"], changes={"server.learning_rate": server_lr})
    method = method_from_name(one["method"], **one.get("options", {}))
    return RunConfig.of(task, method, rank=one["rank"], seed=seed)


def tuned_records(inputs: Row, trainer: LocalTrainer) -> dict[tuple[str, float], RunRecord]:
    """Return the record of each configuration and server rate with the seed for tuning."""
    tuning = inputs["tuning"]
    tried = {
        (one["label"], rate): config_of(inputs, one, rate, tuning["seed"])
        for one in inputs["configuration"]
        for rate in tuning["server_lrs"]
    }
    train(trainer, [(config, tuning["rounds"]) for config in tried.values()], "tuning")
    return {key: trainer.store.folder(config).record() for key, config in tried.items()}


def chosen_cells(inputs: Row, records: Mapping[tuple[str, float], RunRecord]) -> Iterator[Cell]:
    """Yield each configuration within each budget with its best rate; write ``tuning.csv``."""
    rates, rows = inputs["tuning"]["server_lrs"], []
    reference = records[inputs["configuration"][0]["label"], rates[0]]
    for ratio, budget in product(inputs["upload_ratios"], inputs["budgets"]):
        limit = budget * costs(reference, ratio)[-1] / reference.rounds.num_rows
        for one in inputs["configuration"]:
            tried = {rate: records[one["label"], rate] for rate in rates}
            ends = {rate: last_round(r, costs(r, ratio), limit) for rate, r in tried.items()}
            scores = {rate: smoothed(tried[rate], ends[rate]) for rate in rates}
            best = max(rates, key=lambda rate: scores[rate])
            rows += [
                {"upload_ratio": ratio, "budget": budget, "configuration": one["label"],
                 "server_lr": rate, "rounds": ends[rate], "validation": scores[rate]}
                for rate in rates
            ]  # fmt: skip
            yield Cell(one, ratio, budget, limit, best, ends[best])
    write(HERE / "tuning.csv", rows)


def train_within_budgets(inputs: Row, trainer: LocalTrainer, cells: Sequence[Cell]) -> None:
    """Train the reported seeds until each run has spent its budgets, or has the most rounds."""
    ends = {
        (i, seed): cell.rounds + _MORE for i, cell in enumerate(cells) for seed in inputs["seeds"]
    }
    while ends:
        jobs: dict[tuple[str, float, int], Job] = {}
        for (i, seed), rounds in ends.items():
            cell = cells[i]
            key = cell.one["label"], cell.server_lr, seed
            config = config_of(inputs, cell.one, cell.server_lr, seed)
            most = last_evaluated_round(min(inputs["rounds"], rounds))
            jobs[key] = (config, max(most, jobs.get(key, (config, 0))[1]))
        train(trainer, list(jobs.values()), "training")
        ends = {
            (i, seed): 2 * rounds
            for (i, seed), rounds in ends.items()
            if rounds < inputs["rounds"] and not _is_spent(inputs, trainer, cells[i], seed)
        }


def _is_spent(inputs: Row, trainer: LocalTrainer, cell: Cell, seed: int) -> bool:
    record = trainer.store.folder(config_of(inputs, cell.one, cell.server_lr, seed)).record()
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


def results(inputs: Row, trainer: LocalTrainer, cells: Sequence[Cell]) -> Iterator[Row]:
    """Yield accuracy and bytes of each configuration and seed within each budget."""
    runs = list(product(cells, inputs["seeds"]))
    jobs, records = [], []
    for cell, seed in runs:
        config = config_of(inputs, cell.one, cell.server_lr, seed)
        record = trainer.store.folder(config).record()
        jobs.append((config, last_round(record, costs(record, cell.ratio), cell.limit)))
        records.append(record)
    tested = trainer.on_test(jobs)
    for (cell, seed), (_, end), record, hits in zip(runs, jobs, records, tested, strict=True):
        yield {
            "upload_ratio": cell.ratio, "budget": cell.budget, "configuration": cell.one["label"],
            "seed": seed, "server_lr": cell.server_lr, "rounds": end,
            "down_bytes": sum(record.rounds["down_bytes"].to_pylist()[:end]),
            "up_bytes": sum(record.rounds["up_bytes"].to_pylist()[:end]),
            "validation": smoothed(record, end), "test": hits.right.mean(),
            "binds": "cap" if end == inputs["rounds"] else "budget",
        }  # fmt: skip


def last_round(record: RunRecord, cost: Sequence[float], limit: float) -> int:
    """Return the last evaluated round whose cost is within the limit."""
    rounds = record.evaluated()["round"].to_pylist()
    return max(number for number in rounds if cost[number - 1] <= limit)


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
