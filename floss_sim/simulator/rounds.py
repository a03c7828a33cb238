"""Server and client processes, in lockstep with a learner.

A client downloads, trains and uploads; the learner is called at the simulated instants at which
these things happen, and the lengths of the real payloads set the simulated times::

    server   |dispatch                                          aggregate|
    client i |--- download ---|--- local training ---|--- upload ---|

All policies take one path: fill the cohort, wait for news until the policy closes the round, take
the first reports, deal with the late ones, aggregate. A client is busy, and in no other cohort,
from its dispatch until its update is aggregated or lost.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import simpy

from floss_sim.errors import ConfigError
from floss_sim.network import Carrier, ClientLink, EndOfInstant, Leg, NetworkProfile, Presence
from floss_sim.protocol import NO_STATE, Arrival, ClientState, Dispatch, Learner
from floss_sim.protocol.weighting import staleness_weight, weights
from floss_sim.rng import stream
from floss_sim.simulator.participation import (
    AGGREGATED,
    CANCELLED,
    DROPPED,
    LATE,
    OFFLINE,
    Participation,
    Transfer,
)
from floss_sim.simulator.policies import RoundPolicy

ASK_AGAIN_S = 60.0  # where no client is on and free, the server asks again after this
_MOST_ATTEMPTS = 1000  # of a round to find clients; more would never end


@dataclass(frozen=True)
class RoundOutcome:
    """What a round did: its instants, its transfers and the version that it produced.

    ``client_states`` is a view of what clients keep now, not a copy; ``in_flight`` are the
    dispatches whose updates are neither aggregated nor lost.
    """

    round: int
    version: int
    opened_at_s: float
    closed_at_s: float
    reports: int
    transfers: tuple[Transfer, ...]
    client_states: Mapping[int, ClientState] = field(default_factory=dict, repr=False)
    in_flight: tuple[Dispatch, ...] = ()

    def nbytes(self, direction: str) -> int:
        """Return the payload bytes sent ``"down"``, first downloads included, or ``"up"``."""
        up = direction == "up"
        return sum(t.sent_bytes for t in self.transfers if (t.direction == "up") is up)

    def wire_bytes(self) -> int:
        """Return the bytes on the wire, both ways."""
        return sum(t.wire_bytes for t in self.transfers)

    def wasted_bytes(self) -> int:
        """Return the payload bytes sent for updates that were not aggregated, both ways."""
        return sum(t.sent_bytes for t in self.transfers if t.fate != AGGREGATED)


def simulate(
    learner: Learner,
    profile: NetworkProfile,
    links: Sequence[ClientLink],
    policy: RoundPolicy,
    order_of: Callable[[int, int], Iterable[int]],
    cohort: int,
    rounds: int,
    weighting: str = "uniform",
) -> Iterator[RoundOutcome]:
    """Yield the outcome of each round, from round 1 at time zero.

    Args:
        learner: Answers at simulated instants.
        profile: The network.
        links: Each client's link, by client number.
        policy: Says when a round closes.
        order_of: In which order the clients of a round are asked, by its number and by how often
            the server has begun anew in it; those that are busy or off are passed over.
        cohort: How many clients are at work.
        rounds: How many rounds to simulate.
        weighting: Law of the weights of a round's uploads (see ``weighting.weights``).

    Raises:
        ConfigError: No client ever comes on.
    """
    world = _SimulatedWorld(learner, profile, links, policy, cohort)
    for number in range(1, rounds + 1):
        server = world.env.process(_server_process(world, number, order_of, weighting))
        with _pause_collector():
            outcome = world.env.run(until=server)
        if not isinstance(outcome, RoundOutcome):
            raise TypeError(f"round {number} ended without an outcome")
        yield outcome


@contextmanager
def _pause_collector() -> Iterator[None]:
    """Keep Python's cycle collector out of a round.

    A round leaves no cycles behind, but a large one keeps millions of objects alive: the collector
    would go through them again and again, and take twice as long as the round itself.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _SimulatedWorld:
    """What the processes share: the clock, the learner, the links, who does what."""

    def __init__(
        self,
        learner: Learner,
        profile: NetworkProfile,
        links: Sequence[ClientLink],
        policy: RoundPolicy,
        cohort: int,
    ) -> None:
        self.env = simpy.Environment()
        self.learner = learner
        self.policy = policy
        self.cohort = cohort
        self.links = links
        self.carrier = Carrier(self.env, profile)
        law = profile.availability
        self.presence = Presence(law.law(), profile.seed) if law else None
        self.seed = profile.seed
        self.first_bytes = profile.first_download
        self.equipped: set[int] = set()  # clients that have had their first download
        self.client_states: dict[int, ClientState] = {}
        self.dispatched = 0
        self.version = 0
        self.busy: dict[int, Participation] = {}  # by client
        self.running: set[Participation] = set()  # of these, those that may still report
        self.reported: set[Participation] = set()  # and those that have
        self.ended: list[Participation] = []  # fate known, not in an outcome yet
        self.news = self.env.event()
        self.telling = EndOfInstant(self.env, self._wake_server, order=1)

    def start(self, client: int) -> None:
        """Let the learner encode the newest version for a client, now, and send it."""
        dispatch = self.learner.dispatch(client, self.dispatched)
        self.dispatched += 1
        part = Participation(dispatch, Leg("down", dispatch.nbytes, self.env.now))
        self.busy[client] = part
        self.running.add(part)
        part.process = self.env.process(_client_process(self, part))
        if self.presence:
            off_s = self.presence.until(client, self.env.now) - self.env.now
            self.env.timeout(off_s).callbacks.append(lambda _: self.interrupt(part, OFFLINE))

    def is_free(self, client: int) -> bool:
        """Return whether a client is on and not busy."""
        if client in self.busy:
            return False
        return self.presence is None or self.presence.is_on(client, self.env.now)

    def interrupt(self, part: Participation, why: str) -> None:
        """Stop a client that is still at work."""
        if part.process and part.process.is_alive:
            part.process.interrupt(why)

    def tell(self) -> None:
        """Wake the server after everything else of this instant."""
        self.telling.ask()

    def _wake_server(self) -> None:
        news, self.news = self.news, self.env.event()
        news.succeed()

    def judge(self, part: Participation, fate: str) -> None:
        """Settle how a participation ended; its client is free again."""
        part.fate = fate
        del self.busy[part.dispatch.client]
        self.learner.forget(part.dispatch)
        if state := part.kept_state():
            self.client_states[part.dispatch.client] = state
        self.ended.append(part)


def _server_process(
    world: _SimulatedWorld,
    number: int,
    order_of: Callable[[int, int], Iterable[int]],
    weighting: str,
) -> Generator[simpy.Event, object, RoundOutcome]:
    env, policy, opened_at_s = world.env, world.policy, world.env.now
    expires_at_s = opened_at_s + policy.deadline_s
    if policy.deadline_s < math.inf:
        env.timeout(policy.deadline_s).callbacks.append(lambda _: world.tell())
    asked = _CohortFiller(world, number, order_of)
    asked.fill()
    while not policy.closes(len(world.reported), len(world.running), env.now >= expires_at_s):
        if not world.running:
            asked.fill()  # in place of those that are lost
            if not world.running and world.reported:
                break  # nobody is left to ask
            if not world.running:
                yield from asked.wait_for_clients()
            continue
        yield world.news
        if policy.late == "kept" and len(world.reported) < (policy.reports or 0):
            asked.refill()
    taken = sorted(world.reported, key=lambda part: part.order)[: policy.reports]
    yield from _dismiss(world, taken)
    version = _aggregate(world, taken, weighting)
    ended = sorted(world.ended, key=lambda part: part.dispatch.sequence)
    world.ended = []
    return RoundOutcome(
        number, version, opened_at_s, env.now, len(taken),
        tuple(row for part in ended for row in part.transfers(number)),
        world.client_states,
        tuple(part.dispatch for part in world.busy.values()),
    )  # fmt: skip


class _CohortFiller:
    """The clients that the server asks in one round."""

    def __init__(
        self, world: _SimulatedWorld, number: int, order_of: Callable[[int, int], Iterable[int]]
    ) -> None:
        self._world = world
        self._number, self._order_of = number, order_of
        self._attempts = 0
        self._clients = iter(order_of(number, 0))

    def fill(self) -> None:
        """Start clients until a cohort is at work or has reported, or none is left to ask."""
        world = self._world
        done = 0 if world.policy.late == "kept" else len(world.reported)
        while len(world.running) + done < world.cohort:
            client = next(self._clients, None)
            if client is None:
                return
            if world.is_free(client):
                world.start(client)

    def refill(self) -> None:
        """Replace clients that are done, going through the fleet anew where it must be."""
        self.fill()
        if len(self._world.running) < self._world.cohort:
            self._begin_anew()
            self.fill()

    def wait_for_clients(self) -> Generator[simpy.Event, object, None]:
        """Begin anew after a while, where nobody is at work and nobody has reported.

        Raises:
            ConfigError: The server has begun anew too often.
        """
        yield self._world.env.timeout(ASK_AGAIN_S)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._attempts += 1
        if self._attempts > _MOST_ATTEMPTS:
            raise ConfigError(
                f"round {self._number}: the server went {_MOST_ATTEMPTS} times through the fleet, "
                "and too few clients were on or came to report; see [availability] and dropout"
            )
        self._clients = iter(self._order_of(self._number, self._attempts))


def _dismiss(
    world: _SimulatedWorld, taken: Sequence[Participation]
) -> Generator[simpy.Event, object, None]:
    """Close a round for those that it does not take."""
    if world.policy.late == "kept":
        return
    for part in world.reported.difference(taken):
        world.judge(part, LATE)
    world.reported = set(taken)
    late, world.running = sorted(world.running, key=lambda p: p.dispatch.sequence), set()
    if world.policy.late == "cancel" and late:
        for part in late:
            world.interrupt(part, CANCELLED)
        yield world.env.all_of([part.process for part in late if part.process])


def _aggregate(world: _SimulatedWorld, taken: Sequence[Participation], weighting: str) -> int:
    """Let the learner take a step with what really arrived, in the order of dispatch."""
    arrived = sorted(taken, key=lambda part: part.dispatch.sequence)
    uploads = [part.upload for part in arrived if part.upload]
    shares = weights(uploads, weighting)
    arrivals = []
    for part, upload, share in zip(arrived, uploads, shares, strict=True):
        staleness = world.version - part.dispatch.version
        weight = share * staleness_weight(staleness)
        arrivals.append(Arrival(part.dispatch, upload, weight, staleness))
    for part in arrived:
        world.reported.remove(part)
        world.judge(part, AGGREGATED)
    world.version = world.learner.aggregate(arrivals)
    return world.version


def _client_process(
    world: _SimulatedWorld, part: Participation
) -> Generator[simpy.Event, object, None]:
    env, dispatch = world.env, part.dispatch
    client, link = dispatch.client, world.links[dispatch.client]
    fate = ""
    try:
        if world.first_bytes and client not in world.equipped:
            part.first = Leg("first", world.first_bytes, env.now)
            yield from world.carrier.carry(link, part.first, dispatch.sequence)
            world.equipped.add(client)
        part.down.started_at_s = env.now
        yield from world.carrier.carry(link, part.down, dispatch.sequence)
        if _drops_out(world, link, dispatch.sequence):
            fate = DROPPED
        else:
            state = world.client_states.get(client, NO_STATE)
            part.upload = world.learner.train(dispatch, state)
            part.up = Leg("up", part.upload.nbytes, math.inf)  # not before it has trained
            yield env.timeout(link.compute_s(part.upload.examples))
            part.up.started_at_s = env.now
            yield from world.carrier.carry(link, part.up, dispatch.sequence)
    except simpy.Interrupt as interrupt:
        fate = str(interrupt.cause)
        if part.up:
            part.up.started_at_s = min(part.up.started_at_s, env.now)
            part.up.ended_at_s = env.now
        elif part.first and client not in world.equipped:
            part.down.started_at_s = part.down.ended_at_s = env.now
    if part in world.running:
        world.running.remove(part)
        if not fate:
            world.reported.add(part)
        else:
            world.judge(part, fate)
        world.tell()
    else:
        world.judge(part, fate or LATE)


def _drops_out(world: _SimulatedWorld, link: ClientLink, sequence: int) -> bool:
    """Return whether a client fails as it begins to train: nothing is trained then."""
    if not link.dropout:
        return False
    draw = stream(world.seed, "network", "dispatch", sequence, "dropout")
    return bool(draw.random() < link.dropout)
