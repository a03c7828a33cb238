"""The learner that really trains: each client in turn, from decoded bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from floss_sim.config import RunConfig
from floss_sim.errors import NonFiniteUpdateError
from floss_sim.messages import Arrival, ClientState, Dispatch, Metrics, Snapshot, Upload
from floss_sim.rng import stream, stream_seed
from floss_sim.sparsity import Vector
from floss_sim.tasks.datasets import Arrays
from floss_sim.training.backbone import FlatModel, build_flat_model
from floss_sim.training.evaluation import measure
from floss_sim.training.local import train_locally
from floss_sim.training.server import ServerOptimizer
from floss_sim.wire import decode, encode, sent_entries


def load(config: RunConfig, device: str, threads: int) -> TorchLearner:
    """Load the backbone and the data, and return a learner at version 0.

    Args:
        config: The run.
        device: ``"cpu"`` or ``"cuda"``.
        threads: Threads of torch in this process.

    Raises:
        TaskError: The backbone or the data cannot be loaded.
    """
    torch.set_num_threads(threads)
    return TorchLearner(config, build_flat_model(config, torch.device(device)))


def on_device(arrays: Arrays, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and classes as tensors on a device."""
    x, y = arrays
    return torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)


class TorchLearner:
    """Trains the clients of a run one after another on one model.

    Clients start from the decoded bytes of their download and the server aggregates the decoded
    bytes of their uploads.
    """

    def __init__(self, config: RunConfig, model: FlatModel) -> None:
        self.config = config
        self.layout = config.layout
        self._model = model
        self._train = on_device(config.task.content.train, model.device)
        self._validation = on_device(config.task.content.validation, model.device)
        self._server = ServerOptimizer(self.layout.initial(config.seed), config.server)
        self._version = 0
        self._download: tuple[int, bytes] = (-1, b"")

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version under the method's download mask, encoded."""
        blob = self.model()
        entries = sent_entries(self.layout, blob)
        return Dispatch(sequence, client, self._version, len(blob), entries, blob)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Train one client from what it decoded; return its update, selected and encoded.

        Raises:
            NonFiniteUpdateError: The update holds NaN or infinity.
        """
        start_N = self._start(dispatch)
        examples = self.config.clients[dispatch.client]
        names = ("client", dispatch.client, "dispatch", dispatch.sequence)
        self._model.load(start_N)
        torch.manual_seed(stream_seed(self.config.seed, *names, "dropout"))
        pixels, labels = (part[torch.from_numpy(examples)] for part in self._train)
        draw = stream(self.config.seed, *names, "batches")
        train_locally(self._model, pixels, labels, self.config.client, draw)
        update_N = start_N - self._model.vector()
        if not np.isfinite(update_N).all():
            raise NonFiniteUpdateError(
                f"the update of client {dispatch.client} from version {dispatch.version} "
                f"(round {dispatch.version + 1}) is not finite; lower the learning rates"
            )
        blob = encode(self.layout, update_N, self.config.method.upload.mask(update_N))
        return Upload(
            dispatch.sequence,
            dispatch.client,
            len(blob),
            sent_entries(self.layout, blob),
            self.config.client.epochs * len(examples),
            blob,
        )

    def _start(self, dispatch: Dispatch) -> Vector:
        offsets_N, _ = decode(self.layout, dispatch.blob)
        base_N: Vector = self._model.base
        return base_N + offsets_N

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take one server step with the weighted mean of the decoded uploads."""
        gradient_N = np.zeros(self.layout.entries, dtype=np.float32)
        for arrival in arrivals:
            update_N, _ = decode(self.layout, arrival.upload.blob)
            gradient_N += np.float32(arrival.weight) * update_N
        self._server.step(gradient_N)
        self._version += 1
        if not np.isfinite(self._server.vector()).all():
            raise NonFiniteUpdateError(
                f"the server's vector is not finite after round {self._version}; "
                "lower the learning rates"
            )
        return self._version

    def evaluate(self, version: int) -> Metrics:
        """Return validation metrics of P * M, and of dense P as a diagnostic."""
        model_N, _ = decode(self.layout, self.model())
        masked = measure(self._model, model_N, *self._validation)
        if not np.isfinite(masked[1]):
            raise NonFiniteUpdateError(
                f"the loss is not finite after round {version}; lower the learning rates"
            )
        dense_N = self._server.vector()
        same = np.array_equal(model_N, dense_N)
        dense = masked if same else measure(self._model, dense_N, *self._validation)
        return Metrics(*masked, *dense)

    def model(self) -> bytes:
        """Return P * M as the download message of the newest version; encoded once a version."""
        if self._download[0] != self._version:
            vector_N = self._server.vector()
            mask_N = self.config.method.download.mask(vector_N)
            self._download = self._version, encode(self.layout, vector_N, mask_N)
        return self._download[1]

    def snapshot(self) -> Snapshot:
        """Return P, the optimiser's moments and the version."""
        return Snapshot(self._version, self._server.state())

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot."""
        self._server.restore(snapshot.tensors)
        self._version = snapshot.version
        self._download = (-1, b"")
