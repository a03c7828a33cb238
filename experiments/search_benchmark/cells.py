"""Twelve other budgets and networks, answered from one search: data as CSV, and a table.

    python experiments/search_benchmark/cells.py             # minutes, one process
    python experiments/search_benchmark/cells.py --replays 5 --families regular
    python experiments/search_benchmark/cells.py --table     # from cells.csv alone

A race of 5 % of the grid's rounds searches for 50 dense rounds at an upload ratio of 16. What it
trained is then asked for the best within each of ``CELLS``, as ``floss-plan --also`` does and by
the same code (``planner/answers.py``). Horizons are by real bytes where rounds tell them. Regret is
against the best of all candidates in that cell, measured or not.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmark import FIRST_SEED, GOOD, WORLDS, Row, holds, peak_rounds, read, share, table_of
from worlds import Cell

from planner.answers import TELLING_ROUNDS
from planner.curves import History
from planner.decisions.further_seeds import rounds_for_seeds
from planner.decisions.stored_choice import best_early_stop, best_stored_candidate
from planner.forecasts.intervals import KnownCurves
from planner.search import DEFAULT_SEARCH, STRATEGIES, SearchTerms
from planner.search.strategy import search

HERE = Path(__file__).parent
RESULTS = HERE / "cells.csv"
EFFORT = 0.05
FAMILIES = [family for family in WORLDS if family != "chat"]  # 100 rounds tell of no longer budget
CELLS = (
    *(Cell(rounds, 16) for rounds in (10, 20, 30, 100)),
    *(Cell(50, ratio) for ratio in (1, 4, 64)),
    *(Cell(25, ratio) for ratio in (1, 4, 64)),
    Cell(10, 1),
    Cell(100, 4),
)


def searched(world: Any) -> History:
    """Return what a race leaves behind."""
    terms = world.terms(EFFORT, world.seed)
    whole = SearchTerms(**terms)
    effort = whole.effort - rounds_for_seeds(whole.effort, whole.horizons.values())
    return search(STRATEGIES[DEFAULT_SEARCH](*(terms | {"effort": effort}).values()), world.extend)


def answered(history: History, world: Any) -> Row:
    """Return what is best in a world's cell as far as a history tells."""
    terms = SearchTerms(**world.terms(EFFORT))
    real = {c: world.curve(c, curve.rounds).horizon for c, curve in history.items()}
    told = {c: real[c] for c, curve in history.items() if curve.rounds >= TELLING_ROUNDS}
    asked = {c: terms.snap(told.get(c, predicted)) for c, predicted in terms.horizons.items()}
    last = {c: terms.snap(min(curve.rounds, asked[c])) for c, curve in history.items()}
    fallen = peak_rounds(history, last, world.examples)
    asked |= fallen
    door = KnownCurves(history, world.examples, world.longest)
    known = door.intervals(asked)
    gone = {c: curve.rounds / asked[c] for c, curve in history.items() if c in asked}
    whole = {c: terms.nbytes[c] * fallen.get(c, h) / h for c, h in terms.horizons.items()}
    best = best_stored_candidate(known, whole, gone)
    early = {c: terms.snap(curve.rounds) for c, curve in history.items() if gone.get(c, 1) < 1}
    ends = door.intervals(early)
    nbytes = {c: terms.nbytes[c] * end / terms.horizons[c] for c, end in early.items()}
    stopped = best_early_stop(ends, nbytes, known[best])
    answer = stopped or best
    interval = ends[answer] if stopped else known[answer]
    end = early[answer] if stopped else fallen.get(answer)
    guesses = [c for c in known if known[c].kind == "forecast"]
    return {
        "dense_rounds": world.cell.dense_rounds,
        "upload_ratio": world.cell.upload_ratio,
        "regret": world.regret(answer, end),
        "kind": interval.kind,
        "held": int(holds(interval, world.truth(answer, end))),
        "forecasts": len(guesses),
        "forecasts_held": sum(holds(known[c], world.truth(c)) for c in guesses),
    }


def played(job: tuple[str, int]) -> list[Row]:
    """Return the rows of one search: one for each cell."""
    family, seed = job
    world = WORLDS[family](seed)
    history = searched(world)
    head = {"family": family, "seed": seed}
    return [head | answered(history, world.within(cell)) for cell in CELLS]


def summary(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield one row for each family and cell, and one for all cells of a family."""
    for family in WORLDS:
        mine = [row for row in rows if row["family"] == family]
        for cell in CELLS:
            at = (cell.dense_rounds, cell.upload_ratio)
            yield from _summary(
                [row for row in mine if (row["dense_rounds"], row["upload_ratio"]) == at],
                family, f"{cell.dense_rounds} dense rounds, ratio {cell.upload_ratio}",
            )  # fmt: skip
        yield from _summary(mine, family, "**all**")


def _summary(rows: Sequence[Row], family: str, cell: str) -> Iterator[Row]:
    if not rows:
        return
    regrets = [row["regret"] for row in rows]
    yield {
        "family": family,
        "cell": cell,
        "mean regret (points)": f"{fmean(regrets):.2f}",
        "worst": f"{max(regrets):.1f}",
        f"P(regret <= {GOOD})": f"{fmean(regret <= GOOD for regret in regrets):.2f}",
        "answers measured": f"{fmean(row['kind'] == 'measured' for row in rows):.0%}",
        "intervals that hold": f"{fmean(row['held'] for row in rows):.0%}",
        "forecasts that hold": f"{share(rows, 'forecasts_held', 'forecasts'):.0%}",
        "replays": len(rows),
    }


def main() -> None:
    """Replay what is asked for; write cells.csv and print the table."""
    parser = argparse.ArgumentParser(description="Answer other budgets from one search.")
    parser.add_argument("--replays", type=int, default=50)
    parser.add_argument("--families", default=",".join(FAMILIES), help="families, by commas")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only the table")
    chosen = parser.parse_args()
    rows = read(RESULTS, ("family", "kind"))
    if not chosen.table:
        families = chosen.families.split(",")
        rows = [row for row in rows if row["family"] not in families]
        seeds = range(FIRST_SEED, FIRST_SEED + chosen.replays)
        jobs = [(family, seed) for family in families for seed in seeds]
        with ProcessPoolExecutor(chosen.workers) as pool:
            rows += [row for found in pool.map(played, jobs) for row in found]
        _write(rows)
    print(table_of(list(summary(rows))))


def _write(rows: Sequence[Row]) -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            whole = {k: int(v) for k, v in row.items() if k not in ("family", "kind", "regret")}
            writer.writerow(row | whole | {"regret": f"{row['regret']:.4f}"})


if __name__ == "__main__":
    main()
