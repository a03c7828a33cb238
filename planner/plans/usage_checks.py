"""Contradictions between what a plan's runs take and the plan's other figures."""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.usage_section import UsageSection

# The figure that a budget limits, by its kind.
_KEYS = {
    "device-bytes": "busiest_device_bytes",
    "money": "money",
    "energy": "energy_j",
    "battery": "busiest_device_j",
}
_NEAR = 1e-6  # relative difference of figures that are computed in different ways


def usage_contradictions(plan: Plan, name: str, made: Outcome) -> Iterator[str]:
    """Yield the figures of a run's usage that are not those of its bytes and its budget."""
    told = made.usage
    if told is None:
        return
    yield from _figures(plan, name, told, made.total_bytes)
    most = told.busiest_device_bytes
    if most * made.cohort < made.total_bytes / made.rounds:
        yield f"{name}.usage.busiest_device_bytes: {most} is less than a message of the mean round"
    spent, budget = made.spent * plan.limit.amount, plan.limit.budget
    key = _KEYS.get(budget.kind)
    figure = getattr(told, key) if key else spent
    if figure is None or not _near(figure, spent):
        yield f"{name}.usage.{key}: {figure} differs from the {spent:g} of the budget"
    if budget.kind == "month-bytes" and spent > most * (1 + _NEAR):
        yield f"{name}.usage.busiest_device_bytes: {most} is less than the {spent:g} of a month"
    if budget.kind == "money" and told.currency != budget.currency:
        yield f"{name}.usage.currency: {told.currency} is not that of the budget, {budget.currency}"


def answer_contradictions(plan: Plan) -> Iterator[str]:
    """Yield the figures of the usage of answers that are not those of their bytes."""
    for i, answer in enumerate(plan.also):
        if answer.usage and answer.total_bytes is not None:
            yield from _figures(plan, f"also.{i}", answer.usage, answer.total_bytes)


def _figures(plan: Plan, name: str, told: UsageSection, total_bytes: float) -> Iterator[str]:
    """Yield the figures of a usage that contradict each other or the bytes of the run."""
    most, mean = told.busiest_device_bytes, told.mean_device_bytes
    fleet = plan.request.get("fleet")
    if not mean * (1 - _NEAR) - 1 <= most <= total_bytes + 1:  # the busiest is in whole bytes
        yield (
            f"{name}.usage.busiest_device_bytes: {most} is not between the mean of all devices, "
            f"{mean:g}, and the {total_bytes:.0f} bytes of the run"
        )
    if fleet and not _near(mean * fleet["clients"], total_bytes):
        yield (
            f"{name}.usage.mean_device_bytes: {fleet['clients']} devices of {mean:g} bytes are not "
            f"the {total_bytes:.0f} bytes of the run"
        )
    joules, device_j = told.energy_j, told.busiest_device_j
    if joules is not None and device_j is not None and device_j > joules * (1 + _NEAR):
        yield f"{name}.usage.busiest_device_j: {device_j:g} exceeds the {joules:g} of all devices"


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_NEAR)
