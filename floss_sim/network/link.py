"""One client's link to the server, and how long a payload takes on it.

A transfer takes half a round trip (propagation) plus ``8 * bytes / rate`` (serialisation). Each
client has its own link and the server's capacity is unlimited, so transfers do not contend.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import simpy

from floss_sim.units import BITS_PER_BYTE


@dataclass(frozen=True)
class ClientLink:
    """Rates, round trip and compute speed of one client."""

    down_bits_per_s: float
    up_bits_per_s: float
    rtt_s: float
    compute_s_per_example: float

    def download_s(self, nbytes: int) -> float:
        """Return the seconds that a download of ``nbytes`` takes."""
        return self.rtt_s / 2 + BITS_PER_BYTE * nbytes / self.down_bits_per_s

    def upload_s(self, nbytes: int) -> float:
        """Return the seconds that an upload of ``nbytes`` takes."""
        return self.rtt_s / 2 + BITS_PER_BYTE * nbytes / self.up_bits_per_s

    def compute_s(self, examples: int) -> float:
        """Return the seconds of local training on ``examples``."""
        return self.compute_s_per_example * examples


def transfer(env: simpy.Environment, seconds: float) -> Generator[simpy.Event, None, None]:
    """Occupy a link for the seconds of one payload (a SimPy process fragment)."""
    yield env.timeout(seconds)
