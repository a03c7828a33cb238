"""What runs take, in words and as tables: bytes of devices, energy and money."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.units import format_bytes, format_energy, format_money
from planner.plans.answer import Answer
from planner.plans.plan import Plan
from planner.plans.usage_section import UsageSection
from planner.report.plan_table import SHORT_TITLES, runners_up

UNKNOWN = "unknown"
USAGE_COLUMNS = ("", "busiest device", "mean device", "device energy", "all energy", "money")


def usage_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the table of devices, energy and money, with cells as ``USAGE_COLUMNS``.

    Empty for plans of earlier versions, which do not tell.
    """
    if not any(_usages(plan)):
        return []
    named = [("plan", plan.recommendation)]
    named += [(f"#{i}", outcome) for i, outcome in enumerate(runners_up(plan), start=2)]
    named += [(title, o) for name, title in SHORT_TITLES.items() if (o := plan.baselines[name])]
    return [(title, *usage_cells(outcome.usage)) for title, outcome in named]


def answer_usage_rows(answers: Sequence[Answer], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the rows of answers, with cells as in ``USAGE_COLUMNS``.

    ``~`` marks what a forecast's predicted messages take; an unknown answer has no figures.

    Args:
        answers: The answers.
        names: First cell of each row.
    """
    rows = []
    for name, answer in zip(names, answers, strict=True):
        if answer.usage is None:
            rows.append((name, *["-"] * (len(USAGE_COLUMNS) - 1)))
        else:
            mark = "~" if answer.kind == "forecast" else ""
            rows.append((name, *usage_cells(answer.usage, mark)))
    return rows


def plan_usage_legend(plan: Plan) -> list[str]:
    """Return what the figures of a plan's table are; empty without the table."""
    return usage_legend(_usages(plan))


def usage_legend(usages: Sequence[UsageSection | None]) -> list[str]:
    """Return what the figures of devices, energy and money are, and which of them are unknown.

    Args:
        usages: What each row of the table tells; None tells nothing.
    """
    told = [usage for usage in usages if usage]
    if not told:
        return []
    energies_j, moneys = [each.energy_j for each in told], [each.money for each in told]
    lines = [
        "A device is a client of the fleet, in the whole run; device energy is that of the one "
        "that takes most."
    ]
    if any(amount is not None for amount in (*energies_j, *moneys)):
        lines.append(
            "Energy and money are those of the fleet with the links of the network's seed."
        )
    lacking = ["energy"] * (None in energies_j) + ["money"] * (None in moneys)
    if lacking:
        lines.append(
            f"{' and '.join(lacking).capitalize()} {'are' if lacking[1:] else 'is'} {UNKNOWN} "
            "where the network's file lacks [energy] or [prices]."
        )
    return [" ".join(lines)]


def _usages(plan: Plan) -> list[UsageSection | None]:
    trained = [outcome for outcome in plan.baselines.values() if outcome]
    return [run.usage for run in (plan.recommendation, *plan.runners_up, *trained)]


def usage_cells(told: UsageSection | None, mark: str = "") -> tuple[str, ...]:
    """Return the figures of a usage as in ``USAGE_COLUMNS``, without a row's name.

    Args:
        told: The usage; None is unknown.
        mark: Text before each known figure.
    """
    if told is None:
        return (UNKNOWN,) * (len(USAGE_COLUMNS) - 1)
    money = None if told.money is None else format_money(told.money, told.currency or "")
    joules = [
        None if each is None else format_energy(each)
        for each in (told.busiest_device_j, told.energy_j)
    ]
    nbytes = map(format_bytes, (told.busiest_device_bytes, told.mean_device_bytes))
    return tuple(UNKNOWN if cell is None else mark + cell for cell in (*nbytes, *joules, money))
