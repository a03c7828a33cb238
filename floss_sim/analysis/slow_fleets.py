"""Fleets on which a single client takes more than half of a run's time.

They explain an interval whose upper end is far above its median: the network may draw a fleet with
one client that is much slower than the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.stragglers import link_text, time_without_slowest
from floss_sim.analysis.traffic import Traffic
from floss_sim.network import ClientLink

_HALF = 0.5


@dataclass(frozen=True)
class SlowFleets:
    """Fleets of one network on which a single client takes more than half of a run's time.

    Attributes:
        fleets: Their number.
        draws: Number of fleets that were looked at.
        link: The link of the client that takes the largest fraction of a run's time.
    """

    fleets: int
    draws: int
    link: ClientLink

    @property
    def text(self) -> str:
        """How many fleets, and the link of the worst client."""
        return (
            f"on {self.fleets} of {self.draws} fleets a single client takes more than half of the "
            f"time, at worst one with {link_text(self.link)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, and the rates and the round trip of the link, as plain values."""
        names = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "compute_s_per_example")
        link = {name: getattr(self.link, name) for name in names}
        return {"fleets": self.fleets, "draws": self.draws, "worst_link": link}


def find_slow_fleets(fleets: Fleets, traffic: Traffic) -> SlowFleets | None:
    """Return the fleets on which a single client takes more than half of the time, or None.

    Jitter is left out. None also where clients share capacity or rates vary: the time of a single
    client then has no closed form.

    Args:
        fleets: The fleets that a network may draw.
        traffic: The messages of the run.
    """
    if len(fleets.clocks) == 1 or not fleets.clocks[0].is_steady(traffic):
        return None
    found: list[tuple[float, ClientLink]] = []
    for clock in fleets.clocks:
        seconds_RC = clock.client_seconds(traffic, jitter=False)
        client, without_s = time_without_slowest(seconds_RC, traffic.clients)
        part = without_s / float(seconds_RC.max(axis=1).sum())
        if part < _HALF:
            found.append((part, clock.link(client)))
    if not found:
        return None
    worst = min(found, key=lambda one: one[0])
    return SlowFleets(len(found), len(fleets.clocks), worst[1])
