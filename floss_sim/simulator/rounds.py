"""Server and client processes, in lockstep with a learner.

A client downloads, trains and uploads; the learner is called at the simulated instants at which
these things happen, and the lengths of the real payloads set the simulated times::

    server   |dispatch                                          aggregate|
    client i |--- download ---|--- local training ---|--- upload ---|
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import simpy

from floss_sim.messages import (
    NO_STATE,
    Arrival,
    ClientState,
    Cohort,
    Dispatch,
    Learner,
    Upload,
    weights,
)
from floss_sim.network import ClientLink, transfer
from floss_sim.simulator.policies import RoundPolicy


@dataclass(frozen=True)
class Transfer:
    """One payload over a link: instants in simulated seconds; examples are 0 for downloads."""

    sequence: int
    round: int
    client: int
    direction: str
    version: int
    nbytes: int
    entries: int
    examples: int
    started_at_s: float
    ended_at_s: float


@dataclass(frozen=True)
class RoundOutcome:
    """What a round did: its instants, its transfers and the version that it produced.

    ``client_states`` is a view of what clients keep now, not a copy.
    """

    round: int
    version: int
    opened_at_s: float
    closed_at_s: float
    transfers: tuple[Transfer, ...]
    client_states: Mapping[int, ClientState] = field(default_factory=dict, repr=False)

    def nbytes(self, direction: str) -> int:
        """Return the bytes of all transfers in one direction."""
        return sum(t.nbytes for t in self.transfers if t.direction == direction)


def simulate(
    learner: Learner,
    links: Sequence[ClientLink],
    policy: RoundPolicy,
    cohort_of: Callable[[int], Cohort],
    rounds: int,
    weighting: str = "uniform",
) -> Iterator[RoundOutcome]:
    """Yield the outcome of each round, from round 1 at time zero.

    Args:
        learner: Answers at simulated instants.
        links: Each client's link, by client number.
        policy: Says when a round closes.
        cohort_of: The cohort of a round.
        rounds: How many rounds to simulate.
        weighting: Law of the weights of a round's uploads (see ``messages.weights``).
    """
    world = _World(simpy.Environment(), learner, links)
    for number in range(1, rounds + 1):
        server = world.env.process(_server(world, policy, cohort_of(number), weighting))
        outcome = world.env.run(until=server)
        if not isinstance(outcome, RoundOutcome):
            raise TypeError(f"round {number} ended without an outcome")
        yield outcome


Report = tuple[Upload, tuple[Transfer, Transfer]]


class _World:
    """What the processes share: the clock, the learner, the links, what clients keep."""

    def __init__(
        self, env: simpy.Environment, learner: Learner, links: Sequence[ClientLink]
    ) -> None:
        self.env = env
        self.learner = learner
        self.links = links
        self.client_states: dict[int, ClientState] = {}
        self.dispatched = 0

    def dispatch(self, client: int) -> Dispatch:
        """Let the learner encode the newest version for a client, now."""
        dispatch = self.learner.dispatch(client, self.dispatched)
        self.dispatched += 1
        return dispatch


def _server(
    world: _World, policy: RoundPolicy, cohort: Cohort, weighting: str
) -> Generator[simpy.Event, object, RoundOutcome]:
    env, opened_at_s = world.env, world.env.now
    clients = [env.process(_client(world, client, cohort.round)) for client in cohort.clients]
    yield policy.closes(env, clients)
    reports: list[Report] = [process.value for process in clients]  # type: ignore[misc]
    uploads = [upload for upload, _ in reports]
    shares = zip(uploads, weights(uploads, weighting), strict=True)
    version = world.learner.aggregate([Arrival(upload, weight, 0) for upload, weight in shares])
    transfers = tuple(one for _, both in reports for one in both)
    return RoundOutcome(cohort.round, version, opened_at_s, env.now, transfers, world.client_states)


def _client(world: _World, client: int, round_: int) -> Generator[simpy.Event, object, Report]:
    env, link = world.env, world.links[client]
    dispatch = world.dispatch(client)
    opened_at_s = env.now
    yield from transfer(env, link.download_s(dispatch.nbytes))
    downloaded_at_s = env.now
    upload = world.learner.train(dispatch, world.client_states.get(client, NO_STATE))
    if upload.client_state:
        world.client_states[client] = upload.client_state
    yield env.timeout(link.compute_s(upload.examples))
    trained_at_s = env.now
    yield from transfer(env, link.upload_s(upload.nbytes))

    def record(direction: str, message: Dispatch | Upload, start: float, end: float) -> Transfer:
        examples = message.examples if isinstance(message, Upload) else 0
        return Transfer(
            dispatch.sequence, round_, client, direction, dispatch.version,
            message.nbytes, message.entries, examples, start, end,
        )  # fmt: skip

    down = record("down", dispatch, opened_at_s, downloaded_at_s)
    return upload, (down, record("up", upload, trained_at_s, env.now))
