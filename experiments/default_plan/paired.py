"""The default plan against both baselines over seeds: paired differences of test accuracy.

    python experiments/default_plan/paired.py

Trains what ``runs/default_plan`` lacks: the recommendation and the baselines of ``plan.json`` for
as many rounds as the plan gives them, with seeds that chose nothing. Writes ``paired.csv`` and
prints the differences with their 90 % intervals (Student's t).
"""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import t as student

from floss_sim import load_task
from planner.execution.curve_store import CurveStore
from planner.execution.workers import test_all, train_all, worker_pool
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.plan_file import read_plan

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
SEEDS = (1, 2, 3, 4, 5)
LEVEL = 0.9


def main() -> None:
    """Train, test, write and print."""
    plan = read_plan(HERE / "plan.json")
    outcomes = {"plan": plan.recommendation}
    outcomes |= {name: outcome for name, outcome in plan.baselines.items() if outcome}
    tests = tested(plan, outcomes)
    with (HERE / "paired.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seed", *outcomes])
        writer.writerows(zip(SEEDS, *tests.values(), strict=True))
    for name in outcomes.keys() - {"plan"}:
        print(difference(name, tests["plan"], tests[name]))


def tested(plan: Plan, outcomes: Mapping[str, Outcome]) -> dict[str, list[float]]:
    """Return test accuracies by name, over the seeds."""
    task = load_task(plan.request["task"])
    jobs = [
        (outcome.candidate.config(task, seed), outcome.rounds)
        for outcome in outcomes.values()
        for seed in SEEDS
    ]
    store, workers = CurveStore(RUNS, "cpu"), os.cpu_count() or 1

    def tell() -> None:
        done = sum(store.rounds(config) for config, _ in jobs)
        wanted = sum(rounds for _, rounds in jobs)
        print(f"\r{done} of {wanted} rounds", end="", flush=True, file=sys.stderr)

    with worker_pool(workers) as pool:
        train_all(pool, store, jobs, tell, workers)
        accuracies = test_all(pool, store, jobs)
    print(file=sys.stderr)
    count = len(SEEDS)
    return {name: accuracies[i * count : (i + 1) * count] for i, name in enumerate(outcomes)}


def difference(name: str, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return a paired difference in points, its interval, and whether it is a tie."""
    points = [100 * (a - b) for a, b in zip(ours, theirs, strict=True)]
    half = student.ppf((1 + LEVEL) / 2, len(points) - 1) * stdev(points) / math.sqrt(len(points))
    mean = fmean(points)
    verdict = "a tie" if abs(mean) <= half else "ahead" if mean > 0 else "behind"
    low, high = mean - half, mean + half
    return f"against {name}: {mean:+.2f} points ({low:+.2f} to {high:+.2f}): {verdict}"


if __name__ == "__main__":
    main()
