"""Limits for training several runs in one process, by device; known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.training.memory_bounds import MAX_CLIENTS


@dataclass(frozen=True)
class DeviceLimits:
    """How the runs of a process share a device.

    Args:
        max_runs: Runs that train side by side, at most.
        max_clients: Clients of several runs in one batched pass, at most.
        overlaps_host: Whether the device computes asynchronously: other runs continue during a
            pass, and their evaluations are batched too.
        checks_by_shape: Whether bit-identity must be checked for each shape of a batch (GPU), not
            once for a model (CPU).
    """

    max_runs: int
    max_clients: int
    overlaps_host: bool
    checks_by_shape: bool


_LIMITS = {  # on a CPU more runs of 5 clients gain no more, caches end; nobody has tried mps
    "cpu": DeviceLimits(4, 24, overlaps_host=False, checks_by_shape=False),
    "cuda": DeviceLimits(64, MAX_CLIENTS["cuda"], overlaps_host=True, checks_by_shape=True),
    "mps": DeviceLimits(4, MAX_CLIENTS["mps"], overlaps_host=False, checks_by_shape=True),
}


def limits_of(device: str) -> DeviceLimits:
    """Return how runs share ``"cpu"``, ``"cuda"`` or ``"mps"``."""
    return _LIMITS[device]
