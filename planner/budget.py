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
=====================  ======================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import BudgetError, UnitError
from floss_sim.network import ClientLink
from floss_sim.records import RunRecord
from floss_sim.units import (
    BITS_PER_BYTE,
    format_bytes,
    format_duration,
    parse_bytes,
    parse_duration,
)

Kind = Literal["dense-rounds", "bytes", "client-bytes", "seconds"]
_GRAMMAR = "valid: 50-dense-rounds, 2GB, 500MB/client, 90s or 36h"
_DENSE_ROUNDS = re.compile(r"([1-9]\d{0,5})-dense-rounds?")


@dataclass(frozen=True)
class Budget:
    """A budget as it was given: ``amount`` in dense rounds, bytes or seconds by its ``kind``."""

    text: str
    kind: Kind
    amount: float


@dataclass(frozen=True)
class Limit:
    """A budget resolved against a reference and a network.

    ``amount`` is in bytes (kinds of bytes) or seconds (link seconds for dense rounds).
    """

    budget: Budget
    amount: float
    links: Sequence[ClientLink]
    cohort: int

    def spent(self, record: RunRecord) -> NDArray[np.float64]:
        """Return what a run on this network has spent after each round, shape (rounds,)."""
        if self.budget.kind == "dense-rounds":
            return link_seconds(record, self.links)
        if self.budget.kind == "seconds":
            return np.asarray(record.rounds["closed_at_s"], dtype=np.float64)
        both = np.asarray(record.rounds["down_bytes"]) + np.asarray(record.rounds["up_bytes"])
        per = self.cohort if self.budget.kind == "client-bytes" else 1
        return np.cumsum(both, dtype=np.float64) / per

    def rounds(self, record: RunRecord) -> int:
        """Return how many rounds of a run the budget affords."""
        return int(np.count_nonzero(self.spent(record) <= self.amount))

    def describe(self) -> str:
        """Return the budget in words."""
        if self.budget.kind == "dense-rounds":
            return f"{self.budget.text} = {format_duration(self.amount)} of link time"
        if self.budget.kind == "seconds":
            return f"{format_duration(self.amount)} of simulated time"
        whose = "a cohort slot" if self.budget.kind == "client-bytes" else "in all"
        return f"{format_bytes(self.amount)} {whose}"


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
    try:
        seconds = parse_duration(text)
    except UnitError:
        raise BudgetError(f"cannot read budget {text!r}; {_GRAMMAR}") from None
    if seconds == 0:
        raise BudgetError(f"budget {text!r} must be above zero")
    return Budget(text, "seconds", seconds)


def link_seconds(record: RunRecord, links: Sequence[ClientLink]) -> NDArray[np.float64]:
    """Return the cumulative rate-weighted traffic of a run after each round, in seconds.

    Payloads over nominal rates: no latency, header, queue or trace is in it.
    """
    transfers = record.transfers
    clients, client = np.unique(np.asarray(transfers["client"]), return_inverse=True)
    down = np.asarray(transfers["direction"].to_pylist()) != "up"
    down_rate = np.array([links[int(i)].down_bits_per_s for i in clients])[client]
    up_rate = np.array([links[int(i)].up_bits_per_s for i in clients])[client]
    seconds = BITS_PER_BYTE * np.asarray(transfers["nbytes"]) / np.where(down, down_rate, up_rate)
    by_round = np.bincount(np.asarray(transfers["round"]) - 1, weights=seconds)
    return np.cumsum(by_round)
