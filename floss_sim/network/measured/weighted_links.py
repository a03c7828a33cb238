"""Weighted links: rates and round trips of many clients, and the time of their exchanges."""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.network.measured.weighted_statistics import FloatArray
from floss_sim.units import BITS_PER_BYTE


@dataclass(frozen=True)
class WeightedLinks:
    """Links from which each client draws one, with probabilities proportional to the weights.

    Attributes:
        down_bits_per_s: Download rates (N,).
        up_bits_per_s: Upload rates (N,).
        rtt_s: Round trips in seconds (N,).
        weights: Weights (N,), above zero.
    """

    down_bits_per_s: FloatArray
    up_bits_per_s: FloatArray
    rtt_s: FloatArray
    weights: FloatArray

    def exchange_s(self, nbytes: int) -> FloatArray:
        """Return the seconds (N,) in which each client downloads and uploads ``nbytes`` bytes.

        Nothing else limits or delays it: no other transfer, no overhead, no training. The two
        transfers take half a round trip each besides the time of their bits.
        """
        bits = BITS_PER_BYTE * nbytes
        return bits / self.down_bits_per_s + bits / self.up_bits_per_s + self.rtt_s
