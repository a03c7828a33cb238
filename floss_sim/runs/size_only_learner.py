"""Learner that returns predicted message sizes, without training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import overload

from floss_sim.methods import MaskLedger, SizePredictor, Way
from floss_sim.protocol import (
    Arrival,
    ClientState,
    Dispatch,
    LearnerIdentity,
    Upload,
)
from floss_sim.runs.calibration import UNCALIBRATED, Calibration
from floss_sim.runs.no_training import NoTraining


class SameExamples(Sequence[int]):
    """Sequence of the same number of local examples for every client, in constant memory."""

    def __init__(self, clients: int, examples: int) -> None:
        self._clients = clients
        self._examples = examples

    def __len__(self) -> int:
        return self._clients

    @overload
    def __getitem__(self, client: int) -> int: ...
    @overload
    def __getitem__(self, client: slice) -> SameExamples: ...
    def __getitem__(self, client: int | slice) -> int | SameExamples:
        clients = range(self._clients)[client]
        return (
            self._examples if isinstance(clients, int) else type(self)(len(clients), self._examples)
        )


class SizeOnlyLearner(NoTraining):
    """Learner that returns predicted message sizes, without training.

    Args:
        sizes: Predicted sizes of the run's messages.
        examples: Local examples of each client, over all local epochs, by client number.
        calibration: Ratios of real to predicted sizes.
    """

    identity = LearnerIdentity("size-only")

    def __init__(
        self,
        sizes: SizePredictor,
        examples: Sequence[int],
        calibration: Calibration = UNCALIBRATED,
    ) -> None:
        super().__init__()
        self._sizes = sizes
        self._method = sizes.method
        self._examples = examples
        self._calibration = calibration
        self._has_ledger = self._method.has_ledger
        self._ledger = MaskLedger(len(examples) if self._has_ledger else 0)
        self._size = lru_cache(maxsize=4096)(self._predict)

    def _predict(self, way: Way, tier: int, version: int, held: int) -> tuple[int, int]:
        """Return (bytes, entries) of a message in a direction, ``"down"`` or ``"up"``."""
        predicted, count = self._sizes.message(way, tier, version, held)
        return self._calibration.nbytes(way, predicted), count

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return a download of predicted size."""
        held = self._ledger.held_version(client) if self._has_ledger else 0
        tier = self._method.tier_of(client, len(self._examples))
        nbytes, count = self._size("down", tier, self.version, held)
        return Dispatch(sequence, client, self.version, nbytes, count, held=held)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return an upload of predicted size."""
        tier = self._method.tier_of(dispatch.client, len(self._examples))
        nbytes, count = self._size("up", tier, dispatch.version, 0)
        examples = self._examples[dispatch.client]
        return Upload(dispatch.sequence, dispatch.client, nbytes, count, examples)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Increment the version; record that the clients hold the masks that they were sent."""
        if self._has_ledger:
            for arrival in arrivals:
                self._ledger.confirm(arrival.upload.client, self.version - arrival.staleness)
        return super().aggregate(arrivals)
