from .analysis.run_times import time_spread
from .analysis.time_spread import TimeSpread
from .errors import FlossError
from .methods import dense, floss, method_from_name
from .network import load_profile
from .records import RunFolder, RunRecord
from .runs.config import RunConfig
from .runs.lockstep import run, size_only
from .runs.retiming import retime
from .saved_run import SavedRun, train
from .simulator import buffered, deadline, first_k, wait_all
from .tasks import load_task
from .training import open_learner

__version__: str
__all__ = [
    "FlossError",
    "RunConfig",
    "RunFolder",
    "RunRecord",
    "SavedRun",
    "TimeSpread",
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
    "time_spread",
    "train",
    "wait_all",
]
