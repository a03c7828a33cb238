"""How often the intervals of test accuracies and of their differences hold, over fresh seeds.

    python experiments/default_plan/coverage.py

Four configurations of ``plan.json`` (the recommendation, the first runner-up and both baselines)
are trained with ten seeds that chose nothing, for at most ``ROUNDS`` rounds, into
``runs/default_plan``: some minutes on two cores. Then intervals are made from a few seeds and one
half of the test images, and compared with what the other seeds get right on the other half,
``HALVES`` times. That, too, is known with an error only. So an interval counts as holding if both
figures are no farther apart than the root of the sum of squares of both half intervals: nine of
ten should. Writes ``coverage.csv`` and prints it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paired import trained_hits

from floss_sim import load_task
from floss_sim.analysis.on_test import (
    AccuracyOnTest,
    DifferenceOnTest,
    HitsOnTest,
    accuracy_on_test,
    difference_on_test,
    predictions_by_example,
)
from planner.execution.curve_store import last_evaluated_round
from planner.plans.plan_file import read_plan
from planner.report.plan_table import runners_up

HERE = Path(__file__).parent
SEEDS = tuple(range(1, 11))
ROUNDS = 100  # most rounds of a run: half-trained models differ more from seed to seed
HALVES = 40  # random halves of the test images
USED = (1, 2, 5)  # seeds of an interval
CHOICES = 10  # sets of seeds for each number of seeds
Row = dict[str, Any]


def main() -> None:
    """Train, measure, write and print."""
    plan = read_plan(HERE / "plan.json")
    runs = {"plan": plan.recommendation, "runner-up": runners_up(plan)[0]}
    runs |= {name: outcome for name, outcome in plan.baselines.items() if outcome}
    task = load_task(plan.request["task"])
    jobs = {
        name: [
            (made.candidate.config(task, seed), last_evaluated_round(min(ROUNDS, made.rounds)))
            for seed in SEEDS
        ]
        for name, made in runs.items()
    }
    hits = trained_hits(jobs)
    told = plan.recommendation.test
    figures = Figures(hits, predictions_by_example(task), told.seed_sd if told else None)
    rows = list(coverage(figures))
    with (HERE / "coverage.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


@dataclass(frozen=True)
class Figures:
    """Hits of all runs by configuration and seed, from which figures are made.

    Attributes:
        hits: Hits of each configuration's runs, in the order of ``SEEDS``.
        predictions: Number of predictions of each test example.
        seed_sd: The planner's standard deviation over seeds, in log-odds.
    """

    hits: Mapping[str, Sequence[HitsOnTest]]
    predictions: NDArray[np.int64]
    seed_sd: float | None

    def of(
        self, names: Sequence[str], seeds: Sequence[int], half_E: NDArray[np.bool_], known: bool
    ) -> AccuracyOnTest | DifferenceOnTest:
        """Return an accuracy (of one name) or a difference (of two), of some seeds and images."""
        runs = [
            [HitsOnTest(self.hits[name][i].right[half_E], self.hits[name][i].models) for i in seeds]
            for name in names
        ]
        seed_sd = self.seed_sd if known else None
        make = accuracy_on_test if len(names) == 1 else difference_on_test
        return make(*runs, self.predictions[half_E], seed_sd)


def coverage(figures: Figures) -> Iterator[Row]:
    """Yield one row for each figure, number of seeds and source of the variation between seeds."""
    names = list(figures.hits)
    for figure in [*([name] for name in names), *([names[0], other] for other in names[1:])]:
        for seeds in USED:
            for known in (True, False) if seeds > 1 else (True,):
                held = list(held_intervals(figures, figure, seeds, known))
                yield {
                    "figure": " - ".join(figure),
                    "seeds": seeds,
                    "variation between seeds": "the plan's" if known else "measured",
                    "half interval (points)": f"{100 * fmean(half for _, half in held):.2f}",
                    "held (%)": f"{100 * fmean(is_held for is_held, _ in held):.1f}",
                }


def held_intervals(
    figures: Figures, figure: Sequence[str], seeds: int, known: bool
) -> Iterator[tuple[bool, float]]:
    """Yield whether an interval holds what other seeds and images say, and half of its width."""
    draw, images = np.random.default_rng(0), len(figures.predictions)
    every = list(combinations(range(len(SEEDS)), seeds))
    for _ in range(HALVES):
        half_E = np.zeros(images, bool)
        half_E[draw.choice(images, images // 2, replace=False)] = True
        for at in draw.choice(len(every), min(CHOICES, len(every)), replace=False):
            rest = [i for i in range(len(SEEDS)) if i not in every[at]]
            one = figures.of(figure, every[at], half_E, known)
            other = figures.of(figure, rest, ~half_E, known=False)
            half = (one.high - one.low) / 2
            apart = math.hypot(half, (other.high - other.low) / 2)
            yield abs(one.mean - other.mean) <= apart, half


if __name__ == "__main__":
    main()
