"""Construction of a run's learner from its config."""

from __future__ import annotations

import torch

from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.model import build_bank_model
from floss_sim.training.determinism import make_deterministic
from floss_sim.training.learner_choice import SEQUENTIAL, LearnerChoice
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.malloc import keep_freed_memory
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.training.side_by_side.scheduler import PassScheduler


def build_learner(
    config: RunConfig,
    choice: LearnerChoice,
    device: str,
    threads: int,
    grid: PassScheduler | None = None,
) -> TorchLearner:
    """Load the backbone and the data, and return a learner at version 0.

    Args:
        config: The run.
        choice: The learner's kind and the number of clients in its passes.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: CPU threads that torch uses in this process, at least 1.
        grid: Scheduler that batches this run with others; None: the run trains alone. The calling
            thread must be inside its ``membership()``.

    Raises:
        TaskError: The backbone or the data cannot be loaded.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    place = torch.device(device)
    make_deterministic(place)
    if choice.kind == SEQUENTIAL:
        return SequentialLearner(config, build_flat_model(config, place))
    model = build_bank_model(config, place, grid.bank(config) if grid else None)
    return BankLearner(config, model, choice.chunk, grid)
