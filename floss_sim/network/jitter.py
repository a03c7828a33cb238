"""Jitter of a message: exponential, drawn from the stream of its dispatch.

The simulator and the planner's closed form draw it here, so that they agree to the bit.
"""

from __future__ import annotations

from floss_sim.rng import stream


def unit_jitter(seed: int, sequence: int, direction: str) -> float:
    """Return the jitter of a message over its mean: standard exponential.

    Args:
        seed: The network's.
        sequence: The number of the dispatch.
        direction: ``"down"``, ``"up"`` or ``"first"``.
    """
    draw = stream(seed, "network", "dispatch", sequence, direction, "jitter")
    return float(draw.standard_exponential())
