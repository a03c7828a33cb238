"""Parts of a round's time: download, compute, upload, latency, queueing, a framework's floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.traffic import Traffic

ROUND_PARTS = ("download", "compute", "upload", "latency", "queueing")
FRAMEWORK = "framework"  # further part on a network with a deployment framework


def round_shares(clock: Clock, traffic: Traffic) -> dict[str, float]:
    """Return the shares of the round time of the slowest client, which add up to 1.

    ``queueing`` is the rest, which other clients' transfers and jitter cause. ``framework`` is
    there on a network with a framework: the time that the run would not take without it.

    Args:
        clock: The clock of a fleet.
        traffic: The messages of the run.
    """
    if clock.framework:
        plain = clock.without_framework()
        ratio = float(plain.closing_times(traffic)[-1] / clock.closing_times(traffic)[-1])
        shares = {part: ratio * share for part, share in round_shares(plain, traffic).items()}
        return {**shares, FRAMEWORK: 1 - ratio}
    nothing = np.zeros_like(traffic.down)
    work = replace(traffic.work, fixed_steps=0) if traffic.work else None  # follows the examples
    idle = replace(traffic, examples=nothing, work=work)
    parts = {
        "latency": replace(idle, first=nothing, down=nothing, up=nothing),
        "download": replace(idle, up=nothing),
        "compute": replace(traffic, first=nothing, down=nothing, up=nothing),
        "upload": replace(idle, first=nothing, down=nothing),
    }
    seconds = {name: clock.client_seconds(part, jitter=False) for name, part in parts.items()}
    whole_s = clock.client_seconds(traffic, jitter=False)
    rounds_R = np.arange(len(whole_s))
    slowest_R = whole_s.argmax(axis=1)
    sums = {name: float(s[rounds_R, slowest_R].sum()) for name, s in seconds.items()}
    sums = {name: s - (name != "latency") * sums["latency"] for name, s in sums.items()}
    total_s = max(float(clock.closing_times(traffic)[-1]), sum(sums.values()))
    sums["queueing"] = total_s - sum(sums.values())
    return {name: s / total_s if total_s else 0.0 for name, s in sums.items()}
