"""Fast tests: speed tests with a figure that no access line reaches.

Access lines are sold with up to 10 Gbit/s. Light in fibre needs 0.1 ms for 10 km and back (at
200,000 km/s), so that a shorter round trip has not left the building. A round trip of 0 is no
measurement, and its row is left out of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from floss_sim.network.measured.speed_tests import SpeedTests

FASTEST_BITS_PER_S = 10e9
SHORTEST_RTT_S = 1e-4


@dataclass(frozen=True)
class FastTests:
    """Speed tests of which one quantity is faster than access lines are.

    Attributes:
        count: Their number.
        weight: Fraction of the weight of all tests.
        first_line: Line of the first one in the file.
        first: Its ``down_bits_per_s``, ``up_bits_per_s`` and ``rtt_s``.
    """

    count: int
    weight: float
    first_line: int
    first: Mapping[str, float]


def fast_tests(tests: SpeedTests) -> dict[str, FastTests]:
    """Return the fast tests of a file by quantity; quantities without any are left out."""
    is_fast = {
        "down_bits_per_s": tests.down_bits_per_s > FASTEST_BITS_PER_S,
        "up_bits_per_s": tests.up_bits_per_s > FASTEST_BITS_PER_S,
        "rtt_s": tests.rtt_s < SHORTEST_RTT_S,
    }
    total = float(tests.weights.sum())
    return {
        quantity: FastTests(
            int(fast_N.sum()),
            float(tests.weights[fast_N].sum()) / total,
            int(tests.lines[fast_N][0]),
            {name: float(getattr(tests, name)[fast_N][0]) for name in is_fast},
        )
        for quantity, fast_N in is_fast.items()
        if fast_N.any()
    }
