"""Base class of the learners that train with torch: dispatch, training, evaluation, snapshots.

All values are read from decoded messages. Subclasses implement ``_update``, the local training.
The server's state and steps, the downloads, what clients keep, and their own models are classes of
their own.

Shapes: N adapter entries.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim.errors import NonFiniteUpdateError
from floss_sim.protocol import (
    Arrival,
    ClientState,
    Dispatch,
    Job,
    LearnerIdentity,
    Metrics,
    OwnMetrics,
    Snapshot,
    Upload,
)
from floss_sim.runs.config import RunConfig
from floss_sim.training.device_data import device_tensors
from floss_sim.training.evaluation import EvaluableModel, measure, predictions
from floss_sim.training.learner_choice import kind_of_run
from floss_sim.training.learners.client_memory import ClientMemory
from floss_sim.training.learners.downloads import Downloads
from floss_sim.training.learners.local_steps import LocalSteps, OnWork
from floss_sim.training.learners.local_works import LocalWorks
from floss_sim.training.learners.own_models import OwnModels, Split
from floss_sim.training.learners.server_state import ServerState
from floss_sim.training.learners.server_step import ServerStep
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import decode


class TorchLearner(ABC):
    """Learner whose clients start from decoded downloads and whose server averages decoded uploads.

    P is the server's vector (offsets from the base), and M the download mask of a version.

    Args:
        config: The run.
        model: Model with the run's layout; its values are overwritten.
        kind: The kind of the learner in fingerprints.

    Attributes:
        identity: The learner's kind, the type of the model's device, and torch's number of threads.
        diagnose: Whether evaluation also measures dense P.
        measures_own: Whether evaluation also measures the clients' own models where all hold the
            global one. Where a method has private entries, it always does.
        holds_clients: Whether clients' states are here; the server of a deployed run lacks them.
        steps: The local steps of the dispatches in flight.
        on_work: Called after each local step, and before each evaluation.
    """

    def __init__(self, config: RunConfig, model: EvaluableModel, kind: str) -> None:
        self.config = config
        named = kind_of_run(config, kind)
        self.identity = LearnerIdentity(named, model.device.type, torch.get_num_threads())
        self.diagnose, self.measures_own, self.holds_clients = True, False, True
        self.steps = LocalSteps()
        self.on_work: OnWork = lambda what, done, total: None
        self.layout = config.layout
        self.method = config.method
        self._measured = model
        self._split = device_tensors(config.task.content.train, model.device)
        self._validation = device_tensors(config.task.content.validation, model.device)
        self._server = ServerState(config)
        self._downloads = Downloads(config, self._server)
        self._clients = ClientMemory(config, self._server)
        self._step = ServerStep(config, self._server, self._clients)
        self._own_models = OwnModels(config, model, self._clients, self._downloads)
        self._works = LocalWorks(config, model, self._split[0], self._clients)

    @property
    def version(self) -> int:
        """The newest version: the number of server steps."""
        return self._server.version

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version under the client's download mask, encoded."""
        sent = self._downloads.dispatch(client, sequence)
        self.steps.begin({sequence: self._planned_steps(client)})
        return sent

    def _planned_steps(self, client: int) -> int:
        """Return a client's local steps; batches without any target are left out later."""
        settings = self.config.client
        batches = math.ceil(len(self.config.clients[client]) / settings.batch_size)
        return self.config.local_passes * batches

    def _count(self, sequences: Iterable[int]) -> None:
        """Count a local step of some dispatches, and tell it."""
        self.steps.advance(sequences)
        self.on_work("training", self.steps.done, self.steps.total)

    def job(self, dispatch: Dispatch) -> Job | None:
        """Return None: clients train when their upload is requested."""
        return None

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Train one client from its decoded download; return its update, selected and encoded.

        Raises:
            NonFiniteUpdateError: The update holds NaN or infinity.
        """
        client, sequence, clients = dispatch.client, dispatch.sequence, self._clients
        clients.hear(client, client_state)
        start_N = clients.start(dispatch)
        update_N = self._update(dispatch)
        if not np.isfinite(update_N).all():
            raise NonFiniteUpdateError(
                f"the update of client {client} from version {dispatch.version} "
                f"(round {dispatch.version + 1}) is not finite; lower the learning rates"
            )
        reply = self._server.exchange.upload(
            update_N, self.config.tier_of(client), client, sequence,
            clients.content(dispatch).trained, client_state, self._upload_mask(dispatch),
            dispatch.version, start_N,
        )  # fmt: skip
        examples = self.config.local_passes * len(self.config.clients[client])
        kept = clients.keep(dispatch, start_N, update_N)
        return Upload(
            sequence, client, len(reply.blob), reply.entries, examples,
            reply.blob, {**reply.state, **kept}, {**reply.lost_state, **kept},
        )  # fmt: skip

    @abstractmethod
    def _update(self, dispatch: Dispatch) -> Vector:
        """Return a client's start values minus its trained values, float32 of shape (N,)."""

    def _upload_mask(self, dispatch: Dispatch) -> Mask | None:
        """Return the mask of a client's upload if the device has selected one, else None."""
        return None

    def forget(self, dispatch: Dispatch, kept: ClientState) -> None:
        """Drop what is known of a dispatch that has finished; its client has what it keeps of it.

        Subclasses drop cached results as well.
        """
        self.steps.forget(dispatch.sequence)
        self._clients.hear(dispatch.client, kept)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take one server step with the weighted mean of the decoded uploads, then prune.

        Returns:
            The new version.

        Raises:
            NonFiniteUpdateError: The server's vector holds NaN or infinity.
        """
        self._step.take(arrivals)
        self._downloads.clear()
        return self.version

    def decoded_upload(self, dispatch: Dispatch, blob: bytes) -> Vector:
        """Return the update that an upload carries, float32 of shape (N,).

        Args:
            dispatch: The dispatch that the upload answers.
            blob: Bytes of the upload.

        Raises:
            PayloadError: The bytes are no upload of this run.
        """
        return self._step.decoded_upload(dispatch, blob)

    def most_upload_entries(self, dispatch: Dispatch) -> int:
        """Return the most entries that the upload of a dispatch carries by its method."""
        tier = self.config.tier_of(dispatch.client)
        return self.method.upload_size(self.layout, tier, dispatch.version).count

    def evaluate(self, version: int) -> Metrics:
        """Return validation metrics of P * M and, if ``diagnose`` is set, of dense P.

        Raises:
            NonFiniteUpdateError: The loss is not finite.
        """
        self.on_work("evaluating", 0, 0)
        model_N, _ = decode(self.layout, self.model())
        masked, own = self._measure_with_own(model_N)
        if not np.isfinite(masked[1]):
            raise NonFiniteUpdateError(
                f"the loss is not finite after round {version}; lower the learning rates"
            )
        if not self.diagnose:
            return Metrics(*masked, own=own)
        dense_N = self._clients.private.with_global(self._server.vector())
        same = np.array_equal(model_N, dense_N)
        dense = masked if same else self._measure(dense_N)
        return Metrics(*masked, *dense, own)

    def _measure_with_own(self, model_N: Vector) -> tuple[tuple[float, float], OwnMetrics | None]:
        """Return accuracy and loss of the global model, and the means of the clients' own models.

        The latter are None where they are not asked for.
        """
        if self.method.private and self.holds_clients:
            return self._measure(model_N), self.own_metrics("validation")
        if not self.measures_own:
            return self._measure(model_N), None
        made = predictions(self._measured, model_N, *self._validation)
        own = self._own_models.metrics_of_global("validation", made)
        return (made.accuracy, made.loss), own

    def own_metrics(self, split: Split) -> OwnMetrics:
        """Return the means over the clients of each one's own model.

        Args:
            split: ``"validation"`` or ``"test"``.
        """
        return self._own_models.metrics(split)

    def own_model(self, dispatch: Dispatch, state: ClientState) -> Vector:
        """Return the offsets of a client's own model: a download, and its private entries."""
        self._clients.hear(dispatch.client, state)
        offsets_N = self._clients.content(dispatch).offsets
        return self._clients.private.start(dispatch.client, offsets_N)

    def measure_own_model(self, client: int, own_N: Vector) -> OwnMetrics:
        """Return accuracy and loss of a client's own model on validation data like its own."""
        return self._own_models.metrics_of_client(client, own_N)

    def own_right(self, split: Split) -> NDArray[np.float64]:
        """Return by target what the clients' own models get right, shape (M,).

        Its mean is the accuracy of :meth:`own_metrics`, whose argument is the same.
        """
        return self._own_models.right(split)

    def _measure(self, vector_N: Vector) -> tuple[float, float]:
        """Return accuracy and loss of a vector on the validation split."""
        return measure(self._measured, vector_N, *self._validation)

    def model(self) -> bytes:
        """Return P * M, encoded for a client of the widest tier that holds no mask.

        If each dispatch downloads a mask of its own, the model is all of P. Private entries, which
        the server lacks, are the mean of the clients' (the model that one more upload by each of
        them would give), or initial values, as the method says.
        """
        method, downloads = self.method, self._downloads
        if method.private:
            return downloads.of_all(self._clients.private.with_global(downloads.values(0)))
        if method.downloads_changes or method.downloads_by_dispatch:
            return downloads.of_all(self._server.vector())
        return downloads.of_tier(method.widest_tier(self.layout))

    def snapshot(self) -> Snapshot:
        """Return P, the server optimiser's moments, the version, and the state of masks, if any."""
        return self._server.snapshot()

    def restore_clients(self, states: Mapping[int, ClientState]) -> None:
        """Set what is known of the clients to their states, and forget all else of them."""
        self._clients.restore(states)

    def forget_client(self, client: int) -> None:
        """Record that a client has lost what it held, so that its next download is whole."""
        self._server.ledger.confirm(client, 0)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore the state of a snapshot.

        Raises:
            RecordError: The snapshot is that of another rank, layout, method or optimiser.
        """
        self._server.restore(snapshot)
        self.restore_clients(snapshot.clients)
        self._downloads.clear()

    def device_peak_bytes(self) -> int | None:
        """Return torch's peak memory on a CUDA device, in bytes; None on other devices."""
        device = self._measured.device
        return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
