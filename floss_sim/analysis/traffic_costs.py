"""Energy and money of messages on a network, predicted or recorded, without simulation.

Bytes on the wire and seconds of compute are those of the network's own fleet; they are those that
:func:`floss_sim.analysis.costs.account` reads from a record that was timed on it.

Shapes: R rounds, C clients of a round.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from floss_sim.analysis.compute_times import compute_seconds
from floss_sim.analysis.round_times import Clock, wire_bytes_of
from floss_sim.analysis.traffic import Floats, Ints, Traffic
from floss_sim.network import NetworkProfile
from floss_sim.network.profile import PricesSection


@dataclass(frozen=True)
class TrafficCosts:
    """Costs of messages by the ``[energy]`` and ``[prices]`` of a profile.

    Attributes:
        profile: The network.
        clients: Clients of the fleet.
    """

    profile: NetworkProfile
    clients: int

    @property
    def has_energy(self) -> bool:
        """Whether the profile states the energy of traffic or of compute."""
        return self.profile.energy.is_known

    @property
    def prices(self) -> PricesSection | None:
        """The profile's prices; None if it states none, or a price of an energy that it lacks."""
        prices = self.profile.prices
        if prices is None or not prices.are_known:
            return None
        return None if prices.per_joule and not self.has_energy else prices

    @property
    def currency(self) -> str | None:
        """The currency of the prices; None if money is unknown."""
        return self.prices.currency if self.prices else None

    def joules(self, traffic: Traffic) -> Floats | None:
        """Return the energy of each participation (R x C); None if the profile states none."""
        if not self.has_energy:
            return None
        links, place_RC = self._clock.links_by_place(traffic)
        compute_s_RC = compute_seconds(traffic, links, place_RC)
        return self.profile.energy.joules(*self.wire_bytes(traffic), compute_s_RC)

    def energy_j(self, traffic: Traffic) -> Floats | None:
        """Return the joules of all clients after each round (R); None if unknown."""
        joules_RC = self.joules(traffic)
        return None if joules_RC is None else np.cumsum(joules_RC.sum(axis=1))

    def busiest_device_j(self, traffic: Traffic) -> Floats | None:
        """Return the joules of the client that has taken most after each round (R), or None."""
        joules_RC = self.joules(traffic)
        return None if joules_RC is None else traffic.most_of_a_client(joules_RC)

    def money(self, traffic: Traffic) -> Floats | None:
        """Return the money after each round (R), in ``currency``; None if unknown."""
        if self.prices is None:
            return None
        joules_RC = self.joules(traffic)
        if joules_RC is None:
            joules_RC = np.zeros(traffic.shape)
        money_RC = self.prices.money(*self.wire_bytes(traffic), joules_RC)
        return np.cumsum(money_RC.sum(axis=1))

    def wire_bytes(self, traffic: Traffic) -> tuple[Floats, Floats]:
        """Return bytes on the wire of each participation, down and up (R x C).

        They include the set-up of connections, and first downloads.
        """
        down_RC = self._message_bytes(traffic, traffic.down, "down")
        up_RC = self._message_bytes(traffic, traffic.up, "up")
        if traffic.first.any():
            first_RC = self._message_bytes(traffic, traffic.first, "down")
            down_RC = down_RC + np.where(traffic.first, first_RC, 0.0)
        return down_RC, up_RC

    def _message_bytes(self, traffic: Traffic, nbytes_RC: Ints, way: str) -> Floats:
        transport = self.profile.transport
        links, place_RC = self._clock.links_by_place(traffic)
        wire_RC = wire_bytes_of(nbytes_RC, links, place_RC, transport, way)
        return (wire_RC + transport.setup_bytes).astype(np.float64)

    @cached_property
    def _clock(self) -> Clock:
        return Clock(self.profile, self.clients)
