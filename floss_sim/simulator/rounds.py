"""Simulation of rounds: SimPy processes of server and clients, in lockstep with a learner.

A client downloads, trains and uploads. The learner is called at the simulated instants of these
steps, and the lengths of the real payloads set the simulated times::

    server   |dispatch                                          aggregate|
    client i |--- download ---|--- local training ---|--- upload ---|

A simulation is stepped from outside: it yields the learner's jobs and the outcomes of rounds. While
a job is computed, it stands still, at the instant at which a client begins to train. One loop can
therefore step many simulations, and compute their jobs together.

All policies use the same steps: fill the cohort, wait for reports and losses until the policy
closes the round, take the first reports, dismiss the late clients, aggregate. A client is busy
from its dispatch until its update is aggregated or lost; a busy client joins no other cohort.
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import simpy

from floss_sim.errors import ConfigError
from floss_sim.network import Carrier, ClientLink, EndOfInstant, Leg, NetworkProfile, Presence
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.network.frameworks.law import Delays, Framework
from floss_sim.protocol import NO_STATE, Arrival, ClientState, Dispatch, Job, Learner
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

_NO_DELAYS = Delays(0.0, 0.0, 0.0)  # of a dispatch without a framework
ASK_AGAIN_S = 60.0  # seconds until the server asks again if no client is on and free
_MOST_ATTEMPTS = 1000  # passes through the fleet per round; the limit stops an endless search


@dataclass(frozen=True)
class RoundOutcome:
    """Outcome of a round: instants in seconds, transfers, and the version that it produced.

    ``reports`` is the number of updates aggregated. ``client_states`` is a live view of the
    states that clients keep, not a copy. ``in_flight`` has the dispatches whose updates are neither
    aggregated nor lost.
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
    work: LocalWork | None = None,
) -> Iterator[Job | RoundOutcome]:
    """Yield the jobs and the outcome of each round, from round 1 at time zero.

    The caller computes a job before it takes the next value.

    Args:
        learner: Learner that is called at simulated instants.
        profile: Network profile.
        links: Link of each client, by client number.
        policy: Policy that closes a round.
        order_of: Function of the round's number and the attempt (0, 1, ...) that returns the
            order in which clients are asked; busy or off clients are skipped.
        cohort: Number of clients at work at the same time.
        rounds: Number of rounds to simulate.
        weighting: Law of the weights of a round's uploads (see ``weighting.weights``).
        work: Operations of a client's local training; needed if clients have devices.

    Raises:
        ProfileError: A client has a device, and ``work`` is None.
        ConfigError: Too few clients are available or report, even after 1000 attempts in a round.
    """
    world = _SimulatedWorld(learner, profile, links, policy, cohort, work)
    for number in range(1, rounds + 1):
        server = world.env.process(_server_process(world, number, order_of, weighting))
        while (asking := _advance(world, server)) is not None:
            job: Job | None = asking.job
            while job is not None:
                yield job
                job = learner.job(asking.dispatch)
            asking.resume()
        if not isinstance(server.value, RoundOutcome):
            raise TypeError(f"round {number} ended without an outcome")
        yield server.value


def outcomes(steps: Iterable[Job | RoundOutcome]) -> Iterator[RoundOutcome]:
    """Yield the outcomes of a simulation, and compute each of its jobs at once."""
    for step in steps:
        if isinstance(step, RoundOutcome):
            yield step
        else:
            step.compute()


def _advance(world: _SimulatedWorld, server: simpy.Process) -> _JobEvent | None:
    """Simulate until a client asks for a job; return its event, or None when the round has ended.

    Args:
        world: State of the simulation.
        server: The server's process of the round.
    """
    with _pause_collector():
        while not world.asking and not server.processed:
            world.env.step()
    return world.asking.popleft() if world.asking else None


class _JobEvent(simpy.Event):
    """Event for which a client waits while its job is computed; simulated time stands still.

    It is scheduled before all other events of its instant. Nothing else is urgent when a download
    has ended, so the client goes on as if it had never waited.
    """

    def __init__(self, env: simpy.Environment, dispatch: Dispatch, job: Job) -> None:
        super().__init__(env)
        self.dispatch = dispatch
        self.job = job

    def resume(self) -> None:
        """Let the client go on."""
        self._ok, self._value = True, None
        self.env.schedule(self, priority=simpy.events.URGENT)


@contextmanager
def _pause_collector() -> Iterator[None]:
    """Pause Python's cyclic garbage collector for the block, which simulates at most one round.

    A round leaves no reference cycles. A large round keeps millions of objects alive; the collector
    would scan them repeatedly and take twice as long as the round itself.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _SimulatedWorld:
    """State shared by all processes: clock, learner, links, and the clients at work."""

    def __init__(
        self,
        learner: Learner,
        profile: NetworkProfile,
        links: Sequence[ClientLink],
        policy: RoundPolicy,
        cohort: int,
        work: LocalWork | None = None,
    ) -> None:
        self.env = simpy.Environment()
        self.learner = learner
        self.policy = policy
        self.cohort = cohort
        self.links = links
        self.work = work
        self.carrier = Carrier(self.env, profile)
        self.framework = profile.transport.law
        law = profile.availability
        self.presence = Presence(law.law(), profile.seed) if law else None
        self.seed = profile.seed
        self.first_bytes = profile.first_download
        self.equipped: set[int] = set()  # clients whose first download is complete
        self.client_states: dict[int, ClientState] = {}
        self.dispatched = 0
        self.version = 0
        self.busy: dict[int, Participation] = {}  # participations without a fate, by client
        self.running: set[Participation] = set()  # busy ones that may still report
        self.reported: set[Participation] = set()  # busy ones that have reported
        self.ended: list[Participation] = []  # fate known, but not yet in an outcome
        self.asking: deque[_JobEvent] = deque()  # of clients that wait for their jobs
        self.news = self.env.event()
        self.telling = EndOfInstant(self.env, self._wake_server, order=1)

    def start(self, client: int) -> None:
        """Dispatch the newest version to a client: the learner encodes it, the download starts."""
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
        """Stop a client that is still at work.

        Args:
            part: Participation of the client.
            why: Fate of the participation, ``CANCELLED`` or ``OFFLINE``.
        """
        if part.process and part.process.is_alive:
            part.process.interrupt(why)

    def tell(self) -> None:
        """Wake the server process after all other events of this instant."""
        self.telling.ask()

    def _wake_server(self) -> None:
        news, self.news = self.news, self.env.event()
        news.succeed()

    def judge(self, part: Participation, fate: str) -> None:
        """Set the fate of a participation and free its client."""
        part.fate = fate
        del self.busy[part.dispatch.client]
        state = part.kept_state()
        self.learner.forget(part.dispatch, state)
        if state:
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
            asked.fill()  # replace lost clients
            if not world.running and world.reported:
                break  # no client is left to ask: close with the reports so far
            if not world.running:
                yield from asked.wait_for_clients()
            continue
        yield world.news
        if policy.late == "kept" and len(world.reported) < (policy.reports or 0):
            asked.refill()
    if world.framework:
        yield env.timeout(_until_seen_s(world.framework, env.now - opened_at_s))
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


def _until_seen_s(framework: Framework, elapsed_s: float) -> float:
    """Return the seconds until the server of a framework looks for replies again."""
    return float(framework.seen_after_s(np.array(elapsed_s))) - elapsed_s


class _CohortFiller:
    """Fills the cohort of one round: asks clients in the round's order."""

    def __init__(
        self, world: _SimulatedWorld, number: int, order_of: Callable[[int, int], Iterable[int]]
    ) -> None:
        self._world = world
        self._number, self._order_of = number, order_of
        self._attempts = 0
        self._clients = iter(order_of(number, 0))

    def fill(self) -> None:
        """Start free clients until the cohort is full or no client is left to ask.

        Clients that have reported count as part of the cohort, except with late updates ``"kept"``.
        """
        world = self._world
        done = 0 if world.policy.late == "kept" else len(world.reported)
        while len(world.running) + done < world.cohort:
            client = next(self._clients, None)
            if client is None:
                return
            if world.is_free(client):
                world.start(client)

    def refill(self) -> None:
        """Replace clients that are done; if the order is used up, start one new attempt."""
        self.fill()
        if len(self._world.running) < self._world.cohort:
            self._begin_anew()
            self.fill()

    def wait_for_clients(self) -> Generator[simpy.Event, object, None]:
        """Wait ``ASK_AGAIN_S`` seconds and start a new attempt: no client works or has reported.

        Raises:
            ConfigError: The round has used all its attempts.
        """
        yield self._world.env.timeout(ASK_AGAIN_S)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._attempts += 1
        if self._attempts > _MOST_ATTEMPTS:
            raise ConfigError(
                f"round {self._number} could not be completed: after {_MOST_ATTEMPTS} attempts too "
                "few clients were available or reported; see [availability] and dropout"
            )
        self._clients = iter(self._order_of(self._number, self._attempts))


def _dismiss(
    world: _SimulatedWorld, taken: Sequence[Participation]
) -> Generator[simpy.Event, object, None]:
    """Apply the policy's action to late clients and to reports that are not taken.

    Args:
        world: State of the simulation.
        taken: Participations whose updates are aggregated in this round.
    """
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
    """Aggregate the taken updates in the order of dispatch; return the new version.

    Args:
        world: State of the simulation.
        taken: Participations whose updates are aggregated.
        weighting: Law of the weights (see ``weighting.weights``).
    """
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
        delays = _NO_DELAYS
        if world.framework:
            delays = world.framework.delays(world.seed, dispatch.sequence)
            yield env.timeout(delays.before_download_s)
        part.down.started_at_s = env.now
        yield from world.carrier.carry(link, part.down, dispatch.sequence)
        if _drops_out(world, link, dispatch.sequence):
            fate = DROPPED
        else:
            state = world.client_states.get(client, NO_STATE)
            if job := world.learner.job(dispatch):
                asking = _JobEvent(env, dispatch, job)
                world.asking.append(asking)
                yield asking
            part.upload = world.learner.train(dispatch, state)
            part.up = Leg("up", part.upload.nbytes, math.inf)  # starts after training
            compute_s = link.compute_s(part.upload.examples, world.work)
            yield env.timeout(compute_s + delays.before_training_s + delays.before_upload_s)
            part.trained, part.up.started_at_s = True, env.now
            yield from world.carrier.carry(link, part.up, dispatch.sequence)
    except simpy.Interrupt as interrupt:
        fate = str(interrupt.cause)
        if part.up:
            part.up.started_at_s = min(part.up.started_at_s, env.now)
            part.up.ended_at_s = env.now
        elif part.down.ended_at_s < part.down.started_at_s or (
            part.first and client not in world.equipped
        ):
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
    """Return whether a client drops out at the start of its training, so that it trains nothing."""
    if not link.dropout:
        return False
    draw = stream(world.seed, "network", "dispatch", sequence, "dropout")
    return bool(draw.random() < link.dropout)
