"""Base class of learners that do not train."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.protocol import (
    Arrival,
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

    def forget(self, dispatch: Dispatch) -> None:
        """Hear that a dispatch is over; nothing is kept of it."""

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Count the version up."""
        self.version += 1
        return self.version

    def evaluate(self, version: int) -> Metrics | None:
        """Return None: nothing is learned."""
        return None

    def model(self) -> bytes:
        """Return nothing: nothing is learned."""
        return b""

    def snapshot(self) -> Snapshot:
        """Return the version alone."""
        return Snapshot(self.version, {})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a version."""
        self.version = snapshot.version

    def device_peak_bytes(self) -> int | None:
        """Return None: there is no device."""
        return None
