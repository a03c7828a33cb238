"""What a run takes: bytes and energy of devices, and money, as a section of ``plan.json``."""

from __future__ import annotations

from typing import Any, Self

from pydantic import model_validator

from floss_sim.analysis.traffic import Floats, Traffic
from floss_sim.documents import Section
from planner.question.budget import Limit
from planner.question.field_types import Amount, OneLine, Positive, PositiveInt


class UsageSection(Section):
    """What a run takes. A device is a client of the fleet; None is unknown.

    Attributes:
        busiest_device_bytes: Encoded bytes of the device that transfers most in the whole run, both
            directions, first downloads included.
        mean_device_bytes: Encoded bytes of all devices over the devices of the fleet.
        energy_j: Joules of all devices, radio and processor, on the fleet of the network's seed.
        busiest_device_j: Joules of the device that takes most.
        money: Money of all bytes on the wire and of all energy, in ``currency``.
        currency: Currency of the network's prices.
    """

    busiest_device_bytes: PositiveInt
    mean_device_bytes: Positive
    energy_j: Amount | None = None
    busiest_device_j: Amount | None = None
    money: Amount | None = None
    currency: OneLine | None = None

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if (self.energy_j is None) != (self.busiest_device_j is None):
            raise ValueError("energy_j and busiest_device_j belong together; give both or none")
        if (self.money is None) != (self.currency is None):
            raise ValueError("money and currency belong together; give both or none")
        return self

    @classmethod
    def of(cls, traffic: Traffic, limit: Limit) -> Self:
        """Return what the messages of a run take.

        Args:
            traffic: The messages of the run, up to its end.
            limit: The limit of the plan, with the links of all devices.
        """
        costs = limit.costs
        return cls(
            energy_j=_last(costs.energy_j(traffic)) if costs else None,
            busiest_device_j=_last(costs.busiest_device_j(traffic)) if costs else None,
            money=_last(costs.money(traffic)) if costs else None,
            currency=costs.currency if costs else None,
            busiest_device_bytes=round(float(traffic.busiest_bytes()[-1])),
            mean_device_bytes=float(traffic.nbytes()[-1]) / len(limit.links),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return self.model_dump(mode="json")


def _last(amount_R: Floats | None) -> float | None:
    return None if amount_R is None else float(amount_R[-1])
