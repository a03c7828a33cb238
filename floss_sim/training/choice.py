"""Which learner trains a run, and how many clients it takes at once; decided without torch.

Both belong to the trajectory fingerprint, so that they follow from the run's settings alone. How
many runs share a device does not: no record depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.errors import ConfigError
from floss_sim.families import family_of
from floss_sim.runs.config import RunConfig
from floss_sim.training.device import check_precision
from floss_sim.vectors.layout import WEIGHT

LEARNERS = ("bank", "sequential")
SEQUENTIAL = "torch-sequential"
_ACTIVATION_BYTES = {"cpu": 2**30, "cuda": 48 * 2**30, "mps": 4 * 2**30}
_MOST = {"cpu": 32, "cuda": 512, "mps": 64}  # on a CPU more is slower: caches end


@dataclass(frozen=True)
class Company:
    """How the runs of a process share a device.

    Args:
        runs: How many train side by side.
        clients: How many clients of several runs a pass has.
        aside: Whether the device computes beside the processor: other runs go on during a pass,
            and what they evaluate shares passes too.
        shapes: Whether the shape of a pass tells how it rounds.
    """

    runs: int
    clients: int
    aside: bool
    shapes: bool


_COMPANIES = {  # on a CPU more runs of 5 clients gain no more, caches end; nobody has tried mps
    "cpu": Company(4, 24, aside=False, shapes=False),
    "cuda": Company(64, _MOST["cuda"], aside=True, shapes=True),
    "mps": Company(4, _MOST["mps"], aside=False, shapes=True),
}


def company_of(device: str) -> Company:
    """Return how runs share ``"cpu"``, ``"cuda"`` or ``"mps"``."""
    return _COMPANIES[device]


@dataclass(frozen=True)
class Choice:
    """A learner.

    Args:
        kind: Its name in fingerprints.
        chunk: How many clients train at once.
        reason: Why it is not the one that was asked for, in words; empty where it is.
    """

    kind: str
    chunk: int
    reason: str = ""


def choose_learner(config: RunConfig, learner: str = "bank", device: str = "cpu") -> Choice:
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
        return Choice(SEQUENTIAL, 1)
    for tensor in config.layout.tensors:
        if tensor.kind == WEIGHT:
            reason = f"{tensor.name} cannot be stacked for all clients: they train one by one"
            return Choice(SEQUENTIAL, 1, reason)
    chunk = _chunk(config, device)
    return Choice(f"torch-bank-{chunk}", chunk)


def learner_kind(config: RunConfig, learner: str = "bank", device: str = "cpu") -> str:
    """Return what the learner of a run is called in fingerprints."""
    return choose_learner(config, learner, device).kind


def _chunk(config: RunConfig, device: str) -> int:
    """Return a power of two of clients whose activations stay within a bound."""
    fitting = _ACTIVATION_BYTES[device] // (config.client.batch_size * example_bytes(config))
    limited = max(1, min(fitting, _MOST[device]))
    return 1 << (limited.bit_length() - 1)


def example_bytes(config: RunConfig) -> int:
    """Return a bound on the bytes of activations that an example keeps for the backward pass.

    Of each token and layer 12 activations of the model's width, 4 of the inner width and 3
    attention weights a head; the logits of next-token prediction three times; float32.
    """
    backbone = config.task.backbone_config
    family = family_of(backbone)
    sizes = {name: size(backbone) for name, size in family.sizes.items()}
    positions = sizes.get("positions") or int(backbone["max_position_embeddings"])
    tokens = min(positions, config.task.preprocess.max_length or positions)
    heads = int(backbone.get("num_attention_heads", backbone.get("n_head", 12)))
    layer = 12 * sizes["width"] + 4 * sizes["inner"] + 3 * heads * tokens
    logits = 0 if config.task.labels else 3 * sizes["words"]
    return 4 * tokens * (family.depth(backbone) * layer + logits)
