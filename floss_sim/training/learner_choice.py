"""Choice of a run's learner and of the clients per batched pass, without importing torch.

Both are part of the trajectory fingerprint, so they depend only on the run's settings and the
device. The number of runs that share a device is not part of it, because no record depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from floss_sim.errors import ConfigError
from floss_sim.families.canonical_names import canonical_module
from floss_sim.families.model_table import CONV1D, LINEAR
from floss_sim.families.trained_model import sized_table
from floss_sim.protocol import LearnerIdentity
from floss_sim.training.device import check_precision
from floss_sim.training.memory_bounds import clients_per_pass
from floss_sim.vectors.adapter_layout import is_plain
from floss_sim.vectors.layout import HEAD_KINDS, HEAD_SCALE, WEIGHT, TensorSpec

if TYPE_CHECKING:
    from floss_sim.runs.config import RunConfig

LEARNERS = ("bank", "sequential")
SEQUENTIAL = "torch-sequential"
# XLNet has the tokens of a batch first, and FNet reads padding.
_WITHOUT_BANK = ("xlnet", "fnet")
_OF_POSITIONS = {  # modules that read relative positions, by family
    "deberta": ("in_proj", "pos_proj", "pos_q_proj"),
    "deberta-v2": ("query_proj", "key_proj", "pos_query_proj", "pos_key_proj"),
}


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
    if config.method.zeroth_order:
        reason = "zeroth-order steps are not batched over clients: they train one at a time"
        return LearnerChoice(SEQUENTIAL, 1, reason)
    if config.method.backbone_change:
        reason = "clients whose backbone changes are not batched: they train one at a time"
        return LearnerChoice(SEQUENTIAL, 1, reason)
    if learner == "sequential":
        return LearnerChoice(SEQUENTIAL, 1)
    alone = _unbatched_module(config)
    if alone is not None:
        reason = f"{alone} cannot be batched over clients: they train one at a time"
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


def _unbatched_module(config: RunConfig) -> str | None:
    """Return a module, or a whole weight, that the bank cannot hold for each client; None if none.

    The bank holds adapters of linear modules outside experts, linear modules and norms of a new
    head, and biases of a known family.
    """
    task = config.task
    weight = next((t.name for t in config.layout.tensors if t.kind == WEIGHT), None)
    family = str(task.backbone_config["model_type"])
    if weight or is_plain(task.backbone_config, config.adapters):
        return weight
    table = sized_table(task.backbone_config, task.kind, task.labels)
    kinds = {canonical_module(family, path): kind for path, kind in table.modules.items()}
    scaled = {_module(tensor) for tensor in config.layout.tensors if tensor.kind == HEAD_SCALE}
    for tensor in config.layout.tensors:
        name, sides = _module(tensor), len(tensor.shape)
        batched = kinds.get(name) in (LINEAR, CONV1D) and not _reads_other_rows(family, name)
        if tensor.kind in HEAD_KINDS:
            batched = kinds.get(name) == LINEAR or (name in scaled and sides == 1)
        if not batched:
            return name
    return None


def _reads_other_rows(family: str, module: str) -> bool:
    """Return whether the rows of a module's input are not those of single examples, in order.

    Experts read the tokens that a router gives them. DeBERTa's queries and keys are also made of
    relative positions, which all examples share.
    """
    parts = module.split(".")
    return (
        family in _WITHOUT_BANK or "experts" in parts or parts[-1] in _OF_POSITIONS.get(family, ())
    )


def _module(tensor: TensorSpec) -> str:
    return tensor.name.rpartition(".")[0]
