"""Budgets: their grammar, and the amount that a run has spent after each round.

=====================  ======================================================================
text                   limited quantity
=====================  ======================================================================
``50-dense-rounds``    rate-weighted traffic of 50 rounds of dense LoRA at the reference rank,
                       32 bits an entry both ways: the sum over clients of
                       down_bytes / down_rate + up_bytes / up_rate (each client's own nominal
                       rates), without latency, compute or queueing (thesis, section 5.3);
                       bytes that the wire format saves pay for more rounds
``2GB``                encoded bytes of all clients, both directions
``500MB/client``       encoded bytes of each slot of the cohort, both directions: those of all
                       clients over the clients of a round, whichever clients take part
``10MB/device``        encoded bytes of the busiest client in the whole run, both directions
``2GB/month@24/day``   encoded bytes of the busiest client within any 30 days, both directions, if
                       24 rounds start each day, evenly spread: within any 30 * 24 rounds in a row
``50EUR``              money of all bytes on the wire and all energy, by the network's ``[prices]``
``500kJ``              energy of all clients' radios and processors, by the network's ``[energy]``
``5%battery@15Wh``     the same of the client that takes most, as a share of a full battery; its
                       size may be a key of the network's ``[energy]`` instead
``90s``, ``36h``       simulated wall clock, including latency, compute and queueing, in the
                       median of the fleets that the network may draw (see drawn_fleets.py)
``36h@95%``            the same, in at least 95 % of these fleets; ``36h`` is ``36h@50%``
=====================  ======================================================================

A plan may also limit the bytes that the busiest client transfers in a whole run, and the epsilon
that its rounds spend (:mod:`planner.question.privacy`). A :class:`Limit` holds the budget and these
further limits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.time_spread import MEDIAN
from floss_sim.analysis.traffic import Traffic
from floss_sim.analysis.traffic_costs import TrafficCosts
from floss_sim.errors import BudgetError, UnitError
from floss_sim.network import ClientLink
from floss_sim.records import RunRecord
from floss_sim.units import (
    format_bytes,
    format_duration,
    format_energy,
    format_money,
    parse_bytes,
    parse_duration,
    parse_energy,
)
from planner.question.limits import MAX_ROUNDS

BudgetKind = Literal[
    "dense-rounds",
    "bytes",
    "client-bytes",
    "device-bytes",
    "month-bytes",
    "money",
    "energy",
    "battery",
    "seconds",
]
_GRAMMAR = (
    "valid: 50-dense-rounds, 2GB, 500MB/client, 10MB/device, 2GB/month@24/day, 50EUR, 500kJ, "
    "5%battery, 90s, 36h or 36h@95%"
)
_BYTES: Mapping[str, BudgetKind] = {"/client": "client-bytes", "/device": "device-bytes"}
_DENSE_ROUNDS = re.compile(r"([1-9]\d{0,15})-dense-rounds?")
_MONEY = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Z]{3}|[^\w\s%@/.-])")
_BATTERY = re.compile(r"(\d{1,3}(?:\.\d{1,3})?) ?% ?battery(?:@(.*))?")
_MONTH = re.compile(r"([^/]+)/month(?:@(\d{1,6}(?:\.\d{1,6})?)/day)?")
_DAYS_OF_A_MONTH = 30
_FEWEST_A_DAY, _MOST_A_DAY = 0.01, 100_000  # rounds
_PERCENT = re.compile(r"(\d{1,2}(?:\.\d{1,3})?) ?%")


@dataclass(frozen=True)
class Budget:
    """A budget as the user gave it.

    Attributes:
        text: The budget in the grammar of this module.
        kind: The limited quantity.
        amount: Dense rounds, bytes, seconds, money, joules or a fraction of a battery, according to
            ``kind``.
        confidence: Fraction of fleets that must keep to limits of seconds: this budget, and the
            mean duration of a round. Only a budget of seconds can set another than the median.
        currency: Currency of a budget of money; else empty.
        rounds_per_day: Rounds that start each day, of a budget of a month; None for other kinds.
        battery_j: Joules of a full battery; None if the network states them, and for other kinds.
    """

    text: str
    kind: BudgetKind
    amount: float
    confidence: float = MEDIAN
    currency: str = ""
    battery_j: float | None = None
    rounds_per_day: float | None = None

    @property
    def is_sum(self) -> bool:
        """Whether what a run spends is a sum over all its messages."""
        return self.kind in ("dense-rounds", "bytes", "client-bytes")

    @property
    def month_rounds(self) -> int:
        """The most rounds that start within 30 days, of a budget of a month; else 0."""
        return math.ceil(_DAYS_OF_A_MONTH * (self.rounds_per_day or 0))

    @property
    def unit(self) -> str:
        """Unit of a resolved amount."""
        if self.kind in ("energy", "battery"):
            return "J"
        return self.currency or ("s" if self.kind in ("dense-rounds", "seconds") else "bytes")


@dataclass(frozen=True)
class Limit:
    """A budget resolved against a reference run and a network, with the further limits of a run.

    Attributes:
        budget: The budget as the user gave it.
        amount: The budget in its unit: bytes, seconds (link seconds for dense rounds), joules, or
            money.
        links: Links of all clients in the fleet.
        cohort: Clients of a round in the task.
        client_bytes: Most bytes that the busiest client may transfer in a whole run.
        fleets: Fleets that time predicted and recorded traffic; None if nothing is timed.
        costs: Energy and money of traffic; None if nothing is spent.
        private_rounds: Rounds that the epsilon of a run allows, by clients of a round; only for
            cohorts for which they are fewer than the cap.
    """

    budget: Budget
    amount: float
    links: Sequence[ClientLink]
    cohort: int
    client_bytes: float = math.inf
    fleets: Fleets | None = None
    costs: TrafficCosts | None = None
    private_rounds: Mapping[int, int] = field(default_factory=dict)

    def spending(self, run: RunRecord | Traffic) -> NDArray[np.float64]:
        """Return the spending of a run after each round, shape (rounds,), in ``amount``'s unit.

        A recorded run must have been timed on this network.
        """
        traffic = Traffic.of(run) if isinstance(run, RunRecord) else run
        if self.budget.kind != "seconds":
            return self.traffic_spending(traffic, np.empty(0))
        if isinstance(run, RunRecord) and self.fleets and not self.fleets.is_drawn:
            return np.asarray(run.rounds["closed_at_s"], dtype=np.float64)
        return self.closing_times(traffic)

    def shares(self, run: RunRecord | Traffic) -> NDArray[np.float64]:
        """Return the fraction of the limit used after each round, shape (rounds,).

        It is the largest of the fractions used of the budget, of ``client_bytes`` and of the
        rounds that epsilon allows. Above 1 the run is over the limit.
        """
        return self.with_further_limits(self.spending(run) / self.amount, run)

    def with_further_limits(
        self, budget_R: NDArray[np.float64], run: RunRecord | Traffic
    ) -> NDArray[np.float64]:
        """Return the fractions of the limit that a run has used (R), given those of the budget."""
        if math.isinf(self.client_bytes) and not self.private_rounds:
            return budget_R
        traffic = Traffic.of(run) if isinstance(run, RunRecord) else run
        rounds, cohort = traffic.shape
        used_R = np.maximum(budget_R, traffic.busiest_bytes() / self.client_bytes)
        return np.maximum(used_R, self.privacy_shares(cohort, rounds))

    def privacy_shares(self, cohort: int, rounds: int) -> NDArray[np.float64]:
        """Return the fraction of the rounds that epsilon allows after each round, shape (rounds,).

        Args:
            cohort: Clients of a round.
            rounds: Number of rounds.
        """
        allowed = self.private_rounds.get(cohort, math.inf)
        return np.arange(1, rounds + 1) / max(allowed, 0.5)  # none: the first round takes twice it

    def traffic_spending(
        self, traffic: Traffic, closed_at_R: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the spending of messages after each round (R), in the unit of ``amount``.

        Args:
            traffic: The messages.
            closed_at_R: Simulated instants at which the rounds close, in seconds; read only for a
                budget of seconds.
        """
        if self.budget.kind == "seconds":
            return closed_at_R
        if self.budget.kind == "dense-rounds":
            return traffic.link_seconds(self.links)
        if self.budget.kind in ("money", "energy", "battery"):
            return self._costs_spent(traffic)
        if self.budget.kind == "device-bytes":
            return traffic.busiest_bytes()
        if self.budget.kind == "month-bytes":
            return traffic.busiest_bytes_within(self.budget.month_rounds)
        return traffic.nbytes() / (traffic.shape[1] if self.budget.kind == "client-bytes" else 1)

    def _costs_spent(self, traffic: Traffic) -> NDArray[np.float64]:
        """Return the money or the joules after each round (R).

        Raises:
            BudgetError: The network does not state what they are.
        """
        spent_R = None
        if self.costs and self.budget.kind == "money":
            spent_R = self.costs.money(traffic)
        elif self.costs and self.budget.kind == "energy":
            spent_R = self.costs.energy_j(traffic)
        elif self.costs:
            spent_R = self.costs.busiest_device_j(traffic)
        if spent_R is None:
            raise BudgetError(f"budget {self.budget.text!r}: the network does not state its costs")
        return spent_R

    def closing_times(self, traffic: Traffic) -> NDArray[np.float64]:
        """Return the instants in seconds by which rounds close (R).

        The rounds have closed by then in the budget's ``confidence`` of fleets.

        Raises:
            ValueError: There are no ``fleets``.
        """
        if self.fleets is None:
            raise ValueError("cannot compute the closing times of rounds: this Limit has no fleets")
        return self.fleets.closing_times(traffic)

    def sharing(self, runs: int) -> Limit:
        """Return the limit that judges some number of runs, which share what may be simulated."""
        return replace(self, fleets=self.fleets and self.fleets.sharing(runs))

    def rounds(self, run: RunRecord | Traffic) -> int:
        """Return the number of rounds of a run that the limit affords."""
        return int(np.count_nonzero(self.shares(run) <= 1))

    def describe(self) -> str:
        """Return the budget in words."""
        if self.budget.kind == "dense-rounds":
            return f"{self.budget.text} = {format_duration(self.amount)} of link time"
        if self.budget.kind == "seconds":
            return f"{format_duration(self.amount)} of simulated time{self._confidence_text()}"
        if self.budget.kind == "month-bytes":
            rate = f"{self.budget.rounds_per_day:g} round{'s' * (self.budget.rounds_per_day != 1)}"
            return f"{format_bytes(self.amount)} a device in 30 days, at {rate} a day"
        if self.budget.kind == "money":
            return f"{format_money(self.amount, self.budget.currency)} in all"
        if self.budget.kind == "energy":
            return f"{format_energy(self.amount)} of all devices"
        if self.budget.kind == "battery":
            share = f"{100 * self.budget.amount:g} % of a battery"
            return f"{share} = {format_energy(self.amount)} of the device that takes most"
        whose = {"client-bytes": "a cohort slot", "device-bytes": "a device in the whole run"}
        return f"{format_bytes(self.amount)} {whose.get(self.budget.kind, 'in all')}"

    def _confidence_text(self) -> str:
        """Return the confidence of a budget of seconds in words; empty for the median."""
        share = self.budget.confidence
        return "" if share == MEDIAN else f" in {100 * share:.4g} % of fleets"


def parse_budget(text: str) -> Budget:
    """Return the budget of a text.

    Raises:
        BudgetError: The text does not match the grammar, or the amount is not above zero.

    Example:
        >>> from planner import parse_budget
        >>> parse_budget("36h@95%").confidence
        0.95
    """
    match = _DENSE_ROUNDS.fullmatch(text)
    if match:
        if int(match[1]) > MAX_ROUNDS:
            raise BudgetError(f"budget {text!r} is too large; valid: at most {MAX_ROUNDS} rounds")
        return Budget(text, "dense-rounds", float(match[1]))
    try:
        if month := _MONTH.fullmatch(text):
            return _month_budget(text, parse_bytes(month[1]), month[2])
        for whose, kind in _BYTES.items():
            if text.endswith(whose):
                return Budget(text, kind, parse_bytes(text.removesuffix(whose)))
        return Budget(text, "bytes", parse_bytes(text))
    except UnitError:
        pass
    if (cost := _parse_cost(text)) is not None:
        return cost
    duration, at, percent = text.partition("@")
    try:
        seconds = parse_duration(duration)
    except UnitError:
        raise BudgetError(f"cannot read budget {text!r}; {_GRAMMAR}") from None
    if seconds == 0:
        raise BudgetError(f"budget {text!r} must be above zero")
    return Budget(text, "seconds", seconds, _parse_confidence(text, percent) if at else MEDIAN)


def _month_budget(text: str, nbytes: int, rounds_per_day: str | None) -> Budget:
    if rounds_per_day is None:
        raise BudgetError(
            f"budget {text!r} lacks the rounds of a day; give --rounds-per-day 24, or {text}@24/day"
        )
    rounds = float(rounds_per_day)
    if not _FEWEST_A_DAY <= rounds <= _MOST_A_DAY:
        raise BudgetError(
            f"budget {text!r}: valid rounds a day: {_FEWEST_A_DAY} to {_MOST_A_DAY:,}"
        )
    return Budget(text, "month-bytes", nbytes, rounds_per_day=rounds)


def _parse_cost(text: str) -> Budget | None:
    """Return a budget of energy, of a battery or of money; None if the text is none of them.

    Raises:
        BudgetError: The amount is not above zero, or the size of a battery cannot be read.
    """
    try:
        return Budget(text, "energy", parse_energy(text))
    except UnitError as error:
        if "number with a unit" not in str(error) and "has unit" not in str(error):
            raise BudgetError(f"budget {text!r}: {error}") from None
    battery, money = _BATTERY.fullmatch(text), _MONEY.fullmatch(text)
    if battery:
        share = float(battery[1]) / 100
        if not 0 < share <= 1:
            raise BudgetError(f"budget {text!r}: valid shares of a battery: above 0, up to 100 %")
        size = None if battery[2] is None else _parse_battery(text, battery[2])
        return Budget(text, "battery", share, battery_j=size)
    if money:
        if not float(money[1]) > 0:
            raise BudgetError(f"budget {text!r} must be above zero")
        return Budget(text, "money", float(money[1]), currency=money[2])
    return None


def _parse_battery(text: str, size: str) -> float:
    try:
        return parse_energy(size)
    except UnitError as error:
        raise BudgetError(f"budget {text!r}: the battery's size: {error}") from None


def _parse_confidence(text: str, percent: str) -> float:
    match = _PERCENT.fullmatch(percent)
    if not match or float(match[1]) == 0:
        raise BudgetError(
            f"budget {text!r}: {percent!r} is not a confidence; valid: above 0 and below 100 %, as "
            "in 36h@95%"
        )
    return float(match[1]) / 100
