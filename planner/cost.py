"""What a candidate costs, without training: sizes predicted by the wire, timed by the network."""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.config import RunConfig
from floss_sim.errors import BudgetError
from floss_sim.network import NetworkProfile
from floss_sim.records import RunRecord
from floss_sim.run import size_only
from planner.budget import Budget, Limit


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a candidate.

    Predicted sizes are upper bounds (exact zeros make real messages smaller), so ``horizon``
    rounds are always affordable.

    Attributes:
        down_bytes: One download.
        up_bytes: One upload.
        round_s: Mean simulated seconds of a round.
        horizon: Rounds that the budget affords, at most the cap.
        spend: Share of the budget that each round takes, on average.
    """

    down_bytes: int
    up_bytes: int
    round_s: float
    horizon: int
    spend: float


def resolve(
    budget: Budget, reference: RunConfig, profile: NetworkProfile
) -> Limit:
    """Return a budget's limit on a network.

    Args:
        budget: As given.
        reference: Dense LoRA at the reference rank; what dense rounds are counted in.
        profile: The fleet's links.
    """
    links, cohort = profile.links(reference.fleet.clients), reference.server.cohort
    if budget.kind != "dense-rounds":
        return Limit(budget, budget.amount, links, cohort)
    unresolved = Limit(budget, 0.0, links, cohort)
    record = size_only(reference, profile, int(budget.amount))
    return Limit(budget, float(unresolved.spent(record)[-1]), links, cohort)


def predict(config: RunConfig, profile: NetworkProfile, limit: Limit, max_rounds: int) -> Cost:
    """Return the predicted cost of a candidate, simulating ``max_rounds`` rounds size-only."""
    return cost_of(size_only(config, profile, max_rounds), limit)


def cost_of(record: RunRecord, limit: Limit) -> Cost:
    """Return the cost that a size-only record shows."""
    rounds = record.rounds.num_rows
    spent = limit.spent(record)
    first = {row["direction"]: row["nbytes"] for row in record.transfers.slice(0, 2).to_pylist()}
    return Cost(
        down_bytes=first["down"],
        up_bytes=first["up"],
        round_s=record.rounds["closed_at_s"][-1].as_py() / rounds,
        horizon=limit.rounds(record),
        spend=float(spent[-1]) / rounds / limit.amount,
    )


def affordable(costs: dict[str, Cost], limit: Limit) -> None:
    """Check that some candidate can afford a round.

    Raises:
        BudgetError: None can; says what the cheapest round takes.
    """
    if any(cost.horizon for cost in costs.values()):
        return
    name, cheapest = min(costs.items(), key=lambda item: item[1].spend)
    raise BudgetError(
        f"budget {limit.budget.text!r} affords no round of any candidate; one round of the "
        f"cheapest ({name}) takes {cheapest.spend:.3g} times that"
    )
