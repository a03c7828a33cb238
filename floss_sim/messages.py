"""The values that pass between simulated time and learning, and the one seam between them.

Everything here is a frozen value that can be printed, saved and made by hand in a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError
from floss_sim.rng import stream

ClientState = Mapping[str, NDArray[np.float32]]
NO_STATE: ClientState = {}


@dataclass(frozen=True)
class Cohort:
    """The clients of one round, in the order in which they were drawn."""

    round: int
    clients: tuple[int, ...]


@lru_cache(maxsize=65536)
def draw_cohort(seed: int, round_: int, fleet: int, size: int) -> Cohort:
    """Return the cohort of a round: ``size`` clients of ``fleet``, uniform without replacement.

    Raises:
        ConfigError: The fleet is smaller than the cohort, or the cohort is empty.
    """
    if not 1 <= size <= fleet:
        raise ConfigError(f"cohort of {size} clients; valid: 1 to the fleet's {fleet}")
    drawn = stream(seed, "cohort", round_).choice(fleet, size=size, replace=False)
    return Cohort(round_, tuple(int(client) for client in drawn))


@dataclass(frozen=True)
class Dispatch:
    """What the server sends to a client: the newest version, encoded.

    ``sequence`` numbers the dispatches of a run. ``held`` is the version of the persistent mask
    that the client is known to hold, or 0. ``blob`` is empty where only sizes are simulated.
    """

    sequence: int
    client: int
    version: int
    nbytes: int
    entries: int
    blob: bytes = field(default=b"", repr=False)
    held: int = 0


@dataclass(frozen=True)
class Upload:
    """What a client sends back: its encoded update, and the state that it keeps."""

    sequence: int
    client: int
    nbytes: int
    entries: int
    examples: int
    blob: bytes = field(default=b"", repr=False)
    client_state: ClientState = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Arrival:
    """An upload that the server really aggregates, with its weight and staleness in versions."""

    upload: Upload
    weight: float
    staleness: int


def weights(uploads: Sequence[Upload], law: str) -> list[float]:
    """Return the weight of each upload of a round, adding up to 1.

    Args:
        uploads: What is aggregated.
        law: ``"uniform"`` (as FLoSS), or ``"examples"`` (McMahan et al. 2017): by local examples.
    """
    shares = [1 if law == "uniform" else upload.examples for upload in uploads]
    return [share / sum(shares) for share in shares]


@dataclass(frozen=True)
class Metrics:
    """Accuracy (0 to 1) and mean cross-entropy on the validation split.

    ``dense_*`` measures the server's dense P: a diagnostic, since no client ever holds it.
    """

    accuracy: float
    loss: float
    dense_accuracy: float
    dense_loss: float


@dataclass(frozen=True)
class Snapshot:
    """All that is needed to go on after a version.

    Attributes:
        version: The version.
        tensors: The learner's state.
        clients: What each client keeps, by client number.
    """

    version: int
    tensors: Mapping[str, NDArray[Any]] = field(repr=False)
    clients: Mapping[int, ClientState] = field(default_factory=dict, repr=False)


class Learner(Protocol):
    """The one seam between time and learning.

    The simulator calls the first four at simulated instants; the run folder calls the last three
    between rounds. ``train`` is a pure function of its arguments and of named random streams.
    """

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version, encoded for this client, now."""

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return the client's update after local training from what it decoded."""

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
