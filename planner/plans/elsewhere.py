"""Times elsewhere: how long a plan's runs take on other packaged networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLAN = "plan"  # key of the recommended run, beside the names of baselines


@dataclass(frozen=True)
class TimesElsewhere:
    """Simulated seconds of a plan's runs on another network.

    Attributes:
        network: Name of the network profile.
        seconds: Median over fleets of the simulated seconds, for ``"plan"`` and each baseline.
    """

    network: str
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the times as plain values."""
        return {"network": self.network, "seconds": dict(self.seconds)}
