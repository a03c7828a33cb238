"""Batched learner: trains several clients of a run in one forward/backward pass.

When a client is about to train, the other clients in flight are trained in the same pass: ``train``
is a pure function of each dispatch. Updates are kept until their dispatch is
finished. Checkpoints contain them, so that a resumed run repeats the same passes: the clients that
share a pass influence each other's last bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from floss_sim.errors import ConfigError
from floss_sim.protocol import Arrival, ClientState, Dispatch, Snapshot, Upload
from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.batched_sgd import Party
from floss_sim.training.bank.model import BankModel
from floss_sim.training.bank.updates import Update, Updates, full_updates
from floss_sim.training.learner_choice import bank_kind
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.local_sgd import Work, joined
from floss_sim.training.side_by_side.training_job import TrainingJob
from floss_sim.vectors.top_k import Mask, Vector

_UPDATE = "update/"  # prefix of tensors in a snapshot: updates of unfinished dispatches


@dataclass
class _Flight:
    """A dispatch in flight, and its update once its client is trained."""

    dispatch: Dispatch
    update: Update | None = None


class BankLearner(TorchLearner):
    """Learner that trains clients in flight in batched passes.

    Args:
        config: The run.
        model: Model with the run's layout.
        chunk: Largest number of clients in a pass; halved when a pass does not fit in memory.
        updates: Makes the updates of a pass: whole ones, or on a GPU the top-k that is uploaded.
    """

    def __init__(
        self, config: RunConfig, model: BankModel, chunk: int, updates: Updates = full_updates
    ) -> None:
        super().__init__(config, model, bank_kind(chunk))
        self._model = model
        self._training_model = model.with_scale(self.method.training_scale(self.layout))
        self._chunk = chunk
        self._updates = updates
        self._flights: dict[int, _Flight] = {}  # by sequence

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version, encoded; note that the dispatch is in flight."""
        sent = super().dispatch(client, sequence)
        self._flights[sequence] = _Flight(sent)
        return sent

    def forget(self, dispatch: Dispatch, kept: ClientState) -> None:
        """Drop the result of a finished dispatch."""
        super().forget(dispatch, kept)
        self._flights.pop(dispatch.sequence, None)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a server step and return the new version; the arrived dispatches are finished."""
        for arrival in arrivals:
            self.forget(arrival.dispatch, arrival.upload.client_state)
        return super().aggregate(arrivals)

    def job(self, dispatch: Dispatch) -> TrainingJob | None:
        """Return the pass that contains a dispatch; None if its client is trained."""
        asked = self._flights.setdefault(dispatch.sequence, _Flight(dispatch))
        if asked.update:
            return None
        order, most = self._untrained(), max(1, self._chunk // self.method.local_passes)
        first = order.index(asked) // most * most
        return self._job(order[first : first + most])

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return one client's encoded update; run the pass that contains the client if necessary.

        Raises:
            NonFiniteUpdateError: The update holds NaN or infinity.
        """
        self._clients.hear(dispatch.client, client_state)
        while job := self.job(dispatch):
            job.compute()
        return super().train(dispatch, client_state)

    def _update(self, dispatch: Dispatch) -> Vector:
        return self._trained(dispatch).values

    def _upload_mask(self, dispatch: Dispatch) -> Mask | None:
        return self._trained(dispatch).chosen

    def _trained(self, dispatch: Dispatch) -> Update:
        update = self._flights[dispatch.sequence].update
        if update is None:
            raise ValueError(f"dispatch {dispatch.sequence} is not trained")
        return update

    def _untrained(self) -> list[_Flight]:
        """Return the untrained dispatches, most examples first; passes are chunks of them."""
        clients = self.config.clients
        return sorted(
            (flight for flight in self._flights.values() if flight.update is None),
            key=lambda one: (-len(clients[one.dispatch.client]), one.dispatch.sequence),
        )

    def _job(self, flights: Sequence[_Flight]) -> TrainingJob:
        """Return the local training of some dispatches, those with most batches first."""
        works = {}
        for flight in sorted(flights, key=lambda one: id(one.dispatch.blob)):  # decodes each once
            works[flight.dispatch.sequence] = self._ranked_works(flight.dispatch)
        asked = [one.dispatch.sequence for one in flights]
        rows = [(sequence, work) for sequence in asked for work in works[sequence]]
        rows.sort(key=lambda row: -len(row[1].batches))
        sequences, own = [sequence for sequence, _ in rows], [work for _, work in rows]
        self.steps.begin({n: sum(len(w.batches) for w in of_one) for n, of_one in works.items()})

        def deliver(values_CN: torch.Tensor) -> None:
            updates = self._updates(own, values_CN, self._model.layout)
            for flight in flights:
                sequence = flight.dispatch.sequence
                parts = [u for n, u in zip(sequences, updates, strict=True) if n == sequence]
                flight.update = parts[0]._replace(values=joined([part.values for part in parts]))

        return TrainingJob(
            Party(self._training_model, *self._split, self.config.client, own),
            max(one.dispatch.version for one in flights) + 1,
            self._chunk,
            deliver,
            lambda: self._halve(len(own)),
            lambda clients: self._count(sequences[:clients]),
        )

    def _ranked_works(self, sent: Dispatch) -> list[Work]:
        tier = self.config.tier_of(sent.client)
        ranked = self._server.exchange.ranking_selector(tier)
        return [replace(work, ranked=ranked) for work in self._works.of(sent)]

    def _halve(self, clients: int) -> None:
        size = self.config.client.batch_size
        if min(self._chunk, clients) == 1:
            raise ConfigError(
                f"a batch of {size} examples does not fit in the memory of "
                f"{self._model.device.type!r}; lower client.batch_size, or set "
                "client.gradient_checkpointing = true"
            )
        self._chunk = min(self._chunk, clients) // 2
        warnings.warn(
            f"a pass of {clients} clients does not fit in memory; continuing with {self._chunk}",
            RuntimeWarning,
            stacklevel=2,
        )

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version, with the updates of unfinished dispatches."""
        taken = super().snapshot()
        updates = {
            f"{_UPDATE}{sequence}": flight.update.values
            for sequence, flight in self._flights.items()
            if flight.update
        }
        return replace(taken, tensors={**taken.tensors, **updates})

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a snapshot's state, updates and dispatches in flight."""
        super().restore(snapshot)
        trained = {
            int(name.removeprefix(_UPDATE)): Update(tensor.copy())
            for name, tensor in snapshot.tensors.items()
            if name.startswith(_UPDATE)
        }
        self._flights = {
            sent.sequence: _Flight(sent, trained.get(sent.sequence)) for sent in snapshot.in_flight
        }
