"""Learner interface: the only connection between the simulator and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from floss_sim.protocol.messages import (
    Arrival,
    ClientState,
    Dispatch,
    Upload,
)


@dataclass(frozen=True)
class LearnerIdentity:
    """Properties of a learner that are part of a run's trajectory.

    Learners with different identities give results that differ in the last bits.

    Attributes:
        kind: Kind of the learner, such as ``"torch-bank-64"``.
        device: Kind of the device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Number of threads of one training process.
    """

    kind: str
    device: str = "cpu"
    threads: int = 1

    def settings(self) -> dict[str, Any]:
        """Return the identity as entries of a trajectory: plain values by key."""
        return {"learner": self.kind, "device": self.device, "threads": self.threads}

    def describe(self) -> str:
        """Return the identity in words."""
        return f"{self.kind} on {self.device} with {self.threads} thread(s)"


@dataclass(frozen=True)
class OwnMetrics:
    """Means over the clients of each one's own model on the validation split.

    Attributes:
        accuracy: Accuracy on data like the client's own, 0 to 1: examples weighted by its label
            shares, or the whole split where the partition is not by labels.
        loss: Cross-entropy with the same weights, nats.
    """

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Metrics:
    """Accuracy (0 to 1) and mean cross-entropy on the validation split.

    ``dense_*`` is a diagnostic: it measures the server's dense P, which no client ever holds. It
    takes a second evaluation and is None unless requested. ``own`` measures the clients' own
    models; None unless the method has private entries or it is requested.
    """

    accuracy: float
    loss: float
    dense_accuracy: float | None = None
    dense_loss: float | None = None
    own: OwnMetrics | None = None


@dataclass(frozen=True)
class Snapshot:
    """Complete state after a version, from which a run can continue.

    Attributes:
        version: Version of the global adapter.
        tensors: State of the learner, by name.
        clients: State that each client keeps, by client number.
        in_flight: Dispatches whose updates are neither aggregated nor lost yet.
    """

    version: int
    tensors: Mapping[str, NDArray[Any]] = field(repr=False)
    clients: Mapping[int, ClientState] = field(default_factory=dict, repr=False)
    in_flight: tuple[Dispatch, ...] = field(default=(), repr=False)


class Job(Protocol):
    """Local training that must be computed before a learner can return an upload."""

    def compute(self) -> None:
        """Train, and hand the result to the learner."""


class Learner(Protocol):
    """Interface of all learners.

    The simulator calls ``dispatch``, ``job``, ``train``, ``forget`` and ``aggregate`` at simulated
    instants. The run's loop calls the other methods between rounds. ``train`` is a pure function of
    its arguments and of named random streams; a learner may therefore train all open dispatches in
    one batch when the first result is needed.
    """

    @property
    def identity(self) -> LearnerIdentity:
        """Properties of this learner that are part of the trajectory."""

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return a download: the newest version, encoded for this client.

        Args:
            client: Number of the client, from 0.
            sequence: Number of the dispatch in the run, from 0.
        """

    def job(self, dispatch: Dispatch) -> Job | None:
        """Return the training that ``train`` needs for this dispatch; None if it needs nothing.

        The simulation yields the job and stands still until it is computed, alone or in one pass
        with the jobs of other runs. A job that did not fit in memory is followed by a smaller one.
        """

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return the client's upload: its update after local training from the decoded download.

        A job of the dispatch that nobody has computed is computed first.
        """

    def forget(self, dispatch: Dispatch, kept: ClientState) -> None:
        """Drop what is cached for a dispatch: its update was aggregated or is lost.

        Args:
            dispatch: The dispatch.
            kept: What its client keeps of it; empty: what it had before.
        """

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a server step with the uploads that arrived; return the new version's number."""

    def evaluate(self, version: int) -> Metrics | None:
        """Return validation metrics of the newest version; None for learners without training."""

    def model(self) -> bytes:
        """Return the newest model as an encoded download; empty for learners without training."""

    def snapshot(self) -> Snapshot:
        """Return the complete state after the newest version."""

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot."""

    def device_peak_bytes(self) -> int | None:
        """Return the peak memory of the training device in bytes; None if it uses host memory."""
