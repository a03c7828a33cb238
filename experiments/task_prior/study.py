"""The prior over tasks, left one task out: what it forecasts untrained, and what it gives searches.

    python experiments/task_prior/study.py            # some minutes; goes on where it stopped
    python experiments/task_prior/study.py --write    # and writes the packaged prior and results

For each recorded grid, a prior is learned without it: without all grids of its family (of its
backbone), as `floss-plan` does, and without the grid alone. `untrained.csv` has a row for each
grid, prior, budget and upload ratio; `replays.csv` has one for each replayed race.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd
from evidence import learn
from grids import Grid, GridWorld, read_grids
from matplotlib.figure import Figure
from replays import replay

from floss_sim.errors import BudgetError
from floss_sim.plots.figure import save
from planner.forecasts.forecast import prior_weight
from planner.forecasts.prior_file import PACKAGED, read_prior, write_prior
from planner.forecasts.task_prior import GridPrior, LeftOut, TaskPrior

HERE = Path(__file__).parent
CELLS = tuple(product((0.5, 1.0), (1.0, 4.0, 16.0)))  # shares of the budget, upload ratios
EFFORTS = (0.01, 0.02, 0.05, 0.2)
SEEDS = (0,)
LEVEL = 0.9
Row = dict[str, Any]


def main() -> None:
    """Bring both tables up to date; with ``--write`` the prior, the summary and the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    grids = read_grids()
    priors = {(grid.name, how): _prior_without(grid, how) for grid in grids for how in HOW}
    _extend(HERE / "untrained.csv", _untrained_jobs(grids, priors))
    _extend(HERE / "replays.csv", _replay_jobs(grids, priors))
    if write:
        untrained, replays = (pd.read_csv(HERE / f"{n}.csv") for n in ("untrained", "replays"))
        made = replace(learned(grids), replays=left_out(untrained, replays))
        write_prior(made, PACKAGED)
        save(figure(untrained, replays), HERE / "regret.png")
        weights = [whole_grid_weight(grid, priors[grid.name, "family"]) for grid in grids]
        told = ", ".join(f"{w:.2f} ({g.name})" for w, g in zip(weights, grids, strict=True))
        text = f"{summary(untrained, replays)}\nWeights by whole grids: {told}.\n"
        (HERE / "results.md").write_text(text, encoding="utf-8")


HOW: Mapping[str, Callable[[Grid, Grid], bool]] = {
    "family": lambda one, other: one.backbone == other.backbone,
    "grid": lambda one, other: one.name == other.name,
}


def learned(grids: Sequence[Grid]) -> GridPrior:
    """Return the prior by some grids, kept in ``runs/task_prior``."""
    place = HERE.parents[1] / "runs" / "task_prior" / f"{'+'.join(g.name for g in grids)}.json"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_prior(learn(grids), place)
    return read_prior(place)


def _prior_without(grid: Grid, how: str) -> GridPrior:
    return learned([other for other in read_grids() if not HOW[how](grid, other)])


def task_prior(prior: GridPrior, grid: Grid) -> TaskPrior:
    """Return a prior for a grid's task; what it leaves out was left out before."""
    return TaskPrior(prior, grid.chance, grid.layers)


def _extend(path: Path, jobs: Iterator[tuple[Row, Callable[[], Row]]]) -> None:
    """Append the rows of jobs that a table lacks."""
    done = set()
    if path.exists():
        with path.open(encoding="utf-8") as file:
            done = {tuple(row[k] for k in KEYS) for row in csv.DictReader(file)}
    for key, job in jobs:
        if tuple(str(key[k]) for k in KEYS) in done:
            continue
        row = key | job()
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


KEYS = ("grid", "left_out", "share", "ratio", "effort", "seed")


def _untrained_jobs(
    grids: Sequence[Grid], priors: Mapping[tuple[str, str], GridPrior]
) -> Iterator[tuple[Row, Callable[[], Row]]]:
    for (grid, how), (share, ratio) in product(product(grids, HOW), CELLS):
        key = dict(zip(KEYS, (grid.name, how, share, ratio, 0.0, 0), strict=True))
        told = task_prior(priors[grid.name, how], grid)
        yield key, partial(untrained_row, GridWorld(grid, 0, share, ratio), told)


def untrained_row(world: GridWorld, prior: TaskPrior) -> Row:
    """Return how good a prior's favourite is in points, and how many intervals hold."""
    horizons = dict(world.horizons)
    ends = [prior.interval((c, rounds), LEVEL) for c, rounds in horizons.items()]
    truths = [world.truth(c) for c in horizons]
    held = [low <= truth <= high for (low, _, high), truth in zip(ends, truths, strict=True)]
    favourite = prior.order(horizons)[0]
    dense = min(horizons, key=lambda c: (-c.down_density * c.up_density, abs(c.rank - 16)))
    return {
        "regret": 100 * (world.best - world.truth(favourite)),
        "median_regret": 100 * (world.best - median(truths)),
        "dense_regret": 100 * (world.best - world.truth(dense)),
        "held": fmean(held),
        "width": fmean(high - low for low, _, high in ends),
        "favourite": str(favourite),
    }


def _replay_jobs(
    grids: Sequence[Grid], priors: Mapping[tuple[str, str], GridPrior]
) -> Iterator[tuple[Row, Callable[[], Row]]]:
    for effort, how, grid, (share, ratio), seed in product(
        EFFORTS, ("family", "none"), grids, CELLS, SEEDS
    ):
        key = dict(zip(KEYS, (grid.name, how, share, ratio, effort, seed), strict=True))
        told = None if how == "none" else task_prior(priors[grid.name, how], grid)
        yield key, partial(_replay_row, GridWorld(grid, seed, share, ratio), effort, told)


def _replay_row(world: GridWorld, effort: float, prior: TaskPrior | None) -> Row:
    try:
        return replay(world, effort, prior)
    except BudgetError:  # the effort finishes no run: a plan is refused
        return {"regret": math.nan, "held": math.nan, "weight": math.nan, "rounds": 0}


def whole_grid_weight(grid: Grid, prior: GridPrior) -> float:
    """Return the weight that all curves of a grid give a prior, where it is free to move."""
    world, free = GridWorld(grid, 0), replace(prior, weight_sd=10.0)
    history = {c: world.curve(c, rounds) for c, rounds in world.horizons.items()}
    return prior_weight(history, grid.examples, grid.longest, task_prior(free, grid))


def left_out(untrained: pd.DataFrame, replays: pd.DataFrame) -> tuple[LeftOut, ...]:
    """Return mean and worst regret over tasks at each effort, of plans with a prior."""
    both = pd.concat([untrained, replays]).query("left_out == 'family'").dropna(subset="regret")
    of_task = both.groupby(["effort", "grid"])["regret"].mean()
    by_effort = of_task.groupby("effort").agg(["mean", "max"])
    return tuple(
        LeftOut(float(e), round(float(row["mean"]), 3), round(float(row["max"]), 3))
        for e, row in by_effort.iterrows()
    )


def summary(untrained: pd.DataFrame, replays: pd.DataFrame) -> str:
    """Return both tables in Markdown."""
    lines = [
        "| grid | left out | regret of the favourite, worst cell | of the median candidate "
        "| of dense rank 16 | intervals that hold | width |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (grid, how), rows in untrained.groupby(["grid", "left_out"], sort=False):
        mean = rows.mean(numeric_only=True)
        lines.append(
            f"| {grid} | {how} | {mean['regret']:.2f}, {rows['regret'].max():.2f} "
            f"| {mean['median_regret']:.2f} | {mean['dense_regret']:.2f} | {mean['held']:.0%} "
            f"| {mean['width']:.2f} |"
        )
    lines += [
        "",
        "| effort | grid | regret without a prior, worst | with it, worst | intervals that hold "
        "| weight | replays |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    key = ["effort", "grid", "share", "ratio", "seed"]
    figures = ["regret", "held", "weight"]
    pairs = replays.pivot_table(index=key, columns="left_out", values=figures).dropna()
    for effort, of_effort in pairs.groupby("effort", sort=False):
        for grid, rows in [*of_effort.groupby("grid", sort=False), ("**all**", of_effort)]:
            plain, told = rows["regret"]["none"], rows["regret"]["family"]
            lines.append(
                f"| {effort:.0%} | {grid} | {plain.mean():.2f}, {plain.max():.2f} "
                f"| {told.mean():.2f}, {told.max():.2f} "
                f"| {rows['held']['family'].mean():.0%} | {rows['weight']['family'].mean():.2f} "
                f"| {len(rows)} |"
            )
    return "\n".join(lines) + "\n"


def figure(untrained: pd.DataFrame, replays: pd.DataFrame) -> Figure:
    """Return regret and weight against effort, a colour for each grid."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    both = pd.concat([untrained, replays]).dropna(subset="regret")
    for number, grid in enumerate(dict.fromkeys(both["grid"])):
        own = both[both["grid"] == grid].groupby(["left_out", "effort"])
        regret, weight = own["regret"].mean(), own["weight"].mean()
        colour = f"C{number}"
        told = regret["family"]
        left.plot(range(len(told)), told, "o-", color=colour, label=grid)
        plain = regret["none"]
        left.plot(range(1, 1 + len(plain)), plain, "x--", color=colour)
        shown = weight["family"].dropna()
        right.plot(range(1, 1 + len(shown)), shown, "o-", color=colour, label=grid)
    efforts = [0.0, *EFFORTS]
    for ax in (left, right):
        ax.set_xticks(range(len(efforts)), [f"{e:.0%}" for e in efforts])
        ax.set_xlabel("effort (share of the rounds of all candidates)")
        ax.grid(alpha=0.3)
    left.set_ylabel("regret (points), mean of budgets, ratios, seeds")
    left.set_title("with the prior (line), without (dashed)")
    left.set_ylim(bottom=0)
    right.set_ylabel("weight of the prior at the end")
    right.set_title("1: as on other tasks; 0: not at all")
    left.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
