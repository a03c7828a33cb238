"""Methods of 2024 to 2026 on digits: accuracy within budgets, beside FLoSS and dense LoRA.

    python experiments/methods_2026/study.py

Trains what the store lacks, one process a core; interrupted runs go on. Each configuration tries
the same server rates with a seed of its own and takes the best on validation; then all train with
the reported seeds. A budget of N dense rounds is N times the bytes over rates of a dense round at
the first configuration's rank; a run ends at its last evaluated round within it.
"""

from __future__ import annotations

import csv
import os
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from floss_sim import RunConfig, RunRecord, load_task, method_from_name
from floss_sim.analysis.last_part import last_part
from floss_sim.units import format_duration
from planner.execution.curve_store import CurveStore, Job, default_root
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
Row = dict[str, Any]


def main() -> None:
    """Tune, train, test, and write ``tuning.csv``, ``results.csv`` and ``curves.csv``."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    store = CurveStore(default_root(), "cpu")
    store.root.mkdir(parents=True, exist_ok=True)
    with worker_pool(os.cpu_count() or 1) as pool:
        trainer = LocalTrainer(store, pool, os.cpu_count() or 1)
        rates = tuned_rates(inputs, trainer)
        runs = {
            (one["label"], seed): config_of(inputs, one, rates[one["label"]], seed)
            for one in inputs["configuration"]
            for seed in inputs["seeds"]
        }
        train(trainer, [(config, inputs["rounds"]) for config in runs.values()], "training")
        records = {key: store.folder(config).record() for key, config in runs.items()}
        write(HERE / "curves.csv", list(curves(inputs, records)))
        write(HERE / "results.csv", list(results(inputs, trainer, runs, records)))


def config_of(inputs: Row, one: Row, server_lr: float, seed: int) -> RunConfig:
    """Return a configuration with a server rate and a seed."""
    task = load_task(inputs["task"], changes={"server.learning_rate": server_lr})
    method = method_from_name(one["method"], **one.get("options", {}))
    return RunConfig.of(task, method, rank=one["rank"], seed=seed)


def tuned_rates(inputs: Row, trainer: LocalTrainer) -> dict[str, float]:
    """Return the server rate of each configuration, best by smoothed validation accuracy."""
    tuning, rows = inputs["tuning"], []
    tried = [
        (one["label"], rate, config_of(inputs, one, rate, tuning["seed"]))
        for one in inputs["configuration"]
        for rate in tuning["server_lrs"]
    ]
    train(trainer, [(config, tuning["rounds"]) for *_, config in tried], "tuning")
    for label, rate, config in tried:
        record = trainer.store.folder(config).record()
        accuracy = smoothed(record, tuning["rounds"])
        rows.append({"configuration": label, "server_lr": rate, "accuracy": accuracy})
    write(HERE / "tuning.csv", rows)
    best = sorted(rows, key=lambda row: (row["accuracy"] or 0.0, -row["server_lr"]))
    return {row["configuration"]: row["server_lr"] for row in best}


def train(trainer: LocalTrainer, jobs: Sequence[Job], stage: str) -> None:
    """Train runs up to their rounds, with an estimate on the way."""
    began_s, store = time.monotonic(), trainer.store
    first = sum(store.rounds(config) for config, _ in jobs)
    whole = sum(rounds for _, rounds in jobs)

    def tick() -> None:
        done = sum(min(rounds, store.rounds(config)) for config, rounds in jobs)
        pace = (time.monotonic() - began_s) / max(1, done - first)
        left = format_duration(pace * (whole - done))
        print(f"\r{stage}: {done} of {whole} rounds, {left} left   ", end="", flush=True)

    trainer.train(jobs, tick)
    print()


def smoothed(record: RunRecord, rounds: int) -> float | None:
    """Return the mean validation accuracy of the last part of the rounds; None if diverged."""
    rows = {row["round"]: row["accuracy"] for row in record.evaluated().to_pylist()}
    if record.rounds.num_rows < rounds:
        return None
    part = last_part([number for number in rows if number <= rounds], rounds)
    return sum(rows[number] for number in part) / len(part)


def costs(record: RunRecord, upload_ratio: float) -> list[float]:
    """Return the cost of rounds 1, 2, ... together: download bytes plus weighted upload bytes."""
    down, up = (record.rounds[f"{way}_bytes"].to_pylist() for way in ("down", "up"))
    return list(accumulate(d + upload_ratio * u for d, u in zip(down, up, strict=True)))


def results(
    inputs: Row,
    trainer: LocalTrainer,
    runs: Mapping[tuple[str, int], RunConfig],
    records: Mapping[tuple[str, int], RunRecord],
) -> Iterator[Row]:
    """Yield accuracy and bytes of each configuration and seed within each budget."""
    reference = inputs["configuration"][0]["label"]
    for ratio in inputs["upload_ratios"]:
        for budget in inputs["budgets"]:
            ends = {}
            for (label, seed), record in records.items():
                dense = costs(records[reference, seed], ratio)
                limit = budget * dense[-1] / len(dense)
                ends[label, seed] = last_round(record, costs(record, ratio), limit)
            jobs = [(runs[key], end) for key, end in ends.items()]
            tested = trainer.on_test(jobs)
            for (label, seed), hits in zip(ends, tested, strict=True):
                record, end = records[label, seed], ends[label, seed]
                yield {
                    "upload_ratio": ratio, "budget": budget, "configuration": label, "seed": seed,
                    "server_lr": runs[label, seed].server.learning_rate, "rounds": end,
                    "down_bytes": sum(record.rounds["down_bytes"].to_pylist()[:end]),
                    "up_bytes": sum(record.rounds["up_bytes"].to_pylist()[:end]),
                    "validation": smoothed(record, end), "test": hits.right.mean(),
                    "binds": "cap" if end == inputs["rounds"] else "budget",
                }  # fmt: skip


def last_round(record: RunRecord, cost: Sequence[float], limit: float) -> int:
    """Return the last evaluated round whose cost is within the limit."""
    rounds = record.evaluated()["round"].to_pylist()
    return max(number for number in rounds if cost[number - 1] <= limit)


def curves(inputs: Row, records: Mapping[tuple[str, int], RunRecord]) -> Iterator[Row]:
    """Yield the evaluated rounds of each run."""
    for (label, seed), record in records.items():
        cost = {ratio: costs(record, ratio) for ratio in inputs["upload_ratios"]}
        for row in record.evaluated().to_pylist():
            number = row["round"]
            sums = {f"cost_{ratio}": cost[ratio][number - 1] for ratio in cost}
            yield {"configuration": label, "seed": seed, "round": number,
                   "accuracy": row["accuracy"], **sums}  # fmt: skip


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
