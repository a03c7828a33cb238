"""Times elsewhere: how long a plan's runs take on other packaged networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from floss_sim.analysis.time_spread import TimeSpread
from planner.plans.time_section import TimeSection

NETWORKS = ("lte", "mobile-mixed", "wifi")  # packaged profiles, in the order of the table
PLAN = "plan"  # key of the recommended run, beside the names of baselines


@dataclass(frozen=True)
class TimesElsewhere:
    """Simulated times of a plan's runs on another network.

    Attributes:
        network: Name of the network profile.
        times: Simulated time over the network's fleets, for ``"plan"`` and each baseline.
    """

    network: str
    times: Mapping[str, TimeSpread]

    def to_json(self) -> dict[str, Any]:
        """Return the times as plain values."""
        times = {name: TimeSection.of(spread).to_json() for name, spread in self.times.items()}
        return {"network": self.network, "times": times}
