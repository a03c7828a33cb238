"""Measurement of a local step in a training process, and the load of what it trains with."""

from __future__ import annotations

import resource
import time

from floss_sim.runs.config import RunConfig
from floss_sim.training.step_time import StepTime, bank_step_time

# A step's time, the seconds of measuring once all was loaded, and the process's peak memory in
# bytes.
StepMeasurement = tuple[StepTime, float, int]


def measure_step(config: RunConfig, device: str) -> StepMeasurement:
    """Return the measurement of a step in this process.

    Args:
        config: The run whose step is measured.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    began_s = time.perf_counter()
    found = bank_step_time(config, device)
    measuring_s = time.perf_counter() - began_s - found.loading_s
    return found, measuring_s, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def load_learner(config: RunConfig, device: str) -> None:
    """Load libraries, backbone and data of a run, which this process keeps.

    Args:
        config: The run.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    from floss_sim.training import open_learner, open_side_by_side

    open_learner(config, device, beside=open_side_by_side(device))
