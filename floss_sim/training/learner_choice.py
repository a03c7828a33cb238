"""Which learner trains a run, and how many clients it takes at once; decided without torch.

Both belong to the trajectory fingerprint, so that they follow from the run's settings alone. How
many runs share a device does not: no record depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.errors import ConfigError
from floss_sim.protocol import LearnerIdentity
from floss_sim.runs.config import RunConfig
from floss_sim.training.device import check_precision
from floss_sim.training.memory_bounds import clients_per_pass
from floss_sim.vectors.layout import WEIGHT

LEARNERS = ("bank", "sequential")
SEQUENTIAL = "torch-sequential"


@dataclass(frozen=True)
class LearnerChoice:
    """A learner.

    Args:
        kind: Its name in fingerprints.
        chunk: How many clients train at once.
        reason: Why it is not the one that was asked for, in words; empty where it is.
    """

    kind: str
    chunk: int
    reason: str = ""


def choose_learner(config: RunConfig, learner: str = "bank", device: str = "cpu") -> LearnerChoice:
    """Return the learner that trains a run.

    Args:
        config: The run.
        learner: ``"bank"`` trains all clients of a round together, ``"sequential"`` each in turn.
            Where a layer trains that cannot be stacked, clients train in turn.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        ConfigError: An unknown learner, or a precision that the device lacks.
    """
    check_precision(config.client.precision, device)
    if learner not in LEARNERS:
        raise ConfigError(f"unknown learner {learner!r}; valid: {', '.join(LEARNERS)}")
    if learner == "sequential":
        return LearnerChoice(SEQUENTIAL, 1)
    for tensor in config.layout.tensors:
        if tensor.kind == WEIGHT:
            reason = f"{tensor.name} cannot be stacked for all clients: they train one by one"
            return LearnerChoice(SEQUENTIAL, 1, reason)
    chunk = clients_per_pass(config, device)
    return LearnerChoice(bank_kind(chunk), chunk)


def bank_kind(chunk: int) -> str:
    """Return what the bank's learner of passes of at most ``chunk`` clients is called."""
    return f"torch-bank-{chunk}"


def learner_identity(
    config: RunConfig, learner: str = "bank", device: str = "cpu", threads: int = 1
) -> LearnerIdentity:
    """Return who trains a run, before there is a learner; arguments as of ``open_learner``.

    Raises:
        ConfigError: As :func:`choose_learner`.
    """
    return LearnerIdentity(choose_learner(config, learner, device).kind, device, threads)
