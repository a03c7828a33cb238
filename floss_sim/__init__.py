"""floss-sim: what federated LoRA fine-tuning costs in bytes and seconds, and what it learns.

Importing this package loads no training framework; :func:`floss_sim.training.open_learner` does.
"""

from floss_sim.errors import FlossError
from floss_sim.methods import dense, floss
from floss_sim.network import load_profile
from floss_sim.records import RunFolder, RunRecord
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import run, size_only
from floss_sim.runs.retiming import retime
from floss_sim.tasks import load_task
from floss_sim.training import open_learner

__all__ = [
    "FlossError",
    "RunConfig",
    "RunFolder",
    "RunRecord",
    "dense",
    "floss",
    "load_profile",
    "load_task",
    "open_learner",
    "retime",
    "run",
    "size_only",
]
