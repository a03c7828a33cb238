"""Jitter of a transfer: exponential, drawn from the random stream of its dispatch.

The simulator and the planner's closed form both draw jitter here, so that they agree to the bit.
"""

from __future__ import annotations

from floss_sim.rng import stream


def unit_jitter(seed: int, sequence: int, direction: str) -> float:
    """Return the jitter of a transfer divided by its mean: a standard exponential draw.

    Args:
        seed: Seed of the network profile.
        sequence: Number of the dispatch.
        direction: ``"down"``, ``"up"`` or ``"first"`` (first download).
    """
    draw = stream(seed, "network", "dispatch", sequence, direction, "jitter")
    return float(draw.standard_exponential())
