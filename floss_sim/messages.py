"""The values that pass between simulated time and learning, and the one seam between them.

Everything here is a frozen value that can be printed, saved and made by hand in a test. What passes
for every client of a round is a named tuple: made three times as fast as a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError
from floss_sim.rng import stream

ClientState = Mapping[str, NDArray[np.float32]]
NO_STATE: ClientState = MappingProxyType({})


@dataclass(frozen=True)
class Cohort:
    """The clients of one round, in the order in which they were drawn."""

    round: int
    clients: tuple[int, ...]


@lru_cache(maxsize=4096)  # runs of one seed share cohorts; large ones are not kept by the GB
def draw_cohort(seed: int, round_: int, fleet: int, size: int) -> Cohort:
    """Return the cohort of a round: ``size`` clients of ``fleet``, uniform without replacement.

    Raises:
        ConfigError: The fleet is smaller than the cohort, or the cohort is empty.
    """
    if not 1 <= size <= fleet:
        raise ConfigError(f"cohort of {size} clients; valid: 1 to the fleet's {fleet}")
    drawn = stream(seed, "cohort", round_).choice(fleet, size=size, replace=False)
    return Cohort(round_, tuple(drawn.tolist()))


def order_of_clients(seed: int, round_: int, attempt: int, fleet: int, size: int) -> Iterator[int]:
    """Yield clients in the order in which a server asks them: all of the fleet, each once.

    The cohort of the round comes first, then the others at random (Fisher and Yates), drawn only
    as far as anyone asks.

    Args:
        seed: The run's.
        round_: The number of the round.
        attempt: How often the server has begun anew in this round.
        fleet: How many clients there are.
        size: Of a cohort.
    """
    if attempt:
        asked: set[int] = set()
    else:
        cohort = draw_cohort(seed, round_, fleet, size).clients
        yield from cohort
        asked = set(cohort)
    draw, moved = stream(seed, "cohort", round_, "more", attempt), dict[int, int]()
    for i in range(fleet):
        j = int(draw.integers(i, fleet))
        client = moved.get(j, j)
        moved[j] = moved.get(i, i)
        if client not in asked:
            yield client


class Dispatch(NamedTuple):
    """What the server sends to a client: the newest version, encoded.

    ``sequence`` numbers the dispatches of a run. ``held`` is the version of the mask that the
    client is known to hold, or 0. ``blob`` is empty where only sizes are simulated.
    """

    sequence: int
    client: int
    version: int
    nbytes: int
    entries: int
    blob: bytes = b""
    held: int = 0

    def __repr__(self) -> str:
        return _without_content(self)


class Upload(NamedTuple):
    """What a client sends back: its encoded update, and the state that it keeps.

    It keeps ``lost_state`` instead where the update never reaches the server.
    """

    sequence: int
    client: int
    nbytes: int
    entries: int
    examples: int
    blob: bytes = b""
    client_state: ClientState = NO_STATE
    lost_state: ClientState = NO_STATE

    def __repr__(self) -> str:
        return _without_content(self)


def _without_content(message: NamedTuple) -> str:
    """Return a message's text; what is large in it is not shown."""
    shown = ", ".join(
        f"{name}={value}" for name, value in message._asdict().items() if isinstance(value, int)
    )
    return f"{type(message).__name__}({shown})"


class Arrival(NamedTuple):
    """An upload that the server really aggregates, with its weight and staleness in versions."""

    dispatch: Dispatch
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
    total = sum(shares)
    return [share / total for share in shares]


def staleness_weight(staleness: int) -> float:
    """Return the factor of an update that started so many versions ago.

    ``1 / sqrt(1 + staleness)``, the polynomial law of FedBuff (Nguyen et al. 2022, section 5).
    """
    return float((1 + staleness) ** -0.5)


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
