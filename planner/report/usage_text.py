"""What a plan's run takes from its devices, in words."""

from __future__ import annotations

from floss_sim.units import format_bytes
from planner.plans.outcome import Outcome


def usage_clause(outcome: Outcome) -> str:
    """Return the sentence on the busiest and the mean device; empty for plans that do not say."""
    told = outcome.usage
    if told is None:
        return ""
    return (
        f" The busiest device transfers {format_bytes(told.busiest_device_bytes)} in all, the mean "
        f"of all devices is {format_bytes(told.mean_device_bytes)}."
    )
