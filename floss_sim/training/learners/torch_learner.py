"""Base class of the learners that train with torch: dispatch, aggregation, evaluation, snapshots.

All values are read from decoded messages. Subclasses implement ``_update``, the local training.

Shapes: N adapter entries.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim.errors import NonFiniteUpdateError
from floss_sim.methods import (
    BackboneExchange,
    ChangeHistory,
    ClientVectors,
    Contribution,
    Exchange,
    Gradient,
    MaskHistory,
    MaskLedger,
    PrivateEntries,
)
from floss_sim.methods.backbone_exchange import HELD_VERSION
from floss_sim.methods.factor_messages import Bundle
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
from floss_sim.protocol.weighting import staleness_weight
from floss_sim.runs.config import RunConfig
from floss_sim.runs.own_data import own_weights
from floss_sim.tasks.arrays import Arrays
from floss_sim.training.device_data import device_tensors
from floss_sim.training.evaluation import EvaluableModel, measure, predictions
from floss_sim.training.learner_choice import kind_of_run
from floss_sim.training.learners.local_steps import LocalSteps, OnWork
from floss_sim.training.learners.own_models import Group, measure_own, own_right, own_sums
from floss_sim.training.learners.snapshot_shapes import check_shapes
from floss_sim.training.local_sgd import Work, work_of
from floss_sim.training.models.inputs import Tensors
from floss_sim.training.server_optimizer import BasisChange, ServerOptimizer
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import decode, sent_entries


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
        self._exchange = Exchange(self.method, self.layout, config.seed, config.server.cohort)
        self._measured = model
        self._split = self.on_device(config.task.content.train)
        self._validation = self.on_device(config.task.content.validation)
        self._server = ServerOptimizer(self.layout.initial_vector(config.seed), config.server)
        self._history = MaskHistory(self.layout.entries)
        self._ledger = MaskLedger(config.fleet.clients)
        initial_N = self.layout.initial_vector(config.seed)
        self._private = PrivateEntries(self.layout, self.method.private, initial_N)
        self._held = ClientVectors("held", self.method.downloads_changes)
        self._changes = ChangeHistory(self.layout.entries)
        self._backbone: BackboneExchange | None = None
        if self.method.backbone_change:
            self._backbone = BackboneExchange(
                self.method.backbone_change, self.layout, config.adapters.scale,
                self.method.down_values, config.seed,
            )  # fmt: skip
        self._held_version = ClientVectors(HELD_VERSION, self._backbone is not None)
        self._has_ledger = self.method.has_ledger
        self._version = 0
        self._masks: dict[int, Mask] = {}  # download masks of the newest version, by tier
        self._values: dict[int, Vector] = {}  # decoded downloads of the newest version, by tier
        # Encoded downloads of the newest version, by tier and by the version whose mask the client
        # holds (None: the message does not depend on a mask that the client holds).
        self._blobs: dict[tuple[int, int | None], bytes] = {}
        # The message that was decoded last, with its offsets and the mask of trained entries.
        self._decoded: tuple[bytes | None, tuple[Vector, Mask | None]]
        self._decoded = None, (model.base[:0], None)
        self._started = self._decoded[1][0], model.base  # last start: offsets, values

    def _tier(self, client: int) -> int:
        return self.method.tier_of(client, self.config.fleet.clients)

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version under the client's download mask, encoded."""
        tier = self._tier(client)
        held = self._ledger.held_version(client) if self._has_ledger else 0
        known_N = self._exchange.known_download_mask(
            self._history, tier, self._version, held, sequence
        )
        if self.method.downloads_by_dispatch:
            mask_N = np.ones(self.layout.entries, dtype=bool) if known_N is None else known_N
            blob = self._encode_download(mask_N, tier, known_N)
        else:
            blob = self._download(tier, held, known_N, self._held_mask(tier, held))
        entries = Bundle.unpack(blob).entries(self.layout) if self._backbone else sent_entries(blob)
        self.steps.begin({sequence: self._planned_steps(client)})
        return Dispatch(sequence, client, self._version, len(blob), entries, blob, held)

    def _planned_steps(self, client: int) -> int:
        """Return a client's local steps; batches without any target are left out later."""
        settings = self.config.client
        batches = math.ceil(len(self.config.clients[client]) / settings.batch_size)
        return self.config.local_passes * batches

    def _count(self, sequences: Iterable[int]) -> None:
        """Count a local step of some dispatches, and tell it."""
        self.steps.advance(sequences)
        self.on_work("training", self.steps.done, self.steps.total)

    def _held_mask(self, tier: int, held: int) -> Mask | None:
        """Return the mask held by server and client, within which a download may be encoded."""
        return self._ledger.mask(tier, held, self.layout.entries)

    def _download(
        self, tier: int, held: int, known_N: Mask | None, held_N: Mask | None = None
    ) -> bytes:
        """Return the newest version's download, encoded once for all clients with the same mask."""
        whole = known_N is None and held_N is None and not self.method.downloads_changes
        key = tier, None if whole else held
        if key not in self._blobs:
            ledger = self.method.change_ledger
            mask_N = self._changes.since(held) if ledger else self._download_mask(tier)
            blob = self._encode_download(mask_N, tier, known_N, held_N)
            if self._backbone:
                vector_N = self._server.vector()
                blob = self._backbone.download(blob, vector_N, held, self._version)
            self._blobs[key] = blob
        return self._blobs[key]

    def _encode_download(
        self, mask_N: Mask, tier: int, known_N: Mask | None, held_N: Mask | None = None
    ) -> bytes:
        return self._exchange.download(
            self._server.vector(), mask_N, tier, self._version, known_N, held_N
        )

    def _download_mask(self, tier: int) -> Mask:
        if tier not in self._masks:
            vector_N = self._server.vector()
            self._masks[tier] = self._exchange.download_mask(
                vector_N, self._history, tier, self._version
            )
        return self._masks[tier]

    def job(self, dispatch: Dispatch) -> Job | None:
        """Return None: clients train when their upload is requested."""
        return None

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Train one client from its decoded download; return its update, selected and encoded.

        Raises:
            NonFiniteUpdateError: The update holds NaN or infinity.
        """
        client, sequence, tier = dispatch.client, dispatch.sequence, self._tier(dispatch.client)
        self._hear(client, client_state)
        offsets_N, trained_N = self._download_content(dispatch)
        start_N = self._start(dispatch, offsets_N)
        update_N = self._update(dispatch)
        if not np.isfinite(update_N).all():
            raise NonFiniteUpdateError(
                f"the update of client {client} from version {dispatch.version} "
                f"(round {dispatch.version + 1}) is not finite; lower the learning rates"
            )
        reply = self._exchange.upload(
            update_N, tier, client, sequence, trained_N, client_state,
            self._upload_mask(dispatch), dispatch.version, start_N,
        )  # fmt: skip
        examples = self.config.local_passes * len(self.config.clients[client])
        own = self._private.train(sequence, start_N - update_N)
        kept = {**own, **self._held.keep(sequence, start_N if self._backbone else offsets_N)}
        kept |= self._held_version.keep(sequence, np.array([dispatch.version], dtype=np.float32))
        return Upload(
            sequence, client, len(reply.blob), reply.entries, examples,
            reply.blob, {**reply.state, **kept}, {**reply.lost_state, **kept},
        )  # fmt: skip

    def restore_clients(self, states: Mapping[int, ClientState]) -> None:
        """Set what is known of the clients to their states, and forget all else of them."""
        for vectors in (self._private, self._held, self._held_version):
            vectors.restore(states)

    def forget_client(self, client: int) -> None:
        """Record that a client has lost what it held, so that its next download is whole."""
        self._ledger.confirm(client, 0)

    def _hear(self, client: int, state: ClientState) -> None:
        """Take over the vectors of a client's state."""
        self._private.hear(client, state)
        self._held.hear(client, state)
        self._held_version.hear(client, state)

    def _download_content(self, dispatch: Dispatch) -> tuple[Vector, Mask | None]:
        """Return a client's decoded offsets, and the mask of entries that train (None: all).

        A message that several clients receive one after another is decoded once, unless it is
        only part of what they hold.
        """
        if self.method.change_ledger:
            return self._decode(dispatch, self._own_values(dispatch.client))
        if dispatch.blob is not self._decoded[0]:
            self._decoded = dispatch.blob, self._decode(dispatch)
        return self._decoded[1]

    def _own_values(self, client: int) -> Vector:
        """Return what a client keeps of its last download; at first the initial values."""
        own_N = self._held.vector(client)
        return self.layout.initial_vector(self.config.seed) if own_N is None else own_N

    def _decode(
        self, dispatch: Dispatch, own_N: Vector | None = None
    ) -> tuple[Vector, Mask | None]:
        tier = self._tier(dispatch.client)
        known_N = self._exchange.known_download_mask(
            self._history, tier, dispatch.version, dispatch.held, dispatch.sequence
        )
        held_N = self._held_mask(tier, dispatch.held)
        blob = Bundle.unpack(dispatch.blob).main if self._backbone else dispatch.blob
        return self._exchange.decode_download(blob, tier, dispatch.version, known_N, held_N, own_N)

    def _start(self, dispatch: Dispatch, offsets_N: Vector) -> Vector:
        """Return the offsets from which a client trains.

        Args:
            dispatch: The dispatch.
            offsets_N: Offsets that the client decoded.
        """
        client = dispatch.client
        start_N = self._private.start(client, offsets_N)
        if self._backbone is None:
            return start_N
        own_N, version = self._held.vector(client), self._held_version.vector(client)
        own = None if own_N is None or version is None else (int(version[0]), own_N)
        return self._backbone.start(
            dispatch.blob, start_N, own, dispatch.version, dispatch.sequence
        )

    @abstractmethod
    def _update(self, dispatch: Dispatch) -> Vector:
        """Return a client's start values minus its trained values, float32 of shape (N,)."""

    def _upload_mask(self, dispatch: Dispatch) -> Mask | None:
        """Return the mask of a client's upload if the device has selected one, else None."""
        return None

    def _works(self, dispatch: Dispatch) -> list[Work]:
        """Return the local training of a dispatch: one work, or two where adapters take turns.

        In turns, the private entries train beside the frozen shared ones, and the shared entries
        without the client's own. Neither needs the result of the other, and their updates add up.
        """
        offsets_N, trained_N = self._download_content(dispatch)
        own_N = self._start(dispatch, offsets_N)
        if self.method.local_passes == 1:
            return [self._work(dispatch, own_N, trained_N)]
        is_private_N = self._private.is_private_N
        shared_N = self._private.shared_start(offsets_N)
        return [
            self._work(dispatch, shared_N, ~is_private_N),
            self._work(dispatch, own_N, is_private_N, "private"),
        ]

    def _work(
        self, dispatch: Dispatch, start_N: Vector, trained_N: Mask | None, *names: str
    ) -> Work:
        """Return a local training of a dispatch: start values, mask, batches and seed.

        Args:
            dispatch: The dispatch.
            start_N: Offsets from which the client trains.
            trained_N: Mask of the entries that train; None: all.
            names: Names that tell the random streams of one training from those of another.
        """
        config = self.config
        return work_of(
            self._start_values(start_N),
            trained_N,
            config.clients[dispatch.client],
            self._split[0],
            self._measured.inputs,
            config.client,
            config.seed,
            ("client", dispatch.client, "dispatch", dispatch.sequence, *names),
        )

    def _start_values(self, offsets_N: Vector) -> Vector:
        """Return base + offsets; clients with the same message share one array."""
        if offsets_N is not self._started[0]:
            self._started = offsets_N, self._measured.base + offsets_N
        return self._started[1]

    def forget(self, dispatch: Dispatch) -> None:
        """Drop what is known of a dispatch that has finished (aggregated or lost).

        Subclasses drop cached results as well.
        """
        self.steps.forget(dispatch.sequence)
        self._private.finish(dispatch.client, dispatch.sequence)
        self._held.finish(dispatch.client, dispatch.sequence)
        self._held_version.finish(dispatch.client, dispatch.sequence)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take one server step with the weighted mean of the decoded uploads, then prune.

        Returns:
            The new version.

        Raises:
            NonFiniteUpdateError: The server's vector holds NaN or infinity.
        """
        before_N = self._server.vector().copy() if self.method.change_ledger else None
        parts = self._contributions(arrivals)
        self._server.step(*self._gradient(arrivals, parts))
        self._version += 1
        if self._backbone:
            self._server.add(self._backbone.step(parts, self._version))
        self._check_finite()
        self._refactor(parts)
        if before_N is not None:
            self._changes.record(before_N, self._server.vector(), self._version)
        self._prune()
        self._masks, self._blobs, self._values = {}, {}, {}
        return self._version

    def _check_finite(self) -> None:
        """Raise NonFiniteUpdateError if the server's vector holds NaN or infinity."""
        if not np.isfinite(self._server.vector()).all():
            raise NonFiniteUpdateError(
                f"the server's vector is not finite after round {self._version}; "
                "lower the learning rates"
            )

    def _contributions(self, arrivals: Sequence[Arrival]) -> list[Contribution]:
        """Return the clients' parts in a step on products; none if the method has no such step."""
        if self.method.product_step is None and self._backbone is None:
            return []
        return [
            Contribution(
                arrival.weight,
                self._adapters_at_start(arrival.dispatch),
                self.decoded_upload(arrival.dispatch, arrival.upload.blob),
            )
            for arrival in arrivals
        ]

    def _adapters_at_start(self, dispatch: Dispatch) -> Vector:
        """Return the offsets from which a client trained; of adapted weights nothing is told."""
        offsets_N = self._download_content(dispatch)[0]
        if self._backbone is None:
            return offsets_N
        return self._backbone.adapters_at_start(dispatch.sequence, offsets_N)

    def _refactor(self, parts: Sequence[Contribution]) -> None:
        """Put the new factors of a product step in the place of the server's, if it has any."""
        new = self._exchange.new_factors(self._server.vector(), parts, self._version)
        if new is None:
            return
        shapes = {tensor.name: tensor.shape for tensor in self.layout.tensors}
        bases = [
            BasisChange(self.layout.slices[name], shapes[name], basis)
            for name, basis in new.bases.items()
        ]
        self._server.refactor(new.values, bases)
        self._check_finite()

    def _gradient(self, arrivals: Sequence[Arrival], parts: Sequence[Contribution]) -> Gradient:
        """Return the gradient of a server step, and the mask of entries that move (None: all)."""
        mean = Gradient(self._mean(arrivals, parts), self._moving_mask(arrivals))
        vector_N = self._server.vector()
        gradient = self._exchange.product_gradient(vector_N, mean, parts, self._version)
        for arrival in arrivals:
            self._confirm(arrival)
        self._ledger.forget(self._tier)
        return gradient

    def _mean(self, arrivals: Sequence[Arrival], parts: Sequence[Contribution]) -> Vector:
        gradient_N = np.zeros(self.layout.entries, dtype=np.float32)
        covering = self.method.divisor == "covering"
        # float64: the weights of a whole cohort sum to 1 with less rounding error than in float32.
        covered_N = np.zeros(self.layout.entries if covering else 0)
        updates = (
            (part.update for part in parts)
            if parts
            else (self.decoded_upload(one.dispatch, one.upload.blob) for one in arrivals)
        )
        for arrival, update_N in zip(arrivals, updates, strict=True):
            weight = arrival.weight
            gradient_N += np.float32(weight) * self._exchange.received(update_N)
            if covering:  # share without staleness: stale updates weigh less in this mean, too
                share = weight / staleness_weight(arrival.staleness)
                known_N = self._known_upload_mask(arrival.dispatch)
                covered_N += share if known_N is None else share * known_N
        noise_N = self._exchange.server_noise(self._version, len(arrivals))
        if noise_N is not None:
            gradient_N += noise_N
        if covering:
            np.divide(gradient_N, covered_N, out=gradient_N, where=covered_N > 0)
        return gradient_N

    def _trained_mask(self, dispatch: Dispatch) -> Mask | None:
        """Return the mask of the entries that a client trained; None for all entries."""
        if not (self.method.is_masked or self.method.trains_by_schedule):
            return None
        return self._download_content(dispatch)[1]

    def _moving_mask(self, arrivals: Sequence[Arrival]) -> Mask | None:
        """Return the mask of the entries that a server step moves; None for all entries."""
        if not self.method.trains_by_schedule:
            return None
        moving_N = np.zeros(self.layout.entries, dtype=bool)
        for arrival in arrivals:
            trained_N = self._trained_mask(arrival.dispatch)
            moving_N |= True if trained_N is None else trained_N
        if self._backbone:
            moving_N &= self._backbone.moving_mask()
        return None if moving_N.all() else moving_N

    def decoded_upload(self, dispatch: Dispatch, blob: bytes) -> Vector:
        """Return the update that an upload carries, float32 of shape (N,).

        Args:
            dispatch: The dispatch that the upload answers.
            blob: Bytes of the upload.

        Raises:
            PayloadError: The bytes are no upload of this run.
        """
        return self._exchange.decode_upload(blob, self._known_upload_mask(dispatch))

    def _known_upload_mask(self, dispatch: Dispatch) -> Mask | None:
        """Return the mask that contains the upload of a dispatch; None for all entries."""
        return self._exchange.known_upload_mask(
            self._tier(dispatch.client),
            dispatch.client,
            dispatch.sequence,
            self._trained_mask(dispatch),
            dispatch.version,
        )

    def most_upload_entries(self, dispatch: Dispatch) -> int:
        """Return the most entries that the upload of a dispatch carries by its method."""
        tier = self._tier(dispatch.client)
        return self.method.upload_size(self.layout, tier, dispatch.version).count

    def _confirm(self, arrival: Arrival) -> None:
        """Record the mask that a client holds, since its upload has arrived."""
        dispatch, tier = arrival.dispatch, self._tier(arrival.dispatch.client)
        if not self._has_ledger:
            return
        if self.method.mask_ledger and not self.method.persistent and dispatch.version:
            offsets_N, trained_N = self._download_content(dispatch)
            mask_N = offsets_N != 0 if trained_N is None else trained_N
            self._ledger.keep(tier, dispatch.version, mask_N)
        self._ledger.confirm(dispatch.client, dispatch.version)

    def _prune(self) -> None:
        """Shrink the persistent mask if its schedule says so, and set P to 0 outside the mask."""
        if self.method.persistent:
            alive_N = self._exchange.prune(self._server.vector(), self._history, self._version)
            self._server.prune(alive_N)

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
        dense_N = self._private.with_global(self._server.vector())
        same = np.array_equal(model_N, dense_N)
        dense = masked if same else self._measure(dense_N)
        return Metrics(*masked, *dense, own)

    def _measure_with_own(self, model_N: Vector) -> tuple[tuple[float, float], OwnMetrics | None]:
        """Return accuracy and loss of the global model, and the means of the clients' own models.

        The latter are None where they are not asked for.
        """
        if self._private.active and self.holds_clients:
            return self._measure(model_N), self.own_metrics(self._validation)
        if not self.measures_own:
            return self._measure(model_N), None
        made = predictions(self._measured, model_N, *self._validation)
        everyone = range(self.config.fleet.clients)
        weights_CM = own_weights(self.config, self._validation[1].cpu().numpy())
        means = own_sums(everyone, made, weights_CM) / len(everyone)
        return (made.accuracy, made.loss), OwnMetrics(*means.tolist())

    def on_device(self, split: Arrays) -> Tensors:
        """Return inputs and classes of a split on the learner's device."""
        return device_tensors(split, self._measured.device)

    def own_metrics(self, split: Tensors) -> OwnMetrics:
        """Return the means over the clients of each one's own model on a split.

        An own model has the shared values of the client's next download, and its private entries:
        initial values, where it has never trained.

        Args:
            split: Inputs and classes of the split, as :meth:`on_device` returns them.
        """
        weights_CM = own_weights(self.config, split[1].cpu().numpy())
        return measure_own(self._measured, self._own_models(), *split, weights_CM)

    def own_model(self, dispatch: Dispatch, state: ClientState) -> Vector:
        """Return the offsets of a client's own model: a download, and its private entries."""
        self._hear(dispatch.client, state)
        return self._private.start(dispatch.client, self._download_content(dispatch)[0])

    def measure_own_model(self, client: int, own_N: Vector) -> OwnMetrics:
        """Return accuracy and loss of a client's own model on validation data like its own."""
        weights_CM = own_weights(self.config, self._validation[1].cpu().numpy())
        return measure_own(self._measured, [([client], own_N)], *self._validation, weights_CM)

    def own_right(self, split: Tensors) -> NDArray[np.float64]:
        """Return by target what the clients' own models get right, shape (M,).

        Its mean is the accuracy of :meth:`own_metrics`, whose argument is the same.
        """
        weights_CM = own_weights(self.config, split[1].cpu().numpy())
        return own_right(self._measured, self._own_models(), *split, weights_CM)

    def _own_models(self) -> Iterator[Group]:
        """Yield clients that hold the same model, and its offsets."""
        untrained: dict[int, list[int]] = {}  # by tier
        for client in range(self.config.fleet.clients):
            if self._private.vector(client) is None:
                untrained.setdefault(self._tier(client), []).append(client)
            else:
                shared_N = self._next_values(self._tier(client))
                yield [client], self._private.start(client, shared_N)
        for tier, clients in untrained.items():
            yield clients, self._private.start(clients[0], self._next_values(tier))

    def _next_values(self, tier: int) -> Vector:
        """Return the offsets that a client of a tier decodes from the newest version."""
        if tier not in self._values:
            known_N = self._exchange.known_download_mask(self._history, tier, self._version, 0)
            blob = self._encode_download(self._download_mask(tier), tier, known_N)
            self._values[tier] = decode(self.layout, blob, known_N)[0]
        return self._values[tier]

    def _measure(self, vector_N: Vector) -> tuple[float, float]:
        """Return accuracy and loss of a vector on the validation split."""
        return measure(self._measured, vector_N, *self._validation)

    def model(self) -> bytes:
        """Return P * M, encoded for a client of the widest tier that holds no mask.

        If each dispatch downloads a mask of its own, the model is all of P. Private entries, which
        the server lacks, are the mean of the clients' (the model that one more upload by each of
        them would give), or initial values, as the method says.
        """
        if self._private.active or self.method.downloads_changes:
            vector_N = self._server.vector()
            if self._private.active:
                vector_N = self._private.with_global(self._next_values(0))
            everything_N = np.ones(self.layout.entries, dtype=bool)
            return self._exchange.download(vector_N, everything_N, 0, self._version)
        if self.method.downloads_by_dispatch:
            return self._encode_download(np.ones(self.layout.entries, dtype=bool), 0, None)
        return self._download(self.method.widest_tier(self.layout), 0, None)

    def snapshot(self) -> Snapshot:
        """Return P, the server optimiser's moments, the version, and the state of masks, if any."""
        state: dict[str, NDArray[Any]] = dict(self._server.state())
        if self.method.persistent:
            state["lost_at"] = self._history.lost_at_N.copy()
        if self._has_ledger:
            state |= self._ledger.state()
        if self.method.change_ledger:
            state["changed_at"] = self._changes.changed_at_N.copy()
        if self._backbone:
            state |= self._backbone.state()
        return Snapshot(self._version, state)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore the state of a snapshot.

        Raises:
            RecordError: The snapshot is that of another rank, layout, method or optimiser.
        """
        check_shapes(snapshot, self.config)
        self._server.restore(snapshot.tensors)
        self.restore_clients(snapshot.clients)
        if self._backbone:
            self._backbone.restore(snapshot.tensors)
        if self.method.persistent:
            self._history.lost_at_N = snapshot.tensors["lost_at"].copy()
        if self._has_ledger:
            self._ledger.restore(snapshot.tensors)
        if self.method.change_ledger:
            self._changes.changed_at_N = snapshot.tensors["changed_at"].copy()
        self._version = snapshot.version
        self._masks, self._blobs, self._values = {}, {}, {}

    def device_peak_bytes(self) -> int | None:
        """Return torch's peak memory on a CUDA device, in bytes; None on other devices."""
        device = self._measured.device
        return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
