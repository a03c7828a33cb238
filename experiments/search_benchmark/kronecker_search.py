"""Freeze-thaw search by forecasts of LatentKroneckerGP, with or without a stop: opponents.

Both need BoTorch, an optional dependency of this benchmark. They are made as the strategies of
:mod:`planner.search` are, and keep the same contract.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from kronecker_forecast import Array, check_botorch, kronecker_log_odds

from planner.candidates import Candidate
from planner.forecasts.features import space_filling_order
from planner.forecasts.smoothing import smoothed_accuracy
from planner.search.rungs import RUNGS, rung_rounds
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy
from planner.search.strategy import Extension

STARTERS = 1 / 3  # fraction of the effort that first rungs of starters take
STEP = 1 / 8  # fraction of the effort that one step takes, at most, if it has several runs
PRICE_POINTS = 0.5  # accuracy points that a longest run must be expected to gain to be worth it
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(63)  # an excess has a kink


@dataclass(frozen=True)
class KroneckerSearch(ScriptedStrategy):
    """Freeze-thaw Bayesian optimisation (Swersky, Snoek and Adams 2014) on rungs.

    Starters that fill the space are trained to the first rung. Then every step forecasts all
    candidates at their horizons, and takes those of the highest expected improvement, begun or not,
    to their next rungs. The improvement is that over the best finished run, or over the best
    forecast while none is finished. When no step leaves enough to finish the run of the best
    forecast, that run is finished.

    Attributes:
        price: Accuracy, 0 to 1, that an improvement must exceed for each round that finishing the
            run takes; otherwise the search stops after its first finished run. This is the stop of
            utility-based freeze-thaw (Lee et al., Cost-Sensitive Multi-Fidelity Bayesian
            Optimization, 2024) with a utility that is linear in rounds. 0 never stops.

    Raises:
        ConfigError: BoTorch is not installed.
    """

    price: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_botorch()

    def script(self) -> Script:
        """Train starters, then step by step the most promising runs."""
        ledger = EffortLedger(self)
        order = space_filling_order(self.finishable_candidates(sorted(self.horizons)), self.seed)
        yield from ledger.ask(self._starts(ledger, order))
        while gains := self._gains(ledger, order):
            ranked = sorted(gains, key=lambda c: (-gains[c], self.nbytes[c], c))
            if self.finished_candidates(ledger.curves) and not self._worth(ledger, ranked, gains):
                break
            steps = self._steps(ledger, ranked)
            yield from ledger.ask(steps) if steps else ledger.finish(ranked)

    def _starts(self, ledger: EffortLedger, order: Sequence[Candidate]) -> list[Extension]:
        """Return the first rungs of starters, as many as their share of the effort takes."""
        rounds = [rung_rounds(self.horizons[c], RUNGS[0]) for c in order]
        shortest = min(self.horizons[c] for c in order)
        most = min(STARTERS * self.effort, self.effort - shortest)
        count = max(1, int(np.searchsorted(np.cumsum(rounds), most, side="right")))
        return [Extension(c, ledger.target(c, 0)) for c in order[:count]]

    def _gains(self, ledger: EffortLedger, order: Sequence[Candidate]) -> dict[Candidate, float]:
        """Return the expected improvement of each candidate that can still be finished."""
        left = ledger.rounds_left
        unfinished = [
            c for c in order if 0 < ledger.missing_rounds(c) <= left and not ledger.curve(c).failed
        ]
        seen = any(curve.evaluated and not curve.failed for curve in ledger.curves.values())
        if not unfinished or not seen:
            return dict.fromkeys(unfinished, 0.0)
        asked = [(c, self.horizon(c, ledger.curve(c))) for c in unfinished]
        longest = max(self.horizons.values())
        mean_M, sd_M = kronecker_log_odds(ledger.curves, asked, self.examples, longest)
        best = self._incumbent(ledger, mean_M)
        gains_M = expected_improvements(mean_M, sd_M, best)
        return dict(zip(unfinished, gains_M.tolist(), strict=True))

    def _incumbent(self, ledger: EffortLedger, mean_M: Array) -> float:
        """Return the smoothed accuracy of the best finished run, else the best forecast."""
        finished = (ledger.curve(c) for c in self.finished_candidates(ledger.curves))
        ends = [smoothed_accuracy(c.evaluated, c.accuracies, c.rounds) for c in finished]
        return max(ends, default=1 / (1 + math.exp(-float(mean_M.max()))))

    def _worth(
        self,
        ledger: EffortLedger,
        ranked: Sequence[Candidate],
        gains: Mapping[Candidate, float],
    ) -> bool:
        """Return whether finishing some run is expected to gain more than its rounds cost."""
        return any(gains[c] >= self.price * ledger.missing_rounds(c) for c in ranked)

    def _steps(self, ledger: EffortLedger, ranked: Sequence[Candidate]) -> list[Extension]:
        """Return the leaders' extensions to their next rungs that leave enough for a finish."""
        room = ledger.rounds_left - self._kept(ledger, ranked[0])
        steps: list[Extension] = []
        spent = 0
        for candidate in ranked:
            step = Extension(candidate, self._next_round(ledger, candidate))
            cost = step.rounds - ledger.curve(candidate).rounds
            if spent + cost > (min(room, STEP * self.effort) if steps else room):
                break
            steps.append(step)
            spent += cost
        return steps

    def _kept(self, ledger: EffortLedger, leader: Candidate) -> int:
        """Return the rounds to keep for finishing the leader after its next step."""
        if self.finished_candidates(ledger.curves):
            return 0
        step = self._next_round(ledger, leader) - ledger.curve(leader).rounds
        return max(0, ledger.missing_rounds(leader) - step)

    def _next_round(self, ledger: EffortLedger, candidate: Candidate) -> int:
        """Return the end of the first rung beyond a run."""
        ends = (ledger.target(candidate, rung) for rung in range(len(RUNGS)))
        now = ledger.curve(candidate).rounds
        finish = self.finish_round(candidate, ledger.curve(candidate))
        return next((end for end in ends if end > now), finish)


@dataclass(frozen=True)
class StoppingKroneckerSearch(KroneckerSearch):
    """The same search that stops when no run is expected to be worth its rounds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        price = PRICE_POINTS / 100 / max(self.horizons.values())
        object.__setattr__(self, "price", price)


def expected_improvements(mean_M: Array, sd_M: Array, best: float) -> Array:
    """Return the expected excess of accuracies over ``best``, by Gauss-Hermite quadrature.

    Args:
        mean_M: Means of log-odds.
        sd_M: Their deviations.
        best: Accuracy, 0 to 1.
    """
    accuracy_MK = 1 / (1 + np.exp(-np.clip(mean_M[:, None] + sd_M[:, None] * _NODES, -700, 700)))
    made: Array = np.maximum(accuracy_MK - best, 0) @ _WEIGHTS / _WEIGHTS.sum()
    return made
