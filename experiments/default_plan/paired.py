"""The default plan against both baselines over seeds: paired differences of test accuracy.

    python experiments/default_plan/paired.py

Trains what ``runs/default_plan`` lacks: the recommendation and the baselines of ``plan.json`` for
as many rounds as the plan gives them, with seeds that chose nothing. Writes ``paired.csv``, with
the test accuracy of each run as a plan measures it, and prints the differences with their 90 %
intervals over images and seeds (:mod:`floss_sim.analysis.on_test`).
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from floss_sim import load_task
from floss_sim.analysis.on_test import (
    DifferenceOnTest,
    HitsOnTest,
    difference_on_test,
    predictions_by_example,
)
from planner.execution.curve_store import CurveStore, Job
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool
from planner.plans.plan_file import read_plan

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
SEEDS = (3, 4, 5, 6, 7)


def main() -> None:
    """Train, test, write and print."""
    plan = read_plan(HERE / "plan.json")
    outcomes = {"plan": plan.recommendation}
    outcomes |= {name: outcome for name, outcome in plan.baselines.items() if outcome}
    task = load_task(plan.request["task"])
    hits = trained_hits(
        {
            name: [(made.candidate.config(task, seed), made.rounds) for seed in SEEDS]
            for name, made in outcomes.items()
        }
    )
    predictions_E = predictions_by_example(task)
    tests = {
        name: [float(run.right.sum() / predictions_E.sum()) for run in runs]
        for name, runs in hits.items()
    }
    with (HERE / "paired.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seed", *outcomes])
        writer.writerows(zip(SEEDS, *tests.values(), strict=True))
    for name in list(outcomes)[1:]:
        made = difference_on_test(hits["plan"], hits[name], predictions_E)
        print(f"against {name}: {describe(made)}")


def trained_hits(jobs: Mapping[str, Sequence[Job]]) -> dict[str, list[HitsOnTest]]:
    """Return what runs get right on the test split, by name; runs that are missing are trained."""
    every = [job for some in jobs.values() for job in some]
    store, workers = CurveStore(RUNS, "cpu"), os.cpu_count() or 1

    def tell() -> None:
        done = sum(min(rounds, store.rounds(config)) for config, rounds in every)
        wanted = sum(rounds for _, rounds in every)
        print(f"\r{done} of {wanted} rounds", end="", flush=True, file=sys.stderr)

    with worker_pool(workers) as pool:
        trainer = LocalTrainer(store, pool, workers)
        trainer.train(every, tell)
        found = iter(trainer.on_test(every))
    print(file=sys.stderr)
    return {name: [next(found) for _ in some] for name, some in jobs.items()}


def describe(made: DifferenceOnTest) -> str:
    """Return a difference in points, its interval, and whether it is a tie."""
    low, mean, high = (100 * end for end in (made.low, made.mean, made.high))
    verdict = "a tie" if low <= 0 <= high else "ahead" if mean > 0 else "behind"
    return f"{mean:+.2f} points ({low:+.2f} to {high:+.2f}), {made.seeds} seeds: {verdict}"


if __name__ == "__main__":
    main()
