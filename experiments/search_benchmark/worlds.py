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
``crossing``   power laws of which large ranks rise more slowly and end higher; evaluations are the
               noisier the sparser the messages; a tenth collapse to chance after three fifths
``prior``      what the prior sampler of the package ``ifbo`` draws, which nobody here wrote
               (``prior_curves.py``; the package is an optional dependency)
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
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from prior_curves import prior_curves
from world_curves import (
    CAP,
    CHANCE,
    SPACE,
    SPARSITY_C,
    Array,
    crossing_curves,
    ill_curves,
    regular_curves,
)

from floss_sim.rng import stream
from floss_sim.wire import plain_nbytes, predict_nbytes
from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.execution.curve_store import last_evaluated_round
from planner.search.strategy import Extension

Family = Literal["regular", "ill", "crossing", "prior"]
FAMILIES: tuple[Family, ...] = get_args(Family)
REFERENCE_RANK, DENSE_ROUNDS, UPLOAD_RATIO = 16, 50, 16
IMAGES = 350
RUN_LUCK = 0.003  # of the accuracy above chance: how far the runs of two seeds lie from their mean
SPARSE_NOISE = 0.02  # accuracy: deviation of a crossing curve's evaluations where sparsity is 1
_ROW = {candidate: row for row, candidate in enumerate(SPACE)}
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
        if self.family == "prior":
            return prior_curves(self.seed)
        if self.family == "crossing":
            return crossing_curves(self._affords(SEARCHED), stream(self.seed, "crossing"))
        made = regular_curves(stream(self.seed, "surface"))
        if self.family == "regular":
            return made
        return ill_curves(made, self._affords(SEARCHED), stream(self.seed, "ill"))

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
        if self.family == "crossing":
            noise = stream(self.seed, "sparse", self.run).standard_normal(truth.shape)
            likely = likely + SPARSE_NOISE * SPARSITY_C[:, None] * noise
        draw = stream(self.seed, self.family, "images", self.run)
        return draw.binomial(IMAGES, np.clip(likely, 0, 1)) / IMAGES
