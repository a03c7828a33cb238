"""Every search strategy replayed on synthetic worlds: data as CSV, then table and figure.

    python experiments/search_benchmark/benchmark.py                  # some minutes, one process
    python experiments/search_benchmark/benchmark.py --replays 10 --only halving,asha
    python experiments/search_benchmark/benchmark.py --draw           # from results.csv alone

Each replay is a world and a search of its own seed; all strategies see the same ones. ``--only``
replaces what results.csv holds of these strategies and keeps the rest.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from worlds import FAMILIES, GRID_ROUNDS, World

from floss_sim.errors import ConfigError
from planner.search import Extension, History, search
from planner.strategies import STRATEGIES, Maker

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
EFFORTS = (0.01, 0.02, 0.05, 0.1)
WHOLE = 1.0  # the effort of a grid
FIRST_SEED = 10_000  # apart from those that the worlds were made with
GOOD = 0.5
Row = dict[str, Any]


class _Timed:
    """A strategy whose decisions are timed."""

    def __init__(self, make: Maker, terms: dict[str, Any]) -> None:
        started = time.perf_counter()
        self._strategy = make(*terms.values())
        self.seconds = time.perf_counter() - started

    def propose(self, history: History) -> Sequence[Extension]:
        started = time.perf_counter()
        proposals = self._strategy.propose(history)
        self.seconds += time.perf_counter() - started
        return proposals


def replay(make: Maker, world: World, effort: float) -> Row:
    """Return what a strategy finds in a world: regret in points, rounds, seconds of deciding."""
    strategy = _Timed(make, world.terms(effort, world.seed))
    history = search(strategy, world.extend)
    return {
        "regret": world.regret(world.recommended(history)),
        "rounds": sum(curve.rounds for curve in history.values()),
        "decision_s": strategy.seconds,
    }


def replays(names: Sequence[str], count: int) -> Iterator[Row]:
    """Yield one row for each replay of each strategy, family and effort."""
    for family in FAMILIES:
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            world = World(seed, family)
            for name in names:
                for effort in (WHOLE,) if name == "grid" else EFFORTS:
                    found = replay(STRATEGIES[name], world, effort)
                    key = {"family": family, "strategy": name, "effort": effort, "seed": seed}
                    yield key | found


def summary(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each family, effort and strategy, in this order."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["effort"], row["strategy"]), []).append(row)
    order = {name: position for position, name in enumerate(STRATEGIES)}
    keys = sorted(groups, key=lambda k: (FAMILIES.index(k[0]), k[1], order[k[2]]))
    return [_summary(key, groups[key]) for key in keys]


def _summary(key: tuple[Any, ...], rows: Sequence[Row]) -> Row:
    regrets = [row["regret"] for row in rows]
    return {
        "family": key[0],
        "effort": key[1],
        "strategy": key[2],
        "replays": len(rows),
        "regret": fmean(regrets),
        "error": stdev(regrets) / math.sqrt(len(rows)) if len(rows) > 1 else math.nan,
        "worst": max(regrets),
        "good": fmean(regret <= GOOD for regret in regrets),
        "rounds": fmean(row["rounds"] for row in rows) / GRID_ROUNDS,
        "decision_s": fmean(row["decision_s"] for row in rows),
    }


def table(rows: Sequence[Row]) -> str:
    """Return summaries as a Markdown table."""
    titles = (
        "family", "effort", "strategy", "mean regret (points)", "worst", f"P(regret <= {GOOD})",
        "rounds used", "deciding (s)", "replays",
    )  # fmt: skip
    lines = [" | ".join(titles), " | ".join("---" for _ in titles)]
    lines += [
        f"{r['family']} | {r['effort']:.0%} | {r['strategy']} | {r['regret']:.2f} ± "
        f"{r['error']:.2f} | {r['worst']:.1f} | {r['good']:.2f} | {r['rounds']:.2%} | "
        f"{r['decision_s']:.2g} | {r['replays']}"
        for r in rows
    ]
    return "\n".join(f"| {line} |" for line in lines)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw mean regret with its standard error against the effort, one panel a family."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, family in zip(figure.subplots(1, 2, sharey=True), FAMILIES, strict=True):
        mine = [row for row in rows if row["family"] == family]
        for position, name in enumerate(name for name in STRATEGIES if name != "grid"):
            line = [row for row in mine if row["strategy"] == name]
            shift = 1 + 0.015 * (position - 3)  # error bars beside each other
            axes.errorbar(
                [100 * row["effort"] * shift for row in line],
                [row["regret"] for row in line],
                [row["error"] for row in line],
                marker="o", markersize=4, capsize=2, label=name,
            )  # fmt: skip
        for row in (row for row in mine if row["strategy"] == "grid"):
            axes.axhline(row["regret"], color="black", linestyle=":", label="grid at 100 %")
        axes.set(xscale="log", yscale="log", title=f"{family} curves")
        axes.set_xticks([100 * e for e in EFFORTS], [f"{100 * e:g}" for e in EFFORTS])
        axes.set_yticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
        axes.minorticks_off()
        axes.set_xlabel("effort (% of the full grid's rounds)")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean regret (accuracy points)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=120)


def _read() -> list[Row]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        texts = ("family", "strategy")
        return [
            {k: v if k in texts else float(v) for k, v in r.items()} for r in csv.DictReader(file)
        ]


def _write(rows: Sequence[Row]) -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            rounded = {"regret": f"{row['regret']:.4f}", "decision_s": f"{row['decision_s']:.4f}"}
            writer.writerow(row | rounded | {k: int(row[k]) for k in ("seed", "rounds")})


def _installed(name: str) -> bool:
    try:
        replay(STRATEGIES[name], World(0, "regular"), WHOLE if name == "grid" else EFFORTS[0])
    except ConfigError as error:
        print(f"{name} is left out: {error}")
        return False
    return True


def main() -> None:
    """Replay what is asked for; write results.csv, the table of README.md and the figure."""
    parser = argparse.ArgumentParser(description="Replay search strategies on synthetic worlds.")
    parser.add_argument("--replays", type=int, default=50)
    parser.add_argument("--only", default=",".join(STRATEGIES), help="strategies, by commas")
    parser.add_argument("--draw", action="store_true", help="only table and figure")
    chosen = parser.parse_args()
    names = chosen.only.split(",")
    if unknown := set(names) - set(STRATEGIES):
        parser.error(f"unknown {', '.join(sorted(unknown))}; valid: {', '.join(STRATEGIES)}")
    rows = _read()
    if not chosen.draw:
        names = [name for name in names if _installed(name)]
        rows = [row for row in rows if row["strategy"] not in names]
        rows += replays(names, chosen.replays)
        _write(rows)
    made = summary(rows)
    print(table(made))
    readme = HERE / "README.md"
    head, _, _ = readme.read_text(encoding="utf-8").partition("## Results\n")
    readme.write_text(f"{head}## Results\n\n{table(made)}\n", encoding="utf-8")
    draw(made, HERE / "regret.png")


if __name__ == "__main__":
    main()
