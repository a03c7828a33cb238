"""Limits for training several runs in one process, by device; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.training.memory_bounds import MAX_CLIENTS


@dataclass(frozen=True)
class DeviceLimits:
    """Limits for training several runs of one process on a device.

    Args:
        max_runs: Largest number of runs that train at the same time.
        max_clients: Largest number of clients of all runs in one batched pass.
        overlaps_host: Whether the device computes asynchronously: other runs continue during a
            pass, and their evaluations are batched too.
        checks_by_shape: Whether bit-identity must be checked for each shape of a pass (GPU), not
            once for a model (CPU).
    """

    max_runs: int
    max_clients: int
    overlaps_host: bool
    checks_by_shape: bool


_LIMITS = {  # cpu: more runs of 5 clients exceed the caches and gain nothing; mps: untested
    "cpu": DeviceLimits(4, 24, overlaps_host=False, checks_by_shape=False),
    "cuda": DeviceLimits(64, MAX_CLIENTS["cuda"], overlaps_host=True, checks_by_shape=True),
    "mps": DeviceLimits(4, MAX_CLIENTS["mps"], overlaps_host=False, checks_by_shape=True),
}


def limits_of(device: str) -> DeviceLimits:
    """Return the limits for a device: ``"cpu"``, ``"cuda"`` or ``"mps"``."""
    return _LIMITS[device]
