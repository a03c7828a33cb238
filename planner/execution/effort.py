"""Effort of a search in rounds, from a share of the full grid's rounds or from time.

Time is converted into rounds before the search, by the host seconds of a round on this machine.
They are read from the notes of stored runs. If these cover too few rounds, a short measurement
trains the first rounds of runs that the plan needs anyway. The seconds of a round are assumed to be
proportional to its clients times their local epochs. Searches then count rounds, and never exceed
them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from floss_sim.errors import BudgetError, ConfigError, UnitError
from floss_sim.records.host_notes import total_host_s
from floss_sim.training import MAX_RUNS
from floss_sim.units import format_duration, parse_duration
from planner.candidates import Candidate
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.workers import train_all
from planner.question.cost import Costs
from planner.question.request import Request

_TELLING_ROUNDS = 20  # rounds whose host seconds predict those of others
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
            f"cannot read effort {text!r}; valid: a fraction of the full grid's rounds such as "
            "0.2, or time such as 10min"
        )
    return {"effort": 1.0, "training_s": seconds}


@dataclass(frozen=True)
class Effort:
    """Rounds that a search may train, and how they were derived.

    Attributes:
        rounds: Largest number of rounds that the search may train.
        training_s: Seconds of training from which ``rounds`` was derived; None for a fraction.
        round_s: Host seconds of a round in one worker; None for a fraction.
        workers: Number of training processes.
        beside: Rounds that the baselines still lack, which are trained in the same time.
    """

    rounds: int
    training_s: float | None = None
    round_s: float | None = None
    workers: int = 1
    beside: int = 0

    def checked(self, costs: Costs) -> Effort:
        """Return the effort itself, after a check.

        Raises:
            BudgetError: The rounds finish no run; the message states a sufficient effort.
        """
        shortest = min(costs.of[c].horizon for c in costs.searched)
        if self.rounds >= shortest:
            return self
        if self.round_s is None:
            enough = f"--effort {_round_up(shortest / costs.grid_rounds)}"
        else:
            needed_s = (shortest + self.beside) * self.round_s / (BUSY_SHARE * self.workers)
            enough = f"--effort {_seconds_text(needed_s)}"
        raise BudgetError(
            f"an effort of {self.rounds} round{'s' * (self.rounds != 1)} finishes no run: the "
            f"shortest takes {shortest}; {enough} is enough"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the time behind the rounds as plain values; empty for a fraction."""
        if self.training_s is None:
            return {}
        return {
            "training_s": self.training_s, "host_s_per_round": self.round_s,
            "workers": self.workers,
        }  # fmt: skip


def effort_of_fraction(request: Request, costs: Costs) -> Effort:
    """Return the effort of a request that gives it as a fraction of the full grid's rounds.

    Raises:
        BudgetError: The rounds finish no run; the message states a sufficient effort.
    """
    return Effort(int(request.effort * costs.grid_rounds)).checked(costs)


def allot(
    request: Request, costs: Costs, store: CurveStore, executor: Executor, workers: int
) -> Effort:
    """Return the effort of a request, whether given as a fraction or as time.

    Raises:
        BudgetError: The rounds finish no run; the message states a sufficient effort.
    """
    if request.training_s is None:
        return effort_of_fraction(request, costs)
    began = time.monotonic()
    per_epoch_s = _stored_epoch_s(request, store, costs.of) or _measure_epoch_s(
        request, costs, store, executor, workers
    )
    left_s = max(0.0, request.training_s - (time.monotonic() - began))
    round_s = per_epoch_s * max(_epochs(request, c) for c in costs.searched)
    beside = baseline_rounds(request, costs, store)
    rounds = int(left_s * workers * BUSY_SHARE / round_s) - beside
    most = min(max(0, rounds), costs.grid_rounds)
    return Effort(most, request.training_s, round_s, workers, beside).checked(costs)


def _stored_epoch_s(
    request: Request, store: CurveStore, candidates: Iterable[Candidate]
) -> float | None:
    """Return host seconds of a client's epoch, by stored runs; None if they cover few rounds."""
    epochs = rounds = 0
    seconds = 0.0
    for candidate in candidates:
        folder = store.find(request.config(candidate))
        these, took_s = total_host_s(folder.path) if folder else (0, 0.0)
        rounds, seconds = rounds + these, seconds + took_s
        epochs += these * _epochs(request, candidate)
    return seconds / epochs if rounds >= _TELLING_ROUNDS else None


def _measure_epoch_s(
    request: Request, costs: Costs, store: CurveStore, executor: Executor, workers: int
) -> float:
    """Train the first rounds of some runs; return the host seconds of a client's epoch.

    As many runs are trained as the workers train at once. On a GPU a run's seconds depend on the
    number of runs that share the device, so that the largest number is measured there.
    """
    probed = [*request.baselines().values(), *costs.searched]
    at_once = max(2, workers * (MAX_RUNS[store.device] if store.device == "cuda" else 1))
    chosen = [c for c in dict.fromkeys(probed) if c in costs.of][:at_once]
    jobs = [
        (request.config(c), last_evaluated_round(min(_TELLING_ROUNDS, costs.of[c].horizon)))
        for c in chosen
    ]
    began = time.monotonic()
    trained = train_all(executor, store, jobs, lambda: None, workers)
    elapsed_s = time.monotonic() - began
    noted = _stored_epoch_s(request, store, chosen)
    if noted is not None:
        return noted
    epochs = sum((n or 1) * _epochs(request, c) for n, c in zip(trained, chosen, strict=True))
    return elapsed_s * min(workers, len(jobs)) / max(1, epochs)


def _epochs(request: Request, candidate: Candidate) -> int:
    """Return the local epochs of a round, added up over its clients."""
    config = request.config(candidate)
    return config.server.cohort * config.client.epochs


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
