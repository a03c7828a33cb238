"""Budgets of money, energy and battery: what a network must state for them."""

from __future__ import annotations

from dataclasses import replace

from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError
from floss_sim.network import NetworkProfile
from planner.question.budget import Limit

_ENERGY_KEYS = "joules_per_mb_down, joules_per_mb_up or compute_watts"


def with_known_costs(limit: Limit, profile: NetworkProfile, a_round: Traffic) -> Limit:
    """Return a limit of money, energy or battery with its amount in money or joules.

    Args:
        limit: The limit.
        profile: The network.
        a_round: Messages of one round.

    Raises:
        BudgetError: The network lacks keys, which the message names, or they make a round free.
    """
    if limit.budget.kind == "money":
        _check_prices(limit, profile)
    else:
        _check_energy(limit, profile)
    if limit.budget.kind == "battery":
        size_j = limit.budget.battery_j or profile.energy.battery
        if size_j is None:
            raise BudgetError(
                f"budget {limit.budget.text!r} lacks the battery's size; give --battery 15Wh, or "
                f'battery = "15 Wh" in [energy] of {profile.name}'
            )
        limit = replace(limit, amount=limit.budget.amount * size_j)
    if not limit.traffic_spending(a_round, a_round.nbytes())[-1] > 0:
        raise BudgetError(
            f"budget {limit.budget.text!r}: a round costs nothing on {profile.name}; see its "
            "[energy] and [prices]"
        )
    return limit


def _check_prices(limit: Limit, profile: NetworkProfile) -> None:
    asked, prices = limit.budget, profile.prices
    if prices is None or not prices.are_known:
        raise BudgetError(
            f"budget {asked.text!r} needs prices, which {profile.name} lacks; add [prices] with "
            f'currency = "{asked.currency}" and per_gb_down, per_gb_up or per_joule to its file'
        )
    if prices.per_joule and not profile.energy.is_known:
        raise BudgetError(
            f"budget {asked.text!r}: {profile.name} has a price per_joule, but no energy; add "
            f"[energy] with {_ENERGY_KEYS}"
        )
    if prices.currency != asked.currency:
        raise BudgetError(
            f"budget {asked.text!r}: the prices of {profile.name} are in {prices.currency}, not in "
            f"{asked.currency}"
        )


def _check_energy(limit: Limit, profile: NetworkProfile) -> None:
    if not profile.energy.is_known:
        raise BudgetError(
            f"budget {limit.budget.text!r} needs energy, which {profile.name} lacks; add [energy] "
            f"with {_ENERGY_KEYS} to its file"
        )
