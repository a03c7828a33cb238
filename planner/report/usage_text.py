"""What a plan's runs take, in words and as a table: bytes of devices, energy and money."""

from __future__ import annotations

from floss_sim.units import format_bytes, format_energy, format_money
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.plan_table import SHORT_TITLES, runners_up

UNKNOWN = "unknown"
USAGE_COLUMNS = ("", "busiest device", "mean device", "device energy", "all energy", "money")


def usage_clause(outcome: Outcome) -> str:
    """Return the sentences on devices, energy and money; empty for plans that do not say."""
    told = outcome.usage
    if told is None:
        return ""
    pairs = (("energy", told.energy_j), ("money", told.money))
    unknown = [name for name, amount in pairs if amount is None]
    names = " and ".join(unknown).capitalize()
    lacking = f" {names} {'are' if unknown[1:] else 'is'} unknown." if unknown else ""
    return (
        f" The busiest device transfers {format_bytes(told.busiest_device_bytes)} in all, the mean "
        f"of all devices is {format_bytes(told.mean_device_bytes)}."
        f"{lacking}"
    )


def usage_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the table of energy and money, with cells as in ``USAGE_COLUMNS``.

    Empty if neither is known of any run.
    """
    shown = [("plan", plan.recommendation)]
    shown += [(f"#{i}", outcome) for i, outcome in enumerate(runners_up(plan), start=2)]
    shown += [(title, o) for name, title in SHORT_TITLES.items() if (o := plan.baselines[name])]
    told = [outcome.usage for _, outcome in shown]
    if all(each is None or each.energy_j is each.money is None for each in told):
        return []
    return [(title, *_cells(outcome)) for title, outcome in shown]


def usage_legend(plan: Plan) -> list[str]:
    """Return what the figures of the table of energy and money are; empty without the table."""
    if not usage_rows(plan):
        return []
    return [
        "A device is a client of the fleet, in the whole run: the one with most bytes, the mean of "
        "all, and the energy of the one that takes most. All energy and the money are those of the "
        "fleet, by [energy] and [prices] of the network's file, with the links of its seed.",
    ]


def _cells(outcome: Outcome) -> tuple[str, ...]:
    told = outcome.usage
    if told is None:
        return (UNKNOWN,) * (len(USAGE_COLUMNS) - 1)
    joules = (
        UNKNOWN if each is None else format_energy(each)
        for each in (told.busiest_device_j, told.energy_j)
    )
    money = UNKNOWN if told.money is None else format_money(told.money, told.currency or "")
    nbytes = (told.busiest_device_bytes, told.mean_device_bytes)
    return (*map(format_bytes, nbytes), *joules, money)
