"""Synthetic worlds: learning curves of a whole space, known without training.

A world has 245 candidates: 5 ranks, 7 download and 7 upload densities. Horizons are what 50 dense
rounds at rank 16 afford on a network whose uploads are 16 times slower, by the wire's size
prediction for a layout like that of ``digits``, at most 400 rounds; real bytes, which first rounds
tell, differ by some percent. What a world draws from its seed: how good the space can be, how
ranks and densities matter for the accuracy in the end and for the pace, each candidate's own luck.

=============  ====================================================================================
family         curves
=============  ====================================================================================
``regular``    power laws towards an asymptote that varies smoothly over the space
``ill``        the same, but a quarter pause on a plateau, a sixth lose accuracy late, a twelfth
               collapse to chance, any time after a third of their horizon
=============  ====================================================================================

An evaluation counts the right ones of 350 images. Evaluations of a run draw independently, which
is kinder to smoothing than one panel of images is. Runs of other seeds (``again``) have luck and
noise of their own; what is true is free of both.

Plug in a strategy of your own::

    print(benchmark.replay(MyStrategy, World(seed=0, family="ill"), effort=0.05)["regret"])
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from floss_sim.rng import stream
from floss_sim.wire import plain_nbytes, predict_nbytes
from planner.candidates import Candidate, grid
from planner.curves import Curve, History
from planner.execution.curve_store import last_evaluated_round
from planner.search.strategy import Extension

Family = Literal["regular", "ill"]
Array = NDArray[np.float64]
FAMILIES: tuple[Family, ...] = ("regular", "ill")
RANKS = (2, 4, 8, 16, 32)
DENSITIES = tuple(2.0**-i for i in range(7))
REFERENCE_RANK, DENSE_ROUNDS, UPLOAD_RATIO, CAP = 16, 50, 16, 400
IMAGES, CHANCE = 350, 0.1
RUN_LUCK = 0.003  # of the accuracy above chance: how far the runs of two seeds lie from their mean
PLATEAUS, DECAYS, COLLAPSES = 1 / 4, 1 / 6, 1 / 12  # shares of ill-behaved curves
SPACE = tuple(grid(RANKS, DENSITIES, DENSITIES))
EVALUATED = tuple(r for r in range(1, CAP + 1) if r == last_evaluated_round(r))


class Adapter(NamedTuple):
    """Entries of a task's adapter: of its head, and of each rank."""

    head: int
    a_rank: int

    def entries(self, rank: int) -> int:
        """Return the entries of an adapter of this rank."""
        return self.head + self.a_rank * rank


DIGITS = Adapter(650, 1024)


@cache
def round_nbytes(candidate: Candidate, adapter: Adapter = DIGITS) -> tuple[int, int]:
    """Return the predicted bytes of one download and one upload."""
    count = adapter.entries(candidate.rank)
    densities = candidate.down_density, candidate.up_density
    down, up = (predict_nbytes(count, max(1, int(d * count))) for d in densities)
    return down, up


@dataclass(frozen=True)
class Cell:
    """A budget of dense rounds of an adapter on a network whose uploads are some times slower.

    No run gets more than ``cap`` rounds.
    """

    dense_rounds: int = DENSE_ROUNDS
    upload_ratio: int = UPLOAD_RATIO
    adapter: Adapter = DIGITS
    cap: int = CAP

    def amount(self) -> int:
        """Return the budget as bytes of a client at the download's rate."""
        message = plain_nbytes(self.adapter.entries(REFERENCE_RANK))
        return self.dense_rounds * (1 + self.upload_ratio) * message

    def horizon(self, candidate: Candidate, factor: float = 1.0) -> int:
        """Return the rounds it affords if messages are ``factor`` times the predicted."""
        down, up = round_nbytes(candidate, self.adapter)
        affords = self.amount() / factor / (down + self.upload_ratio * up)
        return max(2, min(self.cap, int(affords)))


@cache
def horizons(cell: Cell) -> Mapping[Candidate, int]:
    """Return the rounds that a cell's budget affords each candidate, as predicted."""
    return {candidate: cell.horizon(candidate) for candidate in SPACE}


SEARCHED = Cell()
HORIZONS = horizons(SEARCHED)
GRID_ROUNDS = sum(HORIZONS.values())


@dataclass(frozen=True)
class World:
    """One world: what is true of every candidate, and what evaluations show of it."""

    seed: int
    family: Family
    run: int = 0
    cell: Cell = SEARCHED

    grid_rounds = GRID_ROUNDS
    examples = IMAGES
    longest = CAP

    def again(self, run: int) -> World:
        """Return the same world as runs of another seed show it."""
        return replace(self, run=run)

    def within(self, cell: Cell) -> World:
        """Return the same runs under another budget, on another network."""
        return replace(self, cell=cell)

    def terms(self, effort: float, seed: int = 0) -> dict[str, Any]:
        """Return what a strategy is told; ``effort`` is a fraction of the grid's rounds."""
        rounds = math.floor(effort * GRID_ROUNDS)
        affords = horizons(self.cell)
        return {
            "horizons": affords,
            "nbytes": {c: float(h * sum(round_nbytes(c))) for c, h in affords.items()},
            "effort": rounds,
            "seed": seed,
            "snap": last_evaluated_round,
            "examples": IMAGES,
        }

    def extend(self, proposals: Sequence[Extension]) -> History:
        """Return the curves of these candidates, as if trained."""
        return {p.candidate: self.curve(p.candidate, p.rounds) for p in proposals}

    def curve(self, candidate: Candidate, rounds: int) -> Curve:
        """Return what evaluations show of a run up to some rounds."""
        row = _ROW[candidate]
        seen = np.searchsorted(EVALUATED, rounds, side="right")
        accuracies = tuple(self._measured[row, :seen].tolist())
        return Curve(EVALUATED[:seen], accuracies, rounds, horizon=int(self._horizons[row]))

    def truth(self, candidate: Candidate, rounds: int | None = None) -> float:
        """Return the accuracy of a candidate's run without noise, finished or at a round."""
        row = _ROW[candidate]
        return float(self._final[row] if rounds is None else self._truth[row, rounds - 1])

    def regret(self, candidate: Candidate, rounds: int | None = None) -> float:
        """Return how many points a candidate's run is off the best of the finished ones."""
        return 100 * (float(self._final.max()) - self.truth(candidate, rounds))

    @cached_property
    def _horizons(self) -> NDArray[np.int64]:
        return self._affords(self.cell)

    def _affords(self, cell: Cell) -> NDArray[np.int64]:
        factors = np.exp(0.04 * stream(self.seed, "bytes").standard_normal(len(SPACE)))
        return np.array([cell.horizon(c, f) for c, f in zip(SPACE, factors, strict=True)])

    @cached_property
    def _truth(self) -> Array:
        made = _regular(stream(self.seed, "surface"))
        if self.family == "regular":
            return made
        return _ill(made, self._affords(SEARCHED), stream(self.seed, "ill"))

    @cached_property
    def _final(self) -> Array:
        last = np.array([last_evaluated_round(int(h)) for h in self._horizons])
        final: Array = self._truth[np.arange(len(SPACE)), last - 1]
        return final

    @cached_property
    def _measured(self) -> Array:
        luck_C = stream(self.seed, "run", self.run).standard_normal(len(SPACE))
        truth = self._truth[:, np.array(EVALUATED) - 1]
        likely = truth + RUN_LUCK * luck_C[:, None] * (truth - CHANCE)
        draw = stream(self.seed, self.family, "images", self.run)
        return draw.binomial(IMAGES, np.clip(likely, 0, 1)) / IMAGES


_ROW = {candidate: row for row, candidate in enumerate(SPACE)}
_KNOBS_C3 = np.array(
    [(math.log2(c.rank), -math.log2(c.down_density), -math.log2(c.up_density)) for c in SPACE]
)


def _regular(draw: np.random.Generator) -> Array:
    """Return power laws over the space, shape (candidates, rounds)."""
    rank_C, down_C, up_C = _KNOBS_C3.T
    count = len(SPACE)
    top, starved, shape = draw.uniform(0.94, 0.99), draw.uniform(0.02, 0.08), draw.uniform(0.9, 1.7)
    loss_C = starved * 2.0 ** (-draw.uniform(0.6, 1.2) * (rank_C - 1))
    for sparse_C, most in ((down_C, 0.014), (up_C, 0.008)):
        few_C = np.maximum(0, sparse_C - draw.uniform(0, 4) - 0.3 * (rank_C - 3))
        loss_C += draw.uniform(0.2, 1) * most * few_C**1.5
    loss_C += 0.009 * _field(draw) + 0.003 * draw.standard_normal(count)
    slow_C = draw.uniform(0.0, 0.3) * down_C + draw.uniform(0.1, 0.4) * up_C
    slow_C += 0.15 * draw.standard_normal(count) - draw.uniform(0, 0.2) * rank_C
    pace_C = draw.uniform(2, 8) * 2.0**slow_C
    risen_CR = 1 - (1 + np.arange(1, CAP + 1) / pace_C[:, None]) ** -shape
    best_C = np.clip(top - loss_C, CHANCE, 0.995)
    made: Array = CHANCE + (best_C - CHANCE)[:, None] * risen_CR
    return made


@cache
def _smooth() -> Array:
    """Return the Cholesky factor of a smooth field over the space."""
    apart = ((_KNOBS_C3[:, None] - _KNOBS_C3[None]) ** 2).sum(axis=2)
    factor: Array = np.linalg.cholesky(np.exp(-apart / (2 * 2.0**2)) + 1e-6 * np.eye(len(SPACE)))
    return factor


def _field(draw: np.random.Generator) -> Array:
    made: Array = _smooth() @ draw.standard_normal(len(SPACE))
    return made


def _ill(regular_CR: Array, horizons_C: NDArray[np.int64], draw: np.random.Generator) -> Array:
    """Return curves with plateaus, late decay and collapses."""
    made_CR = regular_CR.copy()
    rounds_R = np.arange(1, CAP + 1)
    for row, end in enumerate(horizons_C):
        kind, starts = draw.random(), draw.uniform(1 / 3, 1) * end
        pause, lost, start = draw.uniform(0.1, 0.4) * end, draw.uniform(0.02, 0.15), 0.0
        if kind < PLATEAUS:
            start = draw.uniform(0.02, 0.4) * end
            played_R = np.where(rounds_R < start, rounds_R, np.maximum(start, rounds_R - pause))
            made_CR[row] = np.interp(played_R, rounds_R, regular_CR[row])
        elif kind < PLATEAUS + DECAYS:
            made_CR[row] -= lost * np.clip((rounds_R - starts) / (end / 3), 0, None)
        elif kind < PLATEAUS + DECAYS + COLLAPSES:
            fallen_R = np.clip((rounds_R - starts) / (0.03 * end), 0, 1)
            made_CR[row] += (CHANCE - made_CR[row]) * fallen_R
    return np.clip(made_CR, 0.02, 1.0)
