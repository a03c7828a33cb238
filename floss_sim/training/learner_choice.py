"""Choice of a run's learner and of the clients per batched pass, without importing torch.

Both are part of the trajectory fingerprint, so they depend only on the run's settings and the
device. The number of runs that share a device is not part of it, because no record depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from floss_sim.errors import ConfigError
from floss_sim.protocol import LearnerIdentity
from floss_sim.training.device import check_precision
from floss_sim.training.memory_bounds import clients_per_pass
from floss_sim.vectors.layout import WEIGHT

if TYPE_CHECKING:
    from floss_sim.runs.config import RunConfig

LEARNERS = ("bank", "sequential")
SEQUENTIAL = "torch-sequential"


@dataclass(frozen=True)
class LearnerChoice:
    """The learner chosen for a run.

    Args:
        kind: Name of the learner in fingerprints.
        chunk: Largest number of clients in one pass.
        reason: A sentence that says why the requested learner cannot be used; empty if it is used.
    """

    kind: str
    chunk: int
    reason: str = ""


def choose_learner(config: RunConfig, learner: str = "bank", device: str = "cpu") -> LearnerChoice:
    """Return the learner that trains a run.

    Args:
        config: The run's configuration.
        learner: ``"bank"`` trains the clients of a round in batched passes, ``"sequential"`` one
            client at a time. If a trained layer cannot be batched over clients, the result is the
            sequential learner.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        ConfigError: The learner is unknown, or the device does not support the precision.
    """
    check_precision(config.client.precision, device)
    if learner not in LEARNERS:
        raise ConfigError(f"unknown learner {learner!r}; valid: {', '.join(LEARNERS)}")
    if learner == "sequential":
        return LearnerChoice(SEQUENTIAL, 1)
    for tensor in config.layout.tensors:
        if tensor.kind == WEIGHT:
            reason = f"{tensor.name} cannot be batched over clients: they train one at a time"
            return LearnerChoice(SEQUENTIAL, 1, reason)
    chunk = clients_per_pass(config, device)
    return LearnerChoice(bank_kind(chunk), chunk)


def kind_of_run(config: RunConfig, kind: str) -> str:
    """Return the fingerprint name of a learner that trains a run.

    Kept activations may change the last bits of a record, and are part of the name.
    """
    return f"{kind}-prefix" if config.keeps_prefix else kind


def bank_kind(chunk: int) -> str:
    """Return the fingerprint name of the bank learner with at most ``chunk`` clients a pass."""
    return f"torch-bank-{chunk}"


def learner_identity(
    config: RunConfig, learner: str = "bank", device: str = "cpu", threads: int = 1
) -> LearnerIdentity:
    """Return the identity of a run's learner without building the learner.

    Args:
        config: The run's configuration.
        learner: ``"bank"`` or ``"sequential"``.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Number of torch threads.

    Raises:
        ConfigError: The learner is unknown, or the device does not support the precision.
    """
    kind = choose_learner(config, learner, device).kind
    return LearnerIdentity(kind_of_run(config, kind), device, threads)
