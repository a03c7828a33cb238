"""Regret of the race against its effort, from a quarter of a run to the whole grid.

    python experiments/search_benchmark/efforts.py                  # hours, one process
    python experiments/search_benchmark/efforts.py --families chat --replays 5
    python experiments/search_benchmark/efforts.py --draw           # from efforts.csv alone

``STEPS`` efforts in rounds, equally far apart in their logarithm, begin at a quarter of the longest
run and end at the whole grid. At every effort the same seeds are replayed, so that differences
between efforts are paired. Families that are asked for replace what efforts.csv holds of them.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from benchmark import FIRST_SEED, STRATEGIES, WORLDS, Row, read, replay, table_of

from planner.search import DEFAULT_SEARCH

HERE = Path(__file__).parent
RESULTS = HERE / "efforts.csv"
STEPS = 20
REPLAYS = {"digits": 6, "chat": 20, "regular": 6, "ill": 6, "crossing": 6, "prior": 3}
RECORDED_SEEDS = {"digits": 3, "chat": 2}  # worlds among which the replays of a family choose
SHORTEST = 1 / 4  # fraction of the longest run


def efforts(family: str) -> list[int]:
    """Return the efforts of a family in rounds."""
    world = WORLDS[family](0)
    return [math.ceil(e) for e in np.geomspace(SHORTEST * world.longest, world.grid_rounds, STEPS)]


def played(job: tuple[str, int, int]) -> Row:
    """Return the row of one replay."""
    family, effort, seed = job
    world = WORLDS[family](seed)
    found = replay(STRATEGIES[DEFAULT_SEARCH], world, effort / world.grid_rounds, again=True)
    row = {"family": family, "effort": effort, "grid": world.grid_rounds, "seed": seed}
    return row | {"rounds": found["rounds"], "regret": found["regret"]}


def summary(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield a row for each family and effort, in this order.

    ``rise`` is the mean regret less that of the best smaller effort, and ``rise_error`` the
    standard error of this difference, paired by seed. A larger effort may have fewer of the seeds
    than the smaller ones. Replays of a recorded grid that show one recorded seed err alike: the
    error is then at least that of the means of these seeds.
    """
    for family in REPLAYS:
        before: list[dict[int, float]] = []
        for effort in sorted({row["effort"] for row in rows if row["family"] == family}):
            mine = [row for row in rows if (row["family"], row["effort"]) == (family, effort)]
            mine.sort(key=lambda row: row["seed"])
            regrets = {row["seed"]: row["regret"] for row in mine}
            best = min(before, key=lambda one: fmean(one[s] for s in regrets), default=regrets)
            rises = [regret - best[seed] for seed, regret in regrets.items()]
            before.append(regrets)
            yield {
                "family": family,
                "effort": effort,
                "share": effort / mine[0]["grid"],
                "regret": fmean(regrets.values()),
                "error": _clustered_error(list(regrets.values()), family),
                "worst": max(regrets.values()),
                "rise": fmean(rises),
                "rise_error": _clustered_error(rises, family),
                "used": fmean(row["rounds"] for row in mine) / effort,
                "replays": len(mine),
            }


def _clustered_error(values: Sequence[float], family: str) -> float:
    """Return the standard error of a mean of replays whose seeds are consecutive."""
    worlds = RECORDED_SEEDS.get(family, len(values))
    means = [fmean(values[first::worlds]) for first in range(min(worlds, len(values)))]
    return max(_error(values), _error(means))


def _error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def table(made: Sequence[Row]) -> str:
    """Return one row an effort, with rounds and regret of each family, as a Markdown table."""
    families = [family for family in REPLAYS if any(r["family"] == family for r in made)]
    columns = {family: [r for r in made if r["family"] == family] for family in families}
    cells = {f: [*map(_cell, column), *[""] * STEPS] for f, column in columns.items()}
    return table_of([{f: cells[f][step] for f in families} for step in range(STEPS)])


def _cell(row: Row) -> str:
    return f"{row['effort']:.0f}: {row['regret']:.2f} ± {row['error']:.2f}, {row['used']:.0%}"


def largest_rises(made: Sequence[Row]) -> str:
    """Return, for each family, the rise that is largest in its own standard errors."""
    lines = []
    for family in REPLAYS:
        rises = [r for r in made if r["family"] == family and r["rise_error"] > 0]
        if rises:
            r = max(rises, key=lambda r: r["rise"] / r["rise_error"])
            lines.append(
                f"{family}: {r['rise']:+.2f} ± {r['rise_error']:.2f} points at "
                f"{r['effort']:.0f} rounds"
            )
    return "; ".join(lines)


def draw(made: Sequence[Row], path: Path) -> None:
    """Draw mean regret with its standard error against the share of the grid's rounds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for position, family in enumerate(REPLAYS):
        line = [row for row in made if row["family"] == family]
        if not line:
            continue
        axes.errorbar(
            [100 * row["share"] * (1 + 0.02 * (position - 2)) for row in line],
            [row["regret"] for row in line],
            [row["error"] for row in line],
            marker="o", markersize=4, capsize=2,
            label=f"{family}, {_replay_counts(line)} replays",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=0.2, linscale=0.3)
    axes.set_xticks([0.1, 0.3, 1, 3, 10, 30, 100], ["0.1", "0.3", "1", "3", "10", "30", "100"])
    ticks = [-1, -0.5, -0.2, 0, 0.2, 0.5, 1, 2, 5, 10, 20]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("effort (% of the full grid's rounds)")
    axes.set_ylabel("mean regret of the race (accuracy points)")
    axes.grid(alpha=0.3)
    axes.set_title("The race at growing effort: accuracy lost against the best candidate")
    axes.legend(fontsize="small", title="bars: standard error")
    figure.savefig(path, dpi=120)


def _replay_counts(line: Sequence[Row]) -> str:
    """Return the most and the fewest replays of a family's efforts, such as "6 to 2"."""
    counts = [row["replays"] for row in line]
    return f"{max(counts)} to {min(counts)}" if max(counts) > min(counts) else f"{max(counts)}"


def _write(rows: Sequence[Row]) -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            counts = {k: int(row[k]) for k in ("effort", "grid", "seed", "rounds")}
            writer.writerow(row | counts | {"regret": f"{row['regret']:.4f}"})


def main() -> None:
    """Replay what is asked for; write efforts.csv and the figure, and print the table."""
    parser = argparse.ArgumentParser(description="Replay the race at many efforts.")
    parser.add_argument("--replays", type=int, help="by default as many as the table has")
    parser.add_argument("--families", default=",".join(REPLAYS), help="families, by commas")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--draw", action="store_true", help="only table and figure")
    chosen = parser.parse_args()
    rows = read(RESULTS, ("family",))
    if not chosen.draw:
        families = [f for f in chosen.families.split(",") if f in WORLDS]
        rows = [row for row in rows if row["family"] not in families]
        jobs = [
            (family, effort, FIRST_SEED + number)
            for family in families
            for effort in efforts(family)
            for number in range(chosen.replays or REPLAYS[family])
        ]
        with ProcessPoolExecutor(chosen.workers) as pool:
            rows += pool.map(played, jobs)
        _write(rows)
    made = list(summary(rows))
    print(f"{table(made)}\n\nLargest rises: {largest_rises(made)}.")
    draw(made, HERE / "efforts.png")


if __name__ == "__main__":
    main()
