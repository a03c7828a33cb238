"""The race and the asynchronous race on simulated workers: data as CSV, then table and figure.

    python experiments/search_benchmark/simulated_workers.py             # half an hour, one process
    python experiments/search_benchmark/simulated_workers.py --families ill --worlds 2
    python experiments/search_benchmark/simulated_workers.py --draw      # from the CSV files alone

A round takes ``CONSTANT_S`` plus rank / ``RANKS_PER_S`` seconds, times a log-normal factor of each
extension. A worker trains one run at a time. The race waits for the slowest of each batch, whose
runs are given to workers longest first; the asynchronous race decides each time that a worker is
free. Nothing is trained, and deciding takes no simulated time. Both search with the whole effort,
without further seeds.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from benchmark import FIRST_SEED, WORLDS, Row, ends, read, table_of

from floss_sim.rng import stream
from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.decisions.recommend import rank
from planner.forecasts.intervals import KnownCurves
from planner.search import STRATEGIES, SearchTerms
from planner.search.async_race import AsyncRace
from planner.search.async_strategy import AsyncSearch, FreeWorkers
from planner.search.strategy import Extension, search

HERE = Path(__file__).parent
RESULTS, TRACES = HERE / "workers.csv", HERE / "workers_traces.csv"
TEXTS = ("family", "search")
FAMILIES = ("regular", "ill", "crossing")
WORKERS = (1, 4, 16, 64, 256)  # the most only in the first world of each family
TRACED = (1, 16)  # numbers of workers of which regret is traced over time
EFFORT = 0.5  # fraction of the grid's rounds
CONSTANT_S, RANKS_PER_S = 0.5, 32.0
SPREAD = 0.3  # deviation of the logarithm of an extension's seconds
NEAR = 0.1  # points: regrets that are called the same


def round_s(candidate: Candidate) -> float:
    """Return the median seconds of a candidate's round."""
    return CONSTANT_S + candidate.rank / RANKS_PER_S


def extension_s(seed: int, extension: Extension, before: int) -> float:
    """Return the seconds in which a worker extends a run that has ``before`` rounds."""
    c = extension.candidate
    name = (c.rank, round(1 / c.down_density), round(1 / c.up_density), extension.rounds)
    luck = math.exp(SPREAD * float(stream(seed, "extension", *name).standard_normal()))
    return (extension.rounds - before) * round_s(c) * luck


@dataclass
class Trace:
    """What a search had trained, by simulated time.

    Attributes:
        busy_s: Seconds in which workers trained, over all workers.
        end_s: Seconds until the last answer.
        known: Instants at which runs had finished, each with the curves known then.
    """

    busy_s: float = 0.0
    end_s: float = 0.0
    known: list[tuple[float, History]] = field(default_factory=list)


class Batches:
    """Trains batches on simulated workers, of several numbers of workers at once."""

    def __init__(self, world: Any, terms: SearchTerms, counts: Sequence[int]) -> None:
        self.traces = {workers: Trace() for workers in counts}
        self._world, self._terms = world, terms
        self._history: dict[Candidate, Curve] = {}

    def extend(self, proposals: Sequence[Extension]) -> History:
        """Return the curves of a batch; the workers wait for its slowest run."""
        before = {p.candidate: self._history.get(p.candidate, Curve()).rounds for p in proposals}
        took = [extension_s(self._world.seed, p, before[p.candidate]) for p in proposals]
        made = self._world.extend(proposals)
        finished = self._terms.finished_candidates(self._history)
        self._history |= made
        news = self._terms.finished_candidates(self._history) != finished
        for workers, trace in self.traces.items():
            trace.busy_s += sum(took)
            trace.end_s += batch_s(took, workers)
            if news:
                trace.known.append((trace.end_s, dict(self._history)))
        return made


def batch_s(took: Sequence[float], workers: int) -> float:
    """Return the seconds of a batch whose runs are given to free workers, longest first."""
    free = [0.0] * min(workers, len(took))
    for seconds in sorted(took, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


class Workers:
    """Trains the runs of an asynchronous search on simulated workers."""

    def __init__(self, world: Any, terms: SearchTerms) -> None:
        self.trace = Trace()
        self._world, self._terms = world, terms
        self._history: dict[Candidate, Curve] = {}
        self._queue: list[tuple[float, int, Extension]] = []
        self._begun = 0

    def begin(self, extension: Extension) -> None:
        """Begin to train a run at the present instant."""
        before = self._history.get(extension.candidate, Curve()).rounds
        seconds = extension_s(self._world.seed, extension, before)
        self._begun += 1
        self.trace.busy_s += seconds
        heapq.heappush(self._queue, (self.trace.end_s + seconds, self._begun, extension))

    def answers(self) -> History:
        """Return the curve of the run that ends next, and go on to its end."""
        self.trace.end_s, _, extension = heapq.heappop(self._queue)
        made = self._world.extend([extension])
        finished = self._terms.finished_candidates(self._history)
        self._history |= made
        if self._terms.finished_candidates(self._history) != finished:
            self.trace.known.append((self.trace.end_s, dict(self._history)))
        return made


def regret(world: Any, terms: SearchTerms, history: History) -> float:
    """Return how many points the run that a plan would recommend is below the best."""
    asked, fallen = ends(terms, history, world.examples)
    finished = terms.finished_candidates(history)
    known = KnownCurves(history, world.examples, world.longest).intervals(asked)
    nbytes = {c: terms.nbytes[c] * fallen.get(c, h) / h for c, h in terms.horizons.items()}
    best = rank({c: known[c] for c in finished}, nbytes).order[0]
    return float(world.regret(best, fallen.get(best)))


def played(
    family: str, seed: int, effort: float, counts: Sequence[int]
) -> Iterator[tuple[Row, list[Row]]]:
    """Yield the row and the trace of each search of a world, by each number of workers."""
    world = WORLDS[family](seed)
    terms = SearchTerms(**world.terms(effort, seed))
    made = world.terms(effort, seed).values()
    began_s = time.process_time()
    batches = Batches(world, terms, counts)
    history = search(STRATEGIES["race"](*made), batches.extend)
    took_s = time.process_time() - began_s
    told = {}
    for workers, trace in batches.traces.items():
        head = {"family": family, "seed": seed, "effort": effort, "search": "race"}
        yield _rows(head | {"workers": workers}, world, terms, history, trace, took_s, told)
    for workers in counts:
        began_s = time.process_time()
        runs = Workers(world, terms)
        strategy = AsyncRace(*made, workers=workers)
        searched = AsyncSearch(strategy, runs, FreeWorkers(workers))
        history = searched.finish()
        took_s = time.process_time() - began_s
        head = {"family": family, "seed": seed, "effort": effort, "search": "async-race"}
        yield _rows(head | {"workers": workers}, world, terms, history, runs.trace, took_s, {})


def _rows(
    head: Row,
    world: Any,
    terms: SearchTerms,
    history: History,
    trace: Trace,
    took_s: float,
    told: dict[int, float],
) -> tuple[Row, list[Row]]:
    """Return the row of a search, and its regret by time if it is traced.

    Args:
        head: What was searched, and how.
        world: The world.
        terms: Inputs of the search.
        history: The curves at its end.
        trace: What was trained, by simulated time.
        took_s: Seconds of deciding.
        told: Regrets of this search that are known already, by their place in the trace.
    """
    found: list[Row] = []
    last = len(trace.known) - 1
    for place, (at_s, known) in enumerate(trace.known):
        if place == last or head["workers"] in TRACED:
            if place not in told:
                told[place] = regret(world, terms, known if place < last else history)
            found.append(head | {"at_s": at_s, "regret": told[place]})
    finished = terms.finished_candidates(history)
    row = head | {
        "rounds": sum(curve.rounds for curve in history.values()),
        "begun": len(history),
        "finished": len(finished),
        "busy_s": trace.busy_s,
        "end_s": trace.end_s,
        "used": trace.busy_s / (trace.end_s * head["workers"]),
        "regret": found[-1]["regret"],
        "decision_s": took_s,
    }
    return row, found if head["workers"] in TRACED else []


def summary(rows: Sequence[Row], traces: Sequence[Row]) -> list[Row]:
    """Return one row for each number of workers: both searches, means over all worlds."""
    made = []
    for workers in sorted({row["workers"] for row in rows}):
        race, free = (
            [r for r in rows if r["workers"] == workers and r["search"] == name]
            for name in ("race", "async-race")
        )
        work = {(r["family"], r["seed"]): r["busy_s"] for r in race}
        ratio = [r["end_s"] * workers / work[r["family"], r["seed"]] for r in free]
        made.append(
            {
                "workers": f"{workers:.0f}",
                "race busy": f"{fmean(r['used'] for r in race):.0%}",
                "async busy": f"{fmean(r['used'] for r in free):.0%}",
                "race time (s)": f"{fmean(r['end_s'] for r in race):.0f}",
                "async time (s)": f"{fmean(r['end_s'] for r in free):.0f}",
                "async time / (work / workers)": f"{fmean(ratio):.2f}",
                "race rounds": f"{fmean(r['rounds'] for r in race):.0f}",
                "async rounds": f"{fmean(r['rounds'] for r in free):.0f}",
                "race regret": f"{_mean([r['regret'] for r in race])}",
                "async regret": f"{_mean([r['regret'] for r in free])}",
                "async regret by then": regret_by_then(traces, race, workers),
                "time to the same regret": same_regret(traces, race, workers),
                "deciding (s)": f"{fmean(r['decision_s'] for r in free):.1f}",
            }
        )
    return made


def _mean(values: Sequence[float]) -> str:
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{fmean(values):.2f} ± {error:.2f}"


def regret_by_then(traces: Sequence[Row], race: Sequence[Row], workers: float) -> str:
    """Return the asynchronous race's mean regret at the race's work / workers; "-" if unknown."""
    lines = mean_lines(traces, race, workers)
    if "async-race" not in lines:
        return "-"
    time_T, regret_T = lines["async-race"]
    return f"{regret_T[np.searchsorted(time_T, 1.0)]:.2f}"


def same_regret(traces: Sequence[Row], race: Sequence[Row], workers: float) -> str:
    """Return the time to the race's regret, as a multiple of its work / workers; "-" if unknown."""
    lines = mean_lines(traces, race, workers)
    if "async-race" not in lines:
        return "-"
    time_T, regret_T = lines["async-race"]
    goal = fmean(row["regret"] for row in race) + NEAR
    reached = np.flatnonzero(regret_T <= goal)
    return f"{time_T[reached[0]]:.2f}" if len(reached) else "not reached"


def mean_lines(
    traces: Sequence[Row], race: Sequence[Row], workers: float
) -> dict[str, tuple[Any, Any]]:
    """Return mean regret by time, of each search; time in units of the race's work / workers.

    Regret is infinite until every search has a finished run.
    """
    unit = {(r["family"], r["seed"]): r["busy_s"] / workers for r in race}
    time_T = np.linspace(0.05, 6, 596)
    found = {}
    for name in ("race", "async-race"):
        lines = []
        for world, seconds in unit.items():
            mine = [
                t for t in traces
                if (t["family"], t["seed"]) == world and t["workers"] == workers
                and t["search"] == name
            ]  # fmt: skip
            if mine:
                at_N = np.array([t["at_s"] for t in mine]) / seconds
                regret_N = np.array([math.inf, *(t["regret"] for t in mine)])
                lines.append(regret_N[np.searchsorted(at_N, time_T, side="right")])
        if lines:
            found[name] = (time_T, np.mean(lines, axis=0))
    return found


def draw(rows: Sequence[Row], traces: Sequence[Row], path: Path) -> None:
    """Draw busy shares against workers, and mean regret against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    busy, over = figure.subplots(1, 2)
    counts = sorted({row["workers"] for row in rows})
    for name, style in (("race", "o--"), ("async-race", "s-")):
        shares = [
            100 * fmean(r["used"] for r in rows if (r["workers"], r["search"]) == (n, name))
            for n in counts
        ]
        busy.plot(counts, shares, style, label=name)
    busy.set(xscale="log", xlabel="workers", ylabel="busy share of the workers (%)", ylim=(0, 103))
    busy.set_xticks(counts, [f"{n:.0f}" for n in counts])
    busy.minorticks_off()
    busy.legend()
    for workers, colour in zip(TRACED, ("tab:gray", "tab:blue"), strict=True):
        race = [r for r in rows if (r["workers"], r["search"]) == (workers, "race")]
        for name, (time_T, regret_T) in mean_lines(traces, race, workers).items():
            over.plot(
                time_T, np.where(np.isfinite(regret_T), regret_T, np.nan),
                "--" if name == "race" else "-", color=colour,
                label=f"{name}, {workers} worker{'s' * (workers > 1)}",
            )  # fmt: skip
    over.axvline(1.5, color="black", linestyle=":", linewidth=1, label="goal: 1.5")
    over.set(xlabel="time (in units of the race's work / workers)", xlim=(0, 5), yscale="log")
    over.set_ylabel("mean regret (accuracy points)")
    over.legend(fontsize="small")
    for axes in (busy, over):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _write(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})


def main() -> None:
    """Play what is asked for; write the CSV files, the figure, and print the table."""
    parser = argparse.ArgumentParser(description="Searches on simulated workers.")
    parser.add_argument("--worlds", type=int, default=2)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--effort", type=float, default=EFFORT)
    parser.add_argument("--draw", action="store_true", help="only table and figure")
    chosen = parser.parse_args()
    rows, traces = read(RESULTS, TEXTS), read(TRACES, TEXTS)
    if not chosen.draw:
        rows, traces = [], []
        for family in chosen.families.split(","):
            for seed in range(FIRST_SEED, FIRST_SEED + chosen.worlds):
                counts = WORKERS if seed == FIRST_SEED else WORKERS[:-1]
                for row, trace in played(family, seed, chosen.effort, counts):
                    rows.append(row)
                    traces += trace
        _write(rows, RESULTS)
        _write(traces, TRACES)
    print(table_of(summary(rows, traces)))
    draw(rows, traces, HERE / "workers.png")


if __name__ == "__main__":
    main()
