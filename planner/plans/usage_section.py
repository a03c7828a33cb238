"""What a run takes from its devices, as a section of ``plan.json``."""

from __future__ import annotations

from typing import Any, Self

from floss_sim.analysis.traffic import Traffic
from floss_sim.documents import Section
from planner.question.budget import Limit
from planner.question.field_types import Positive, PositiveInt


class UsageSection(Section):
    """What a run takes from its devices. A device is a client of the fleet.

    Attributes:
        busiest_device_bytes: Encoded bytes of the device that transfers most in the whole run, both
            directions, first downloads included.
        mean_device_bytes: Encoded bytes of all devices over the devices of the fleet.
    """

    busiest_device_bytes: PositiveInt
    mean_device_bytes: Positive

    @classmethod
    def of(cls, traffic: Traffic, limit: Limit) -> Self:
        """Return what the messages of a run take.

        Args:
            traffic: The messages of the run, up to its end.
            limit: The limit of the plan, with the links of all devices.
        """
        return cls(
            busiest_device_bytes=round(float(traffic.busiest_bytes()[-1])),
            mean_device_bytes=float(traffic.nbytes()[-1]) / len(limit.links),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return self.model_dump(mode="json")
