"""Base class of learners that do not train."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.protocol import (
    Arrival,
    ClientState,
    Dispatch,
    LearnerIdentity,
    Metrics,
    Snapshot,
)


class NoTraining:
    """Base class of learners that do not train: keeps only the version number."""

    identity = LearnerIdentity("no-training")

    def __init__(self) -> None:
        self.version = 0

    def job(self, dispatch: Dispatch) -> None:
        """Return None: nothing is trained."""

    def forget(self, dispatch: Dispatch, kept: ClientState) -> None:
        """Do nothing: no data is kept for a dispatch."""

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Increment the version; return it."""
        self.version += 1
        return self.version

    def evaluate(self, version: int) -> Metrics | None:
        """Return None: there is no model to evaluate."""
        return None

    def model(self) -> bytes:
        """Return no bytes: there is no model."""
        return b""

    def snapshot(self) -> Snapshot:
        """Return a snapshot with the version only."""
        return Snapshot(self.version, {})

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from the snapshot's version."""
        self.version = snapshot.version

    def device_peak_bytes(self) -> int | None:
        """Return None: no training device is used."""
        return None
