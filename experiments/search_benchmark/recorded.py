"""A world of curves that were really trained, for every seed and candidate to the last round.

The tables of ``experiments/real_grid`` have a row for each evaluated round of each run. A
replay's seed picks one of the recorded seeds, whose curves the search sees; runs again are those of
the other seeds. What is true of a candidate is the mean over seeds of the accuracy, averaged over
the last 15 % of each curve, where the budget ends by the bytes that were really sent.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from worlds import IMAGES, SEARCHED, Adapter, Cell, round_nbytes

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.forecasts.smoothing import smoothed_accuracy
from planner.search.strategy import Extension

HERE = Path(__file__).parents[1] / "real_grid"
COHORT = 5


class Source(NamedTuple):
    """A recorded grid: its file, the budget that it is searched for, what accuracies rest on."""

    path: Path
    cell: Cell
    examples: int


SOURCES = {
    "digits": Source(HERE / "digits.parquet", SEARCHED, IMAGES),
    "chat": Source(HERE / "chat.parquet", Cell(12, 16, Adapter(0, 4660), cap=100), 7488),  # tokens
}


@dataclass(frozen=True)
class Recorded:
    """Curves of a file, as one seed shows them.

    Attributes:
        path: The file.
        seed: Names a search; picks the recorded seed.
        run: 0 for that one, further numbers for the next ones, in turn.
        cell: The budget, and the network that it is spent on.
        examples: Validation examples behind every accuracy.
    """

    path: Path
    seed: int
    run: int = 0
    cell: Cell = SEARCHED
    examples: int = IMAGES

    @classmethod
    def read(cls, name: str, seed: int) -> Recorded:
        """Return the world of a committed file."""
        source = SOURCES[name]
        return cls(source.path, seed, cell=source.cell, examples=source.examples)

    @property
    def longest(self) -> int:
        """The most rounds of any candidate."""
        return self.cell.cap

    def again(self, run: int) -> Recorded:
        """Return the same world as runs of another seed show it."""
        return replace(self, run=run)

    def within(self, cell: Cell) -> Recorded:
        """Return the same runs under another budget, on another network."""
        return replace(self, cell=cell)

    @cached_property
    def horizons(self) -> dict[Candidate, int]:
        """Rounds that the budget affords each candidate, as predicted without training."""
        return {c: self.cell.horizon(c) for c in sorted({c for c, _ in self._curves})}

    @property
    def _curves(self) -> dict[tuple[Candidate, int], Curve]:
        return _read(self.path, self.cell)

    @property
    def grid_rounds(self) -> int:
        """Rounds of the whole grid, as predicted."""
        return sum(self.horizons.values())

    def terms(self, effort: float, seed: int = 0) -> dict[str, Any]:
        """Return what a strategy is told; ``effort`` is a fraction of the grid's rounds."""
        evaluated = sorted({r for curve in self._curves.values() for r in curve.evaluated})
        return {
            "horizons": self.horizons,
            "nbytes": {c: self._nbytes(c) for c in self.horizons},
            "effort": math.floor(effort * self.grid_rounds),
            "seed": seed,
            "snap": lambda rounds: evaluated[max(1, bisect_right(evaluated, rounds)) - 1],
            "examples": self.examples,
        }

    def _nbytes(self, candidate: Candidate) -> float:
        return float(self.horizons[candidate] * sum(round_nbytes(candidate, self.cell.adapter)))

    def extend(self, proposals: Sequence[Extension]) -> History:
        """Return the curves of these candidates, as if trained."""
        return {p.candidate: self.curve(p.candidate, p.rounds) for p in proposals}

    def curve(self, candidate: Candidate, rounds: int) -> Curve:
        """Return what evaluations show of a run up to some rounds."""
        seeds = sorted({seed for c, seed in self._curves if c == candidate})
        whole = self._curves[candidate, seeds[(self.seed + self.run) % len(seeds)]]
        return replace(whole.until(rounds), rounds=rounds)

    def truth(self, candidate: Candidate, rounds: int | None = None) -> float:
        """Return the mean accuracy of a candidate's runs over the recorded seeds.

        They are finished, or stop at a round.
        """
        runs = [curve for (c, _), curve in self._curves.items() if c == candidate]
        return fmean(
            smoothed_accuracy(r.evaluated, r.accuracies, rounds or r.horizon or self.longest)
            for r in runs
        )

    def regret(self, candidate: Candidate, rounds: int | None = None) -> float:
        """Return how many points a candidate's run is off the best of the finished ones."""
        return 100 * (max(map(self.truth, self.horizons)) - self.truth(candidate, rounds))


@lru_cache(maxsize=32)
def _read(path: Path, cell: Cell) -> dict[tuple[Candidate, int], Curve]:
    """Return every recorded run of FLoSS with its horizon, by candidate and seed."""
    table = pd.read_parquet(path).query("method == 'floss'").dropna(subset="accuracy")
    settings = ["rank", "down_density", "up_density", "seed"]
    made = {}
    for (rank, down, up, seed), rows in table.sort_values("round").groupby(settings):
        spent = rows["down_bytes"] + cell.upload_ratio * rows["up_bytes"]
        affords = int(np.interp(COHORT * cell.amount(), [0, *spent], [0, *rows["round"]]))
        made[Candidate(int(rank), float(down), float(up)), int(seed)] = Curve(
            tuple(rows["round"].tolist()),
            tuple(rows["accuracy"].tolist()),
            int(rows["round"].max()),
            horizon=max(1, affords),
        )
    return made
