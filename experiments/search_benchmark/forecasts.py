"""Forecasts of the planner's process and of BoTorch's LatentKroneckerGP from the same curves.

    python experiments/search_benchmark/forecasts.py                 # minutes; needs BoTorch

Both forecast the ends of runs that were begun and not finished, and of up to ``FRESH`` candidates
that were not begun, from two sets of known curves: first rungs of up to ``STARTERS`` candidates
that fill the space, and what halving leaves at ``EFFORT`` of the grid. ``forecasts.csv`` has a row
for each model and set of curves; the table of README.md is made from it.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from benchmark import FIRST_SEED, STRATEGIES, WORLDS, Row, end_truth, table_of
from kronecker_forecast import Array, kronecker_log_odds

from floss_sim.rng import stream
from planner.candidates import Candidate
from planner.curves import History
from planner.forecasts.features import space_filling_order
from planner.forecasts.forecast import log_odds_at
from planner.forecasts.intervals import KnownCurves
from planner.search import SearchTerms
from planner.search.rungs import RUNGS, rung_rounds
from planner.search.strategy import Extension, search

HERE = Path(__file__).parent
RESULTS = HERE / "forecasts.csv"
STARTERS, FRESH, EFFORT = 40, 40, 0.1
REACH = 1.6449  # deviations on both sides of the mean, between which 90 % of a normal one lie
Point = tuple[Candidate, int]
Forecaster = Callable[[History, Sequence[Point], int, int], tuple[Array, Array]]


def process_log_odds(
    history: History, points: Sequence[Point], examples: int, longest: int
) -> tuple[Array, Array]:
    """Return mean and deviation of log-odds by the planner's process, without calibration."""
    mean_M, sd_M = np.array(log_odds_at(history, points, examples, longest)).T
    return mean_M, sd_M


def calibrated_log_odds(
    history: History, points: Sequence[Point], examples: int, longest: int
) -> tuple[Array, Array]:
    """Return the same with the widths of the planner's intervals."""
    made = KnownCurves(history, examples, longest).intervals_at(points)
    ends = np.array([(made[p].low, made[p].mean, made[p].high) for p in points])
    low_M, mean_M, high_M = log_odds(ends.T, examples)
    return mean_M, (high_M - low_M) / (2 * REACH)


FORECASTERS: Mapping[str, Forecaster] = {
    "process": process_log_odds,
    "intervals": calibrated_log_odds,
    "LatentKroneckerGP": kronecker_log_odds,
}


def log_odds(accuracies: Any, examples: int) -> Array:
    """Return the log-odds of accuracies, half an example away from 0 and 1 at least."""
    inside = np.clip(accuracies, 0.5 / examples, 1 - 0.5 / examples)
    made: Array = np.log(inside / (1 - inside))
    return made


def first_rungs(world: Any) -> History:
    """Return the curves of candidates that fill the space, up to their first rungs."""
    terms = SearchTerms(**world.terms(1.0))
    order = space_filling_order(sorted(terms.horizons), world.seed)[:STARTERS]
    steps = {c: terms.snap(max(1, rung_rounds(terms.horizons[c], RUNGS[0]))) for c in order}
    return world.extend([Extension(c, rounds) for c, rounds in steps.items()])


def halved(world: Any) -> History:
    """Return the curves that a search by halving leaves."""
    made = STRATEGIES["halving"](*world.terms(EFFORT, world.seed).values())
    return search(made, world.extend)


CURVES: Mapping[str, Callable[[Any], History]] = {"first rungs": first_rungs, "halving": halved}


def requested_points(world: Any, history: History) -> list[Point]:
    """Return the ends of unfinished runs, and of some candidates that were not begun."""
    terms = SearchTerms(**world.terms(1.0))
    done = terms.finished_candidates(history)
    fresh = sorted(set(terms.horizons) - set(history))
    stream(world.seed, "fresh").shuffle(fresh)
    chosen = [*(c for c in sorted(history) if c not in done), *sorted(fresh[:FRESH])]
    return [(c, terms.horizon(c, world.curve(c, world.longest))) for c in chosen]


def scored(world: Any, history: History) -> list[Row]:
    """Return how far each forecaster is off, in accuracy points, and how sure it is."""
    points = requested_points(world, history)
    truth_M = np.array([end_truth(world, c, rounds) for c, rounds in points])
    ends_M = log_odds(truth_M, world.examples)
    rows = []
    for name, made in FORECASTERS.items():
        started = time.process_time()
        mean_M, sd_M = made(history, points, world.examples, world.longest)
        seconds = time.process_time() - started
        z_M = (ends_M - mean_M) / sd_M
        scores_M = -0.5 * z_M**2 - np.log(sd_M * math.sqrt(2 * math.pi))
        rows.append({
            "model": name,
            "points": len(points),
            "error": 100 * float(np.abs(1 / (1 + np.exp(-mean_M)) - truth_M).mean()),
            "held": float((np.abs(z_M) <= REACH).mean()),
            "log_score": float(scores_M.mean()),
            "seconds": seconds,
        })  # fmt: skip
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown table: a line for each family and set of curves, models side by side."""
    lines = []
    for family, curves in dict.fromkeys((r["family"], r["curves"]) for r in rows):
        mine = [r for r in rows if (r["family"], r["curves"]) == (family, curves)]
        by = {m: [r for r in mine if r["model"] == m] for m in FORECASTERS}

        def means(key: str, form: str, by: Mapping[str, Sequence[Row]] = by) -> str:
            return ", ".join(format(fmean(r[key] for r in some), form) for some in by.values())

        lines.append({
            "family": family,
            "curves": curves,
            "error (points)": means("error", ".1f"),
            "90 % intervals that hold": means("held", ".0%"),
            "log score": means("log_score", ".2f"),
            "seconds": means("seconds", ".2f"),
            "replays": len(by["process"]),
        })  # fmt: skip
    return table_of(lines)


def main() -> None:
    """Score the forecasts that are asked for; write forecasts.csv and print the table."""
    parser = argparse.ArgumentParser(description="Compare forecasts from the same curves.")
    parser.add_argument("--replays", type=int, default=8)
    parser.add_argument("--families", default=",".join(WORLDS), help="families, by commas")
    parser.add_argument("--draw", action="store_true", help="only print the table")
    chosen = parser.parse_args()
    texts = "family", "curves", "model"
    rows: list[Row] = []
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            rows = [
                {k: v if k in texts else float(v) for k, v in r.items()}
                for r in csv.DictReader(file)
            ]
    if not chosen.draw:
        families = chosen.families.split(",")
        rows = [r for r in rows if r["family"] not in families]
        for family in families:
            for curves, known in CURVES.items():
                for seed in range(FIRST_SEED, FIRST_SEED + chosen.replays):
                    world = WORLDS[family](seed)
                    place = {"family": family, "curves": curves, "seed": seed}
                    rows += [place | row for row in scored(world, known(world))]
        rows.sort(key=lambda r: list(WORLDS).index(r["family"]))
        with RESULTS.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            rounded = (
                {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in r.items()} for r in rows
            )
            writer.writerows(rounded)
    print(table(rows))


if __name__ == "__main__":
    main()
