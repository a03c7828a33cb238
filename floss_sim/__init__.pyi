from .analysis.backbone_lookup import backbone_model
from .analysis.deployment import Deployment
from .analysis.estimate import Estimate, estimate
from .analysis.run_times import time_spread
from .analysis.time_spread import TimeSpread
from .errors import FlossError
from .families.adapter_settings import AdapterSettings
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
    "AdapterSettings",
    "Deployment",
    "Estimate",
    "FlossError",
    "RunConfig",
    "RunFolder",
    "RunRecord",
    "SavedRun",
    "TimeSpread",
    "__version__",
    "backbone_model",
    "buffered",
    "deadline",
    "dense",
    "estimate",
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
