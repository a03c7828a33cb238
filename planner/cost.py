"""What a candidate costs, without training: sizes predicted by the wire, timed by the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from floss_sim import RunConfig
from floss_sim.calibration import Calibration
from floss_sim.errors import BudgetError
from floss_sim.network import NetworkProfile
from floss_sim.records import RunRecord
from floss_sim.run import size_only
from floss_sim.wire import plain_nbytes, predict_nbytes
from planner.budget import Limit
from planner.request import Request
from planner.space import Candidate


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a candidate.

    Sizes are those of uniform masks and normal values (``wire.predict_nbytes``); what a run really
    takes is known from its first rounds on.

    Attributes:
        down_bytes: One download.
        up_bytes: One upload.
        round_s: Mean simulated seconds of a round.
        horizon: Rounds that the budget affords, at most the cap.
        most: Largest share of the budget that a round takes.
    """

    down_bytes: int
    up_bytes: int
    round_s: float
    horizon: int
    most: float

    def to_json(self) -> dict[str, float]:
        """Return the cost as plain values."""
        return {
            "down_bytes": self.down_bytes,
            "up_bytes": self.up_bytes,
            "round_s": self.round_s,
            "affordable_rounds": self.horizon,
        }

    @property
    def run_bytes(self) -> int:
        """Bytes of one client's transfers in each of ``horizon`` rounds."""
        return self.horizon * (self.down_bytes + self.up_bytes)


@dataclass(frozen=True)
class Costs:
    """The budget's limit, and the cost of every candidate and baseline that affords a round.

    ``searched`` are the candidates among them.
    """

    limit: Limit
    of: Mapping[Candidate, Cost]
    searched: tuple[Candidate, ...]

    @property
    def grid_rounds(self) -> int:
        """Rounds that training every candidate to its horizon would take."""
        return sum(self.of[candidate].horizon for candidate in self.searched)


def price(request: Request) -> Costs:
    """Return the costs of a request, without training.

    Raises:
        BudgetError: No candidate can afford a round; says what the cheapest takes.
    """
    limit = resolve(request)
    wanted = {*request.candidates, *request.baselines().values()}

    def predicted(candidate: Candidate) -> Cost:
        record = size_only(request.config(candidate), request.profile, request.max_rounds)
        return cost_of(record, limit)

    costs = {candidate: predicted(candidate) for candidate in sorted(wanted)}
    searched = tuple(sorted(c for c in set(request.candidates) if costs[c].horizon))
    if not searched:
        cheapest = min(request.candidates, key=lambda c: costs[c].most)
        raise BudgetError(
            f"budget {limit.budget.text!r} affords no round of any candidate; a round of the "
            f"cheapest ({cheapest}) takes {costs[cheapest].most:.3g} times the budget"
        )
    return Costs(limit, {c: cost for c, cost in costs.items() if cost.horizon}, searched)


def resolve(request: Request) -> Limit:
    """Return the limit that a request's budget sets on its network."""
    reference, budget = request.reference(), request.budget
    links = request.profile.links(reference.fleet.clients)
    limit = Limit(budget, budget.amount, links, reference.server.cohort)
    if budget.kind != "dense-rounds":
        return limit
    record = _dense_rounds(reference, request.profile, int(budget.amount))
    return Limit(budget, float(limit.spent(record)[-1]), links, limit.cohort)


def _dense_rounds(reference: RunConfig, profile: NetworkProfile, rounds: int) -> RunRecord:
    """Return dense rounds as the thesis counts them: 32 bits an entry, whatever they hold."""
    entries = reference.layout.entries
    plain = (plain_nbytes(entries) / predict_nbytes(entries, entries),) * 2
    return size_only(reference, profile, rounds, calibration=Calibration(*plain))


def cost_of(record: RunRecord, limit: Limit) -> Cost:
    """Return the cost that a size-only record shows."""
    spent = limit.spent(record)
    transfers = record.transfers
    down, up = (
        transfers["nbytes"][pc.index(transfers["direction"], way).as_py()].as_py()
        for way in ("down", "up")
    )
    return Cost(
        down_bytes=down,
        up_bytes=up,
        round_s=record.rounds["closed_at_s"][-1].as_py() / record.rounds.num_rows,
        horizon=limit.rounds(record),
        most=float(np.max(np.diff(spent, prepend=0.0))) / limit.amount,
    )
