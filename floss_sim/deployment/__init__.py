"""A run outside the simulator: the exported app, and what its server and its nodes compute.

The framework's own types are known to the files of the app alone (``flower_app/``). Everything that
trains, encodes, checks and records is here, and takes plain values.
"""

from floss_sim.deployment.export import export_app
from floss_sim.deployment.framework import check_framework
from floss_sim.deployment.node import NodeRun
from floss_sim.deployment.recorded_run import export_run
from floss_sim.deployment.run_file import DeployedRun, RunFile, read_run_file
from floss_sim.deployment.server import ClosedRound, Reply, ServerRun, open_server

__all__ = [
    "ClosedRound",
    "DeployedRun",
    "NodeRun",
    "Reply",
    "RunFile",
    "ServerRun",
    "check_framework",
    "export_app",
    "export_run",
    "open_server",
    "read_run_file",
]
