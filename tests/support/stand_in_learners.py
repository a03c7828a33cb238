"""Stand-ins that tests use in place of real training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from floss_sim.protocol import (
    Arrival,
    ClientState,
    Dispatch,
    LearnerIdentity,
    Metrics,
    Snapshot,
    Upload,
)
from floss_sim.runs.no_training import NoTraining


class FakeLearner(NoTraining):
    """Fixed sizes; remembers in which order it was called, and with what."""

    identity = LearnerIdentity("counting")

    def __init__(self, down: int = 1000, up: int = 100, examples: int = 10) -> None:
        super().__init__()
        self.sizes = down, up, examples
        self.calls: list[tuple[str, int]] = []
        self.forgotten: list[int] = []
        self.aggregated: list[tuple[int, ...]] = []

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        self.calls.append(("dispatch", client))
        return Dispatch(sequence, client, self.version, self.sizes[0], 1)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        self.calls.append(("train", dispatch.client))
        return Upload(dispatch.sequence, dispatch.client, self.sizes[1], 1, self.sizes[2])

    def forget(self, dispatch: Dispatch, kept: ClientState) -> None:
        self.forgotten.append(dispatch.sequence)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        self.aggregated.append(tuple(arrival.upload.client for arrival in arrivals))
        return super().aggregate(arrivals)


class CountingLearner(FakeLearner):
    """A learner with a state: sizes and accuracies follow the version; counts its work."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = 0
        self.restored = 0

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        return Dispatch(sequence, client, self.version, 1000 + self.version, 5)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        self.trained += 1
        nbytes = 100 + 7 * dispatch.version + dispatch.client
        return Upload(dispatch.sequence, dispatch.client, nbytes, 2, 22)

    def evaluate(self, version: int) -> Metrics | None:
        return Metrics(1 - 1 / (1 + version), 1 / version, 0.5, 2.0)

    def model(self) -> bytes:
        return b"version %d" % self.version

    def snapshot(self) -> Snapshot:
        return Snapshot(self.version, {"P": np.full(2, self.version, np.float32)})

    def restore(self, snapshot: Snapshot) -> None:
        assert snapshot.tensors["P"][0] == snapshot.version
        self.version = snapshot.version
        self.restored += 1
