"""Effort of a search in rounds, from a share of the rounds of all candidates or from time.

Time is counted from the moment at which the training processes are loaded. It is converted into
rounds before the search, by the pace of stored runs or of a step that was measured, so that a time
in which no run can be finished is refused at once. While the search trains, the rounds follow the
speed that is really reached (:mod:`planner.execution.allowance`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from floss_sim.errors import BudgetError, ConfigError, UnitError
from floss_sim.units import format_duration, parse_duration
from planner.execution.allowance import Allowance, FixedRounds, TimedRounds
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.pace import Pace
from planner.question.cost import Costs
from planner.question.request import Request

BUSY_SHARE = 0.75  # fraction of the workers in use: a search ends with few, long runs


def parse_effort(text: str) -> dict[str, float]:
    """Return a request's ``effort`` (a fraction) or ``training_s`` (seconds), by keyword.

    Raises:
        ConfigError: The text is neither a number nor a duration above zero.
    """
    try:
        return {"effort": float(text)}
    except ValueError:
        pass
    try:
        seconds = parse_duration(text)
    except UnitError:
        seconds = 0.0
    if not seconds:
        raise ConfigError(
            f"cannot read effort {text!r}; valid: a fraction of the rounds that the budget "
            "affords all candidates, such as 0.2, or time such as 10min"
        )
    return {"effort": 1.0, "training_s": seconds}


@dataclass(frozen=True)
class Effort:
    """Rounds that a search may train, and how they were derived.

    Attributes:
        rounds: Largest number of rounds that the search may train, as planned before it.
        training_s: Seconds of training from which ``rounds`` was derived; None for a fraction.
        round_s: Host seconds of a round in one worker; None for a fraction.
        workers: Number of training processes.
        beside: Rounds that the baselines still lack, which are trained in the same time.
        spent_s: Seconds of the time that a measurement has taken already.
    """

    rounds: int
    training_s: float | None = None
    round_s: float | None = None
    workers: int = 1
    beside: int = 0
    spent_s: float = 0.0

    def checked(self, costs: Costs) -> Effort:
        """Return the effort itself, after a check of its time.

        Raises:
            BudgetError: The time finishes no run; the message states a sufficient one.
        """
        if self.training_s is None or self.round_s is None:
            return self
        shortest = _shortest_run(costs)
        at_once = (shortest + self.beside) / (BUSY_SHARE * self.workers)
        alone = max(at_once, shortest)  # a run trains in one process
        needed_s = self.spent_s + alone * self.round_s
        if self.training_s >= needed_s:
            return self
        beside = f" and the baselines {self.beside}" if self.beside else ""
        raise BudgetError(
            f"the training time of {format_duration(self.training_s)} finishes no run: the "
            f"shortest takes {shortest} rounds{beside}, about {format_duration(needed_s)} on this "
            f"machine; --effort {_seconds_text(needed_s)} is enough"
        )

    def allowance(self, costs: Costs, clock: Callable[[], float] = time.monotonic) -> Allowance:
        """Return what may be trained; a time has begun, and ``spent_s`` of it are over."""
        if self.training_s is None or self.round_s is None:
            return FixedRounds(self.rounds)
        speed = self.workers * BUSY_SHARE / self.round_s
        return TimedRounds(
            self.training_s, speed, costs.grid_rounds, self.beside, self.spent_s, clock
        )

    def to_json(self, took_s: float | None = None) -> dict[str, Any]:
        """Return what was planned for a time, and what it took, as plain values.

        Args:
            took_s: Seconds from the start of training to its last measurement.

        Returns:
            Empty for a fraction.
        """
        if self.training_s is None:
            return {}
        return {
            "training_s": self.training_s, "host_s_per_round": self.round_s,
            "workers": self.workers, "planned_rounds": self.rounds, "took_s": took_s,
        }  # fmt: skip


def effort_of_fraction(request: Request, costs: Costs) -> Effort:
    """Return the effort of a request that gives it as a fraction of the rounds of all candidates.

    Raises:
        BudgetError: The rounds finish no run; the message states a sufficient effort.
    """
    rounds, grid_rounds = int(request.effort * costs.grid_rounds), costs.grid_rounds
    shortest = _shortest_run(costs)
    if rounds < shortest:
        raise BudgetError(
            f"the search effort of {request.effort:g} finishes no run: it is {rounds} of the "
            f"{grid_rounds} rounds that the budget affords all candidates, and the shortest run "
            f"takes {shortest}; --effort {_round_up(shortest / grid_rounds)} is enough"
        )
    return Effort(rounds)


def _shortest_run(costs: Costs) -> int:
    """Return the rounds of the searched candidate that affords the fewest."""
    return min(costs.of[c].horizon for c in costs.searched)


def effort_of_time(
    request: Request, costs: Costs, store: CurveStore, pace: Pace, workers: int
) -> Effort:
    """Return the effort of a request that gives it as time.

    Args:
        request: The question, with ``training_s``.
        costs: Its candidates.
        store: Store of the learning curves; the rounds that baselines lack there take time.
        pace: Pace of training on this machine.
        workers: Number of training processes.

    Raises:
        BudgetError: No run is finished in the time; the message states a sufficient one.
    """
    training_s = request.training_s or 0.0
    round_s = pace.round_s(request, costs)
    beside = baseline_rounds(request, costs, store)
    rounds = int((training_s - pace.measuring_s) * workers * BUSY_SHARE / round_s) - beside
    shortest = _shortest_run(costs)
    most = min(max(shortest, rounds), costs.grid_rounds)
    return Effort(most, training_s, round_s, workers, beside, pace.measuring_s).checked(costs)


def baseline_rounds(request: Request, costs: Costs, store: CurveStore) -> int:
    """Return the rounds that the baselines still lack, which take time from the search."""
    lacking = 0
    for candidate in set(request.baselines().values()) & costs.of.keys():
        folder = store.find(request.config(candidate))
        done = folder.manifest().rounds if folder else 0
        lacking += max(0, last_evaluated_round(costs.of[candidate].horizon) - done)
    return lacking


def _round_up(fraction: float) -> str:
    """Return a fraction of at most 1 as text, rounded up to two significant digits."""
    scale = 10 ** (1 - math.floor(math.log10(fraction)))
    return f"{min(1.0, math.ceil(fraction * scale * (1 + 1e-9)) / scale):.3g}"


def _seconds_text(seconds: float) -> str:
    return format_duration(math.ceil(seconds * 1.1)).replace(" ", "")
