"""pfl on the task: its federated averaging on its simulated backend, in one process."""

from __future__ import annotations

from importlib.metadata import version

import task
import torch
from mlp import mlp, weights_of
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    """The MLP with the two methods that pfl asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp()

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return a batch's mean loss."""
        return functional.cross_entropy(self.layers(x), y)

    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict:
        """Return nothing: the benchmark measures accuracy by itself."""
        return {}


class Rounds(TrainingProcessCallback):
    """Tells the clock when a round is over."""

    def __init__(self, clock: task.Clock) -> None:
        self.clock = clock

    def after_central_iteration(self, *_: object, central_iteration: int) -> tuple[bool, Metrics]:
        """Count from 1, and go on."""
        self.clock.after(central_iteration + 1)
        return False, Metrics()


def main() -> None:
    """Train, and print what it took."""
    torch.set_num_threads(1)
    clock = task.Clock(task.rounds_wanted())
    x, y = map(torch.from_numpy, task.clients())
    users = [PyTorchTensorDataset((x[i], y[i]), user_id=str(i)) for i in range(task.CLIENTS)]
    order = (client for cohort in task.cohorts() for client in cohort)
    data = FederatedDataset(users.__getitem__, lambda: next(order))
    module = Model()
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0))
    local = NNTrainHyperParams(
        local_num_epochs=1, local_learning_rate=task.LEARNING_RATE, local_batch_size=task.BATCH
    )
    # Round 0 alone is evaluated, before the clock starts.
    settings = NNAlgorithmParams(clock.last, clock.last, task.COHORT, 0)
    FederatedAveraging().run(
        settings, SimulatedBackend(data, data), model, local, callbacks=[Rounds(clock)]
    )
    versions = {"pfl": version("pfl"), "torch": torch.__version__}
    clock.report(versions, weights_of(module))


if __name__ == "__main__":
    main()
