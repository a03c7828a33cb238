"""Flower on the task: its federated averaging in its simulation engine, a worker a core.

Flower samples the clients of a round by itself and weighs them by examples, here all alike.
"""

from __future__ import annotations

from importlib.metadata import version

import task
import torch
from flower_client import client_app
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from mlp import mlp, weights_of

server_app = ServerApp()
clock = task.Clock(task.rounds_wanted())


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """Play the rounds, and print what they took."""
    strategy = FedAvg(
        fraction_train=task.COHORT / task.CLIENTS,
        fraction_evaluate=0.0,
        min_train_nodes=task.COHORT,
        min_available_nodes=task.CLIENTS,
    )
    result = strategy.start(
        grid,
        ArrayRecord(mlp().state_dict()),
        num_rounds=clock.last,
        evaluate_fn=lambda number, arrays: clock.after(number),
    )
    model = mlp()
    model.load_state_dict(result.arrays.to_torch_state_dict())
    versions = {"flwr": version("flwr"), "torch": torch.__version__}
    # Its workers are other processes: this one's processor time says little.
    clock.report(versions, weights_of(model), updates_per_processor_s=None)


if __name__ == "__main__":
    resources = {"num_cpus": 1, "num_gpus": 0.0}
    backend = {"client_resources": resources}
    run_simulation(server_app, client_app, task.CLIENTS, backend_config=backend)
