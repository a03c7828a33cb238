"""Every search strategy replayed on synthetic worlds: data as CSV, then table and figure.

    python experiments/search_benchmark/benchmark.py                  # some minutes, one process
    python experiments/search_benchmark/benchmark.py --replays 10 --only halving,asha
    python experiments/search_benchmark/benchmark.py --draw           # from results.csv alone

Each replay is a world and a search of its own seed; all strategies see the same ones. What is
asked for by ``--only``, ``--families`` and ``--efforts`` replaces what results.csv holds of it; the
rest is kept.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from kronecker_search import KroneckerSearch, StoppingKroneckerSearch
from prior_curves import check_sampler
from recorded import SOURCES, Recorded
from worlds import FAMILIES, World

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.decisions.further_seeds import next_repeats, rounds_for_seeds, rounds_of_repeats
from planner.decisions.recommend import rank
from planner.forecasts.falls import peak_round
from planner.forecasts.intervals import Interval, KnownCurves
from planner.question.request import FURTHER_SEEDS
from planner.search import DEFAULT_SEARCH, SearchTerms, StrategyMaker
from planner.search import STRATEGIES as CHOICES
from planner.search.race import Race
from planner.search.strategy import Extension, search

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
EFFORTS = (0.01, 0.02, 0.05, 0.1)
WHOLE = 1.0  # the effort of a grid
FIRST_SEED = 10_000  # apart from those that the worlds were made with
GOOD = 0.5
SHOWN = 4  # runners-up whose intervals are judged
COUNTS = (
    "seed", "rounds", "intervals", "held", "own_held", "forecasts", "forecasts_held", "ends_held",
)  # fmt: skip
WORLDS: Mapping[str, Callable[[int], Any]] = {
    **{family: partial(World, family=family) for family in FAMILIES},
    **{n: partial(Recorded.read, n) for n, source in SOURCES.items() if source.path.exists()},
}
STRATEGIES: Mapping[str, StrategyMaker] = {
    **CHOICES,
    "botorch": KroneckerSearch,
    "botorch-stop": StoppingKroneckerSearch,
}
Row = dict[str, Any]
Job = tuple[str, str, float, int]


class _Timed:
    """A strategy whose decisions are timed, in seconds of the processor."""

    def __init__(self, make: StrategyMaker, terms: Mapping[str, Any]) -> None:
        started = time.process_time()
        self._strategy = make(*terms.values())
        self.seconds = time.process_time() - started

    def propose(self, history: History) -> Sequence[Extension]:
        started = time.process_time()
        proposals = self._strategy.propose(history)
        self.seconds += time.process_time() - started
        return proposals


def replay(make: StrategyMaker, world: Any, effort: float, again: bool = False) -> Row:
    """Return what a plan would recommend after a search in a world, and how sure it would be.

    Regret in points, rounds, seconds of deciding; of the recommendation and the runners-up, and of
    the forecasts of unfinished runs, how many intervals there were and how many held the truth;
    whether the recommendation's own did, and how many points it expects above what is true. What
    is true of a forecast is the accuracy at the horizon; for ``ends_held`` it is :func:`end_truth`.

    Args:
        make: Makes the strategy.
        world: Has the attributes of :class:`worlds.World`.
        effort: Fraction of the grid's rounds.
        again: Whether effort is kept for running finalists again, as a plan does for the race.
    """
    whole = SearchTerms(**world.terms(effort, world.seed))
    kept = rounds_for_seeds(whole.effort, whole.horizons.values()) if again else 0
    terms = world.terms(effort, world.seed) | {"effort": whole.effort - kept}
    strategy = _Timed(make, terms)
    history = search(strategy, world.extend)
    started = time.process_time()
    if again:
        history = searched_on(make(*terms.values()), whole, history, world)
    asked, fallen = ends(whole, history, world.examples)
    spent = sum(curve.rounds for curve in history.values())
    door = KnownCurves(history, world.examples, world.longest)
    known = door.intervals(asked)
    finished = whole.finished_candidates(history)
    done = {c: known[c] for c in finished}
    others: dict[Candidate, list[Curve]] = {}
    while again:
        tried = {c: len(curves) for c, curves in others.items()}
        told = next_repeats(done, tried, asked, whole.effort - spent)
        if not told:
            break
        for c in told:
            others.setdefault(c, []).append(world.again(1 + tried.get(c, 0)).curve(c, asked[c]))
        spent += sum(asked[c] for c in told)
        known = replace(door, again=others).intervals(asked)
        done = {c: known[c] for c in finished}
    nbytes = {c: whole.nbytes[c] * fallen.get(c, h) / h for c, h in whole.horizons.items()}
    first, *others = rank(done, nbytes).order
    shown = [first, *others[:SHOWN]]
    forecast = [c for c in known if c not in done]
    return {
        "regret": world.regret(first, fallen.get(first)),
        "rounds": spent,
        "decision_s": strategy.seconds + time.process_time() - started,
        "intervals": len(shown),
        "held": sum(holds(known[c], world.truth(c, fallen.get(c))) for c in shown),
        "own_held": int(holds(known[first], world.truth(first, fallen.get(first)))),
        "bias": 100 * (known[first].mean - world.truth(first, fallen.get(first))),
        "forecasts": len(forecast),
        "forecasts_held": sum(holds(known[c], world.truth(c)) for c in forecast),
        "ends_held": sum(holds(known[c], end_truth(world, c, asked[c])) for c in forecast),
    }


def searched_on(race: Any, whole: SearchTerms, history: History, world: Any) -> History:
    """Return what a race knows that has gone on in the rounds that further seeds will not need.

    That is what a plan does (``planner/planning.py``), which has baselines besides.

    Args:
        race: The race, made without the rounds that are kept for seeds; other searches end.
        whole: Inputs of the search, with its whole effort.
        history: What it knows at its end.
        world: Has the attributes of :class:`worlds.World`.
    """
    history = dict(history)
    if not isinstance(race, Race) or race.has_little_to_gain(history):
        return history
    while True:
        asked, _ = ends(whole, history, world.examples)
        known = KnownCurves(history, world.examples, world.longest).intervals(asked)
        done = {c: known[c] for c in whole.finished_candidates(history)}
        left = whole.effort - sum(curve.rounds for curve in history.values())
        needed = rounds_of_repeats(done, {}, asked, left)
        repeats = FURTHER_SEEDS if needed else 0
        if not (told := race.further_extensions(history, whole.effort - needed, repeats)):
            break
        history |= world.extend(told)
    return history


def ends(
    terms: SearchTerms, history: History, examples: int
) -> tuple[dict[Candidate, int], dict[Candidate, int]]:
    """Return the round by which each run is judged, and those of them at which runs fell."""
    asked = {c: terms.horizon(c, curve) for c, curve in history.items()}
    finished = terms.finished_candidates(history)
    asked |= {c: min(history[c].rounds, asked[c]) for c in finished}
    fallen = peak_rounds(history, {c: asked[c] for c in finished}, examples)
    return asked | fallen, fallen


def holds(interval: Interval, truth: float) -> bool:
    """Return whether an interval holds what is true."""
    return interval.low <= truth <= interval.high


def end_truth(world: Any, candidate: Candidate, rounds: int) -> float:
    """Return what is true of a run where it would end: where it was best, if it falls by then."""
    return float(world.truth(candidate, peak_round(world.curve(candidate, rounds), world.examples)))


def peak_rounds(
    history: History, ends: Mapping[Candidate, int], examples: int
) -> dict[Candidate, int]:
    """Return the rounds at which those runs end whose accuracy fell by a given round."""
    peaks = {c: peak_round(history[c].until(end), examples) for c, end in ends.items()}
    return {c: peak for c, peak in peaks.items() if peak}


def jobs(
    names: Sequence[str],
    families: Sequence[str],
    count: int,
    efforts: Sequence[float] = EFFORTS,
) -> Iterator[Job]:
    """Yield what is replayed: of each strategy, family and effort, ``count`` seeds."""
    for family in families:
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            for name in names:
                for effort in (WHOLE,) if name == "grid" else efforts:
                    yield name, family, effort, seed


def played(job: Job) -> Row:
    """Return the row of one replay."""
    name, family, effort, seed = job
    found = replay(STRATEGIES[name], WORLDS[family](seed), effort, name == DEFAULT_SEARCH)
    return {"family": family, "strategy": name, "effort": effort, "seed": seed} | found


def summary(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each family, effort and strategy, in this order."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["effort"], row["strategy"]), []).append(row)
    order = {name: position for position, name in enumerate(STRATEGIES)}
    keys = sorted(groups, key=lambda k: (list(WORLDS).index(k[0]), k[1], order[k[2]]))
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
        "rounds": fmean(row["rounds"] for row in rows) / WORLDS[key[0]](0).grid_rounds,
        "held": share(rows, "held", "intervals"),
        "own_held": fmean(row["own_held"] for row in rows),
        "bias": fmean(row["bias"] for row in rows),
        "forecasts_held": share(rows, "forecasts_held", "forecasts"),
        "ends_held": share(rows, "ends_held", "forecasts"),
        "decision_s": fmean(row["decision_s"] for row in rows),
    }


def share(rows: Sequence[Row], part: str, whole: str) -> float:
    """Return the share of one count in another, over rows; NaN of none."""
    count = sum(row[whole] for row in rows)
    return sum(row[part] for row in rows) / count if count else math.nan


def table(rows: Sequence[Row]) -> str:
    """Return summaries as a Markdown table."""
    return table_of(
        [
            {
                "family": r["family"],
                "effort": f"{r['effort']:.0%}",
                "strategy": r["strategy"],
                "mean regret (points)": f"{r['regret']:.2f} ± {r['error']:.2f}",
                "worst": f"{r['worst']:.1f}",
                f"P(regret <= {GOOD})": f"{r['good']:.2f}",
                "intervals that hold": f"{r['held']:.0%}",
                "the recommendation's": _percent(r["own_held"]),
                "its bias (points)": "-" if math.isnan(r["bias"]) else f"{r['bias']:+.2f}",
                "forecasts that hold": _percent(r["forecasts_held"]),
                "where runs would end": _percent(r["ends_held"]),
                "rounds used": f"{r['rounds']:.2%}",
                "deciding (s)": f"{r['decision_s']:.2g}",
                "replays": r["replays"],
            }
            for r in rows
        ]
    )


def table_of(rows: Sequence[Row]) -> str:
    """Return rows of the same keys as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(map(str, r.values())) for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.0%}"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw mean regret with its standard error against the effort, one panel a family."""
    from matplotlib.figure import Figure

    shown = [family for family in WORLDS if any(row["family"] == family for row in rows)]
    figure = Figure(figsize=(2 + 4.5 * len(shown), 4.5), layout="constrained")
    for axes, family in zip(
        figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown, strict=True
    ):
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
        axes.set(xscale="log", title=_title(family))
        axes.set_yscale("symlog", linthresh=0.2, linscale=0.3)  # a mean may be below 0
        axes.set_xticks([100 * e for e in EFFORTS], [f"{100 * e:g}" for e in EFFORTS])
        ticks = [-0.5, 0, 0.2, 0.5, 1, 2, 5, 10]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("effort (% of the full grid's rounds)")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean regret (accuracy points)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside right center", fontsize="small", title="bars: standard error"
    )
    figure.savefig(path, dpi=120)


def _title(family: str) -> str:
    return f"{family}, recorded" if family in SOURCES else f"{family} curves"


def read(path: Path, texts: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV, numbers but for some columns; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {k: v if k in texts else float(v or "nan") for k, v in r.items()}
            for r in csv.DictReader(file)
        ]


def _write(rows: Sequence[Row]) -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            rounded = {k: f"{row[k]:.4f}" for k in ("regret", "decision_s")}
            rounded["bias"] = "" if math.isnan(row["bias"]) else f"{row['bias']:.4f}"
            counts = {k: "" if math.isnan(row[k]) else int(row[k]) for k in COUNTS}
            writer.writerow(row | rounded | counts)


def _available_families() -> list[str]:
    """Return the families whose curves are here; print what is left out and why."""
    for source in SOURCES.values():
        if not source.path.exists():
            print(f"recorded curves are left out: there is no {source.path}")
    try:
        check_sampler()
    except ConfigError as error:
        print(f"left out: {error}")
        return [family for family in WORLDS if family != "prior"]
    return list(WORLDS)


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
    parser.add_argument("--families", default=",".join(WORLDS), help="families, by commas")
    parser.add_argument("--efforts", default=",".join(map(str, EFFORTS)), help="by commas")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default=",".join(STRATEGIES), help="strategies, by commas")
    parser.add_argument("--draw", action="store_true", help="only table and figure")
    chosen = parser.parse_args()
    names = chosen.only.split(",")
    if unknown := set(names) - set(STRATEGIES):
        parser.error(f"unknown {', '.join(sorted(unknown))}; valid: {', '.join(STRATEGIES)}")
    rows = read(RESULTS, ("family", "strategy"))
    if not chosen.draw:
        names = [name for name in names if _installed(name)]
        if unknown := set(chosen.families.split(",")) - set(WORLDS):
            parser.error(f"unknown {', '.join(sorted(unknown))}; valid: {', '.join(WORLDS)}")
        available = _available_families()
        families = [family for family in chosen.families.split(",") if family in available]
        efforts = [float(text) for text in chosen.efforts.split(",")]
        asked = list(jobs(names, families, chosen.replays, efforts))
        anew = {job[:3] for job in asked}
        rows = [r for r in rows if (r["strategy"], r["family"], r["effort"]) not in anew]
        with ProcessPoolExecutor(chosen.workers) as pool:
            rows += pool.map(played, asked, chunksize=4)
        _write(rows)
    made = summary(rows)
    print(table(made))
    readme = HERE / "README.md"
    head, _, _ = readme.read_text(encoding="utf-8").partition("## Results\n")
    readme.write_text(f"{head}## Results\n\n{table(made)}\n", encoding="utf-8")
    draw(made, HERE / "regret.png")


if __name__ == "__main__":
    main()
