"""Budgets: their grammar, and how much of one a run has spent.

=====================  ======================================================================
text                   what is limited
=====================  ======================================================================
``50-dense-rounds``    rate-weighted traffic: what 50 rounds of dense LoRA at the reference
                       rank take, 32 bits an entry both ways, as the sum over clients of
                       down_bytes / down_rate + up_bytes / up_rate (each client's own nominal
                       rates), with no latency, compute or queueing in it (thesis, section
                       5.3); what the wire format saves buys rounds
``2GB``                encoded bytes of all clients, both directions
``500MB/client``       the same for each slot of the cohort
``90s``, ``36h``       simulated wall clock, with everything in it
``36h@95%``            the same, in at least 95 % of simulated fleets (see round_times.py)
=====================  ======================================================================

Beside its budget a plan may be told what the busiest client may transfer in a whole run: a
:class:`Limit` holds both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import BudgetError, UnitError
from floss_sim.network import ClientLink
from floss_sim.records import RunRecord
from floss_sim.units import format_bytes, format_duration, parse_bytes, parse_duration
from planner.question.round_times import Fleets
from planner.question.traffic import Traffic

BudgetKind = Literal["dense-rounds", "bytes", "client-bytes", "seconds"]
_GRAMMAR = "valid: 50-dense-rounds, 2GB, 500MB/client, 90s, 36h or 36h@95%"
_DENSE_ROUNDS = re.compile(r"([1-9]\d{0,5})-dense-rounds?")
_PERCENT = re.compile(r"(\d{1,2}(?:\.\d{1,3})?) ?%")


@dataclass(frozen=True)
class Budget:
    """A budget as it was given: ``amount`` in dense rounds, bytes or seconds by its ``kind``.

    ``confidence`` is the share of fleets that must finish in time, of seconds alone; None asks
    nothing but the profile's own fleet.
    """

    text: str
    kind: BudgetKind
    amount: float
    confidence: float | None = None


@dataclass(frozen=True)
class Limit:
    """A budget resolved against a reference and a network, and what a client may transfer.

    Attributes:
        budget: As it was given.
        amount: In bytes (kinds of bytes) or seconds (link seconds for dense rounds).
        links: Of the fleet.
        cohort: Clients of a round, by the task.
        client_bytes: The most that the busiest client may transfer in a whole run.
        fleets: Time what was not simulated, or what must hold on many fleets.
    """

    budget: Budget
    amount: float
    links: Sequence[ClientLink]
    cohort: int
    client_bytes: float = math.inf
    fleets: Fleets | None = None

    def spending(self, run: RunRecord | Traffic) -> NDArray[np.float64]:
        """Return what a run on this network has spent after each round, shape (rounds,)."""
        traffic = Traffic.of(run) if isinstance(run, RunRecord) else run
        if self.budget.kind != "seconds":
            return self.traffic_spending(traffic, np.empty(0))
        if isinstance(run, RunRecord) and self.budget.confidence is None:
            return np.asarray(run.rounds["closed_at_s"], dtype=np.float64)
        return self.closing_times(traffic)

    def shares(self, run: RunRecord | Traffic) -> NDArray[np.float64]:
        """Return the share of what may be spent that is after each round: above 1, too much.

        The larger of the budget's share and that of ``client_bytes``.
        """
        return self.with_client_limit(self.spending(run) / self.amount, run)

    def with_client_limit(
        self, budget_R: NDArray[np.float64], run: RunRecord | Traffic
    ) -> NDArray[np.float64]:
        """Return the shares of a run of which those of the budget are known."""
        if math.isinf(self.client_bytes):
            return budget_R
        traffic = Traffic.of(run) if isinstance(run, RunRecord) else run
        return np.maximum(budget_R, traffic.busiest_bytes() / self.client_bytes)

    def traffic_spending(
        self, traffic: Traffic, closed_at_R: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what messages have spent whose rounds close at these instants."""
        if self.budget.kind == "seconds":
            return closed_at_R
        if self.budget.kind == "dense-rounds":
            return traffic.link_seconds(self.links)
        return traffic.nbytes() / (traffic.shape[1] if self.budget.kind == "client-bytes" else 1)

    def closing_times(self, traffic: Traffic) -> NDArray[np.float64]:
        """Return by when rounds close, with the budget's confidence where it has one.

        Raises:
            ValueError: There are no ``fleets``.
        """
        if self.fleets is None:
            raise ValueError("a limit without fleets times nothing")
        return self.fleets.closing_times(traffic)

    def rounds(self, run: RunRecord | Traffic) -> int:
        """Return how many rounds of a run are affordable."""
        return int(np.count_nonzero(self.shares(run) <= 1))

    def describe(self) -> str:
        """Return the budget in words."""
        if self.budget.kind == "dense-rounds":
            return f"{self.budget.text} = {format_duration(self.amount)} of link time"
        if self.budget.kind == "seconds":
            return f"{format_duration(self.amount)} of simulated time{self._confidence_text()}"
        whose = "a cohort slot" if self.budget.kind == "client-bytes" else "in all"
        return f"{format_bytes(self.amount)} {whose}"

    def _confidence_text(self) -> str:
        """Return how sure a budget in seconds must be, in words."""
        share = self.budget.confidence
        return "" if share is None else f" in {100 * share:.4g} % of fleets"


def parse_budget(text: str) -> Budget:
    """Return the budget of a text.

    Raises:
        BudgetError: The text follows no rule of the grammar, or the amount is not above zero.
    """
    match = _DENSE_ROUNDS.fullmatch(text)
    if match:
        return Budget(text, "dense-rounds", float(match[1]))
    try:
        if text.endswith("/client"):
            return Budget(text, "client-bytes", parse_bytes(text.removesuffix("/client")))
        return Budget(text, "bytes", parse_bytes(text))
    except UnitError:
        pass
    duration, at, percent = text.partition("@")
    try:
        seconds = parse_duration(duration)
    except UnitError:
        raise BudgetError(f"cannot read budget {text!r}; {_GRAMMAR}") from None
    if seconds == 0:
        raise BudgetError(f"budget {text!r} must be above zero")
    return Budget(text, "seconds", seconds, _parse_confidence(text, percent) if at else None)


def _parse_confidence(text: str, percent: str) -> float:
    match = _PERCENT.fullmatch(percent)
    if not match or float(match[1]) == 0:
        raise BudgetError(
            f"budget {text!r}: {percent!r} is no confidence; valid: above 0 and below 100 %, as in "
            "36h@95%"
        )
    return float(match[1]) / 100
