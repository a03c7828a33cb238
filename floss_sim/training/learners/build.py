"""Construction of a run's learner from its config."""

from __future__ import annotations

from functools import cache, partial

import torch

from floss_sim.families import FAMILIES
from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.model import Bank, build_bank, build_bank_model
from floss_sim.training.bank.self_check import check_clients
from floss_sim.training.bank.updates import Updates, full_updates
from floss_sim.training.determinism import make_deterministic
from floss_sim.training.learner_choice import SEQUENTIAL, LearnerChoice
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.learners.seed_learner import SeedLearner
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.memory_bounds import MAX_SHARED_CLIENTS
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.training.models.seed_model import build_seed_model
from floss_sim.training.side_by_side.bit_checks import BitChecks
from floss_sim.training.side_by_side.stepping import SideBySide


def build_learner(
    config: RunConfig,
    choice: LearnerChoice,
    device: str,
    threads: int,
    beside: SideBySide | None = None,
) -> TorchLearner:
    """Load the backbone and the data, and return a learner at version 0.

    Args:
        config: The run.
        choice: The learner's kind and the number of clients in its passes.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: CPU threads that torch uses in this process, at least 1.
        beside: The loop that steps this run beside others, which share its backbone; None: the run
            has a backbone of its own.

    Raises:
        TaskError: The backbone or the data cannot be loaded.
    """
    torch.set_num_threads(threads)
    place = torch.device(device)
    make_deterministic(place)
    if config.method.zeroth_order:
        return SeedLearner(config, build_seed_model(config, place))
    if choice.kind == SEQUENTIAL:
        return SequentialLearner(config, build_flat_model(config, place))
    bank = beside.bank(config) if beside else _build_bank(config, place)
    return BankLearner(config, build_bank_model(config, place, bank), choice.chunk, _updates(place))


@cache
def open_side_by_side(device: str) -> SideBySide:
    """Return the loop of this process that trains several runs on a device."""
    return SideBySide(_checks(device), partial(_build_bank, device=torch.device(device)))


def _checks(device: str) -> BitChecks:
    most = MAX_SHARED_CLIENTS[device]
    if device == "cpu":
        return BitChecks(most)
    from floss_sim.training.gpu.shape_checks import ShapeChecks

    return ShapeChecks(most)


def _build_bank(config: RunConfig, device: torch.device) -> Bank:
    if device.type == "cuda":
        from floss_sim.training.gpu.cuda_graphs import graphs_of

        bank = build_bank(config, device, graphs_of(config))
    else:
        bank = build_bank(config, device)
    if config.task.backbone_config["model_type"] not in FAMILIES:
        check_clients(config, bank)
    return bank


def _updates(device: torch.device) -> Updates:
    if device.type != "cuda":
        return full_updates
    from floss_sim.training.gpu.device_top_k import top_k_updates

    return top_k_updates
