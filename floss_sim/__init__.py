"""floss-sim: the bytes, the seconds and the accuracy of federated LoRA fine-tuning.

Importing this package loads no training framework; :func:`train` and :func:`open_learner` do.
"""

from importlib.metadata import version

from floss_sim.errors import FlossError
from floss_sim.methods import dense, floss, method_from_name
from floss_sim.network import load_profile
from floss_sim.records import RunFolder, RunRecord
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import run, size_only
from floss_sim.runs.retiming import retime
from floss_sim.saved_run import SavedRun, train
from floss_sim.simulator import buffered, deadline, first_k, wait_all
from floss_sim.tasks import load_task
from floss_sim.training import open_learner

__version__ = version("floss-sim")
__all__ = [
    "FlossError",
    "RunConfig",
    "RunFolder",
    "RunRecord",
    "SavedRun",
    "__version__",
    "buffered",
    "deadline",
    "dense",
    "first_k",
    "floss",
    "load_profile",
    "load_task",
    "method_from_name",
    "open_learner",
    "retime",
    "run",
    "size_only",
    "train",
    "wait_all",
]
