"""The recorded grids, and worlds that replay searches on them."""

from __future__ import annotations

import json
import math
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.forecasts.smoothing import smoothed_accuracy
from planner.search.strategy import Extension

HERE = Path(__file__).parent
SETTINGS = ["rank", "down_density", "up_density", "depth"]
REFERENCE_RANK = 16
VALUE_BYTES = 4  # of an entry of a dense round


@dataclass(frozen=True)
class Grid:
    """A recorded grid.

    Attributes:
        name: Its name.
        table: Path of its table, relative to this folder.
        backbone: Hash of the task's backbone; grids with the same are one family.
        dense_rounds: Budget of replays, in dense rounds at rank 16.
        facts: What a table of ``experiments/real_grid`` does not hold: chance accuracy,
            validation examples, layers, and the adapter's entries: of the head, and of each rank.
    """

    name: str
    table: str
    backbone: str
    dense_rounds: int
    facts: tuple[tuple[str, float], ...] = ()

    @property
    def path(self) -> Path:
        """The table."""
        return (HERE / self.table).resolve()

    @cached_property
    def _metadata(self) -> dict[bytes, bytes]:
        return pq.read_schema(self.path).metadata or {}

    @cached_property
    def _task(self) -> dict[str, Any]:
        return json.loads(self._metadata.get(b"task", b"{}"))

    @property
    def mark(self) -> str:
        """Fingerprint of the recipe that the table was recorded by."""
        return self._metadata[b"mark"].decode()

    @property
    def chance(self) -> float:
        """Accuracy of always predicting the most frequent class, 0 to 1."""
        return dict(self.facts).get("chance") or float(self._task["chance"])

    @property
    def examples(self) -> int:
        """Validation examples, or tokens, behind every accuracy."""
        return int(dict(self.facts).get("examples") or self._task["judged"]["validation"])

    @property
    def layers(self) -> int:
        """Layers with adapters of a run that names no depth."""
        own = self._task.get("lora", {}).get("depth")
        return int(own or dict(self.facts).get("layers") or self._task["layers"])

    @property
    def cohort(self) -> int:
        """Clients of a round."""
        return int(self._task["server"]["cohort"]) if self._task else 5

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Rows of FLoSS at the task's own learning rates; depth 0 is the task's own."""
        rows = pd.read_parquet(self.path).dropna(subset="accuracy")
        if "method" in rows:
            rows = rows.query("method == 'floss'")
        for column, of in (("client_lr", "client"), ("server_lr", "server")):
            if column in rows:
                rows = rows[np.isclose(rows[column], self._task[of]["learning_rate"])]
        depth = rows["depth"].where(rows["depth"] != self.layers, 0) if "depth" in rows else 0
        return rows.assign(depth=depth).sort_values("round")

    @cached_property
    def longest(self) -> int:
        """Recorded rounds."""
        return int(self.rows["round"].max())

    @property
    def dense_bytes(self) -> float:
        """Bytes of a message of dense LoRA at the reference rank."""
        if "entries" in self.rows:
            own = self.rows.query(f"rank == {REFERENCE_RANK} and depth == 0")
            return VALUE_BYTES * float(own["entries"].iloc[0])
        facts = dict(self.facts)
        return VALUE_BYTES * (facts["head"] + REFERENCE_RANK * facts["a_rank"])


def candidate_of(settings: Sequence[float]) -> Candidate:
    """Return the candidate of a row's ``SETTINGS``."""
    rank, down, up, depth = settings
    return Candidate(int(rank), float(down), float(up), depth=int(depth))


@cache
def read_grids() -> tuple[Grid, ...]:
    """Return the grids of ``grids.toml`` whose tables are there."""
    content: dict[str, Any] = tomllib.loads((HERE / "grids.toml").read_text(encoding="utf-8"))
    grids = [
        Grid(**{**entry, "facts": tuple(entry.get("facts", {}).items())})
        for entry in content["grid"]
    ]
    return tuple(grid for grid in grids if grid.path.exists())


@dataclass(frozen=True)
class Run:
    """A recorded run: its curve, and the mean bytes of its rounds, down and up."""

    curve: Curve
    down_bytes: float
    up_bytes: float


@cache
def _runs(grid: Grid) -> dict[tuple[Candidate, int], Run]:
    """Return the recorded runs by candidate and seed."""
    made = {}
    for key, rows in grid.rows.groupby([*SETTINGS, "seed"]):
        last = rows.iloc[-1]
        rounds, accuracies = rows["round"].tolist(), rows["accuracy"].tolist()
        curve = Curve(tuple(rounds), tuple(accuracies), int(last["round"]))
        sizes = (float(last[f"{way}_bytes"] / last["round"]) for way in ("down", "up"))
        made[candidate_of(key[:-1]), int(key[-1])] = Run(curve, *sizes)
    return made


@dataclass(frozen=True)
class GridWorld:
    """A grid under a budget on a network, as the runs of one seed show it.

    What is true of a candidate is the mean over the recorded seeds of the accuracy, smoothed over
    the last part of each curve, where the budget ends. Predicted bytes are those recorded.

    Attributes:
        grid: The grid.
        seed: Names a search, and picks the recorded seed.
        share: Share of the grid's budget.
        ratio: Rate of downloads over that of uploads.
        run: 0 for that seed, further numbers for the next ones in turn.
    """

    grid: Grid
    seed: int
    share: float = 1.0
    ratio: float = 16.0
    run: int = 0

    @property
    def examples(self) -> int:
        """Validation examples behind every accuracy."""
        return self.grid.examples

    @property
    def longest(self) -> int:
        """The most rounds of any candidate."""
        return self.grid.longest

    def again(self, run: int) -> GridWorld:
        """Return the same world as runs of another seed show it."""
        return replace(self, run=run)

    @cached_property
    def _costs(self) -> dict[Candidate, tuple[float, float]]:
        """Share of the budget and bytes of a round of each candidate; means over seeds."""
        amount = self.share * self.grid.dense_rounds * (1 + self.ratio) * self.grid.dense_bytes
        runs: dict[Candidate, list[Run]] = {}
        for (candidate, _), run in _runs(self.grid).items():
            runs.setdefault(candidate, []).append(run)
        cohort = self.grid.cohort
        return {
            c: (
                fmean(r.down_bytes + self.ratio * r.up_bytes for r in of) / (cohort * amount),
                fmean(r.down_bytes + r.up_bytes for r in of),
            )
            for c, of in sorted(runs.items())
        }

    @cached_property
    def horizons(self) -> Mapping[Candidate, int]:
        """Rounds that the budget affords each candidate."""
        return {
            c: max(2, min(self.longest, int(1 / share))) for c, (share, _) in self._costs.items()
        }

    def terms(self, effort: float) -> dict[str, Any]:
        """Return what a strategy is told; ``effort`` is a fraction of the grid's rounds."""
        evaluated = sorted(self.grid.rows["round"].unique().tolist())
        return {
            "horizons": self.horizons,
            "nbytes": {c: self.horizons[c] * nbytes for c, (_, nbytes) in self._costs.items()},
            "effort": math.floor(effort * sum(self.horizons.values())),
            "seed": self.seed,
            "snap": lambda rounds: evaluated[max(1, bisect_right(evaluated, rounds)) - 1],
            "examples": self.examples,
        }

    def extend(self, proposals: Sequence[Extension]) -> History:
        """Return the curves of these candidates, as if trained."""
        return {p.candidate: self.curve(p.candidate, p.rounds) for p in proposals}

    def curve(self, candidate: Candidate, rounds: int) -> Curve:
        """Return what evaluations show of a run up to some rounds."""
        runs = _runs(self.grid)
        seeds = sorted(seed for c, seed in runs if c == candidate)
        whole = runs[candidate, seeds[(self.seed + self.run) % len(seeds)]].curve
        told = replace(whole.until(rounds), rounds=rounds)
        return replace(told, horizon=self.horizons[candidate])

    def truth(self, candidate: Candidate, rounds: int | None = None) -> float:
        """Return the mean accuracy of a candidate's runs over seeds, at its horizon or a round."""
        at = rounds or self.horizons[candidate]
        runs = [run.curve for (c, _), run in _runs(self.grid).items() if c == candidate]
        return fmean(smoothed_accuracy(r.evaluated, r.accuracies, at) for r in runs)

    @cached_property
    def best(self) -> float:
        """The best true accuracy of all candidates."""
        return max(map(self.truth, self.horizons))
