"""A learner from a run's config."""

from __future__ import annotations

import torch

from floss_sim.runs.config import RunConfig
from floss_sim.training.backbone import build_flat_model
from floss_sim.training.bank_learner import BankLearner
from floss_sim.training.bank_model import build_bank_model
from floss_sim.training.choice import SEQUENTIAL, Choice
from floss_sim.training.grid import Grid
from floss_sim.training.heap import keep_freed_memory
from floss_sim.training.learner import TorchLearner
from floss_sim.training.sameness import keep_bits
from floss_sim.training.sequential import SequentialLearner


def load(
    config: RunConfig, choice: Choice, device: str, threads: int, grid: Grid | None = None
) -> TorchLearner:
    """Load the backbone and the data, and return a learner at version 0.

    Args:
        config: The run.
        choice: The learner's kind.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Threads of torch in this process.
        grid: Where the run trains beside others, if anywhere; the caller is a member.

    Raises:
        TaskError: The backbone or the data cannot be loaded.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    place = torch.device(device)
    keep_bits(place)
    if choice.kind == SEQUENTIAL:
        return SequentialLearner(config, build_flat_model(config, place))
    model = build_bank_model(config, place, grid.bank(config) if grid else None)
    return BankLearner(config, model, choice.chunk, grid)
