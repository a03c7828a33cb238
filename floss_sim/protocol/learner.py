"""The learner: the one seam between simulated time and learning."""

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
    """What of a learner belongs to a trajectory: other ones differ in the last bits of a result.

    Attributes:
        kind: The kind of the learner, such as ``"torch-bank-64"``.
        device: The kind of the device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Threads of one training process.
    """

    kind: str
    device: str = "cpu"
    threads: int = 1

    def settings(self) -> dict[str, Any]:
        """Return the identity as the keys of a trajectory."""
        return {"learner": self.kind, "device": self.device, "threads": self.threads}

    def describe(self) -> str:
        """Return the identity in words."""
        return f"{self.kind} on {self.device} with {self.threads} thread(s)"


@dataclass(frozen=True)
class Metrics:
    """Accuracy (0 to 1) and mean cross-entropy on the validation split.

    ``dense_*`` measures the server's dense P: a diagnostic, since no client ever holds it. It
    takes as long again, and is None where nobody asked for it.
    """

    accuracy: float
    loss: float
    dense_accuracy: float | None = None
    dense_loss: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """All that is needed to go on after a version.

    Attributes:
        version: The version.
        tensors: The learner's state.
        clients: What each client keeps, by client number.
        in_flight: Dispatches whose updates were neither aggregated nor lost yet.
    """

    version: int
    tensors: Mapping[str, NDArray[Any]] = field(repr=False)
    clients: Mapping[int, ClientState] = field(default_factory=dict, repr=False)
    in_flight: tuple[Dispatch, ...] = field(default=(), repr=False)


class Learner(Protocol):
    """The one seam between time and learning.

    The simulator calls the first five at simulated instants; the run folder calls the last four
    between rounds. ``train`` is a pure function of its arguments and of named random streams, so
    that a learner may compute all that is under way when the first dispatch is asked for.
    """

    @property
    def identity(self) -> LearnerIdentity:
        """What of it belongs to the trajectory."""

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version, encoded for this client, now."""

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return the client's update after local training from what it decoded."""

    def forget(self, dispatch: Dispatch) -> None:
        """Hear that a dispatch is over: its update was aggregated, or is lost."""

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a server step with what really arrived; return the new version's number."""

    def evaluate(self, version: int) -> Metrics | None:
        """Return validation metrics of the newest version; None where nothing is learned."""

    def model(self) -> bytes:
        """Return the newest model as a client would receive it; empty where nothing is learned."""

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot."""

    def device_peak_bytes(self) -> int | None:
        """Return the most memory of a device of its own so far; None where it has the host's."""
