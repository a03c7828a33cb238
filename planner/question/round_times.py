"""When the rounds of some traffic close, on a network or on many fleets that it might be.

Where clients share nothing and no rate varies, a round takes as long as its slowest client, each
download, training and upload in closed form: thousands of times faster than the simulator, with
which it agrees to rounding (tested). Elsewhere the simulator says.

A profile's randomness (links drawn from laws or rows, random starts of traces, jitter) belongs to
its seed. The fleets of a confidence are ``FLEETS`` seeds of it; cohorts stay those of the run.
Where the simulator must say, they are ``SIMULATED_FLEETS``, and of all but the profile's own only
the first ``PROBED_ROUNDS`` rounds are simulated: they tell how much slower or faster such a fleet
is. Shapes: F fleets, R rounds, C clients of a round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.jitter import unit_jitter
from floss_sim.protocol import ClientState, Dispatch, Upload
from floss_sim.runs.no_training import NoTraining
from floss_sim.simulator import simulate, wait_all
from planner.question.traffic import Floats, Ints, Traffic

FLEETS = 40
SIMULATED_FLEETS = 20
PROBED_ROUNDS = 20


class Clock:
    """Times traffic on one network.

    Args:
        profile: The network; nobody drops out or is away on it.
        clients: Of the fleet.
    """

    def __init__(self, profile: NetworkProfile, clients: int) -> None:
        self._profile = profile
        self._links = list(profile.links(clients))
        numbers = {link: number for number, link in enumerate(dict.fromkeys(self._links))}
        self._kinds = list(numbers)
        self._kind_N = np.array([numbers[link] for link in self._links])
        self._compute_N = np.array([link.compute_s_per_example for link in self._links])
        self._jitter_N = np.array([link.jitter_s for link in self._links])

    def closing_times(self, traffic: Traffic) -> Floats:
        """Return the simulated instants at which rounds close (R), in seconds."""
        return (
            self._independent_times(traffic) if self.is_steady else self._simulated_times(traffic)
        )

    @property
    def is_steady(self) -> bool:
        """Whether a message takes as long whenever it starts, whoever else sends."""
        profile, links = self._profile, self._kinds
        open_ = all(math.isinf(profile.alone_bits_per_s(way)) for way in ("down", "up"))
        traced = any(link.down_trace or link.up_trace for link in links)
        linear = not profile.transport.slow_start and not any(link.loss for link in links)
        return open_ and not traced and (linear or not self._jitter_N.any())

    def _independent_times(self, traffic: Traffic) -> Floats:
        kind_RC = self._kind_N[traffic.clients]
        seconds_RC = self._message_s("down", traffic.down, kind_RC)
        seconds_RC += self._compute_N[traffic.clients] * traffic.examples
        seconds_RC += self._message_s("up", traffic.up, kind_RC)
        if traffic.first.any():
            first_RC = self._message_s("down", traffic.first, kind_RC)
            seconds_RC += np.where(traffic.first, first_RC, 0.0)
        if self._jitter_N.any():
            seconds_RC += self._jitter_s(traffic)
        closed_R: Floats = np.cumsum(seconds_RC.max(axis=1))
        return closed_R

    def _message_s(self, way: str, nbytes_RC: Ints, kind_RC: Ints) -> Floats:
        """Return the seconds of each message (R x C), asked once for each link and size."""
        sizes, size_RC = np.unique(nbytes_RC, return_inverse=True)
        pair_RC = kind_RC * len(sizes) + size_RC.reshape(kind_RC.shape)
        pairs, place = np.unique(pair_RC, return_inverse=True)
        transport = self._profile.transport
        seconds = [
            self._kinds[pair // len(sizes)].transfer_s(
                way, int(sizes[pair % len(sizes)]), transport
            )
            for pair in pairs.tolist()
        ]
        return np.array(seconds)[place].reshape(kind_RC.shape)

    def _jitter_s(self, traffic: Traffic) -> Floats:
        """Return what jitter adds (R x C): half a round trip a message, and those of set-ups."""

        def drawn(way: str) -> Floats:
            return _jitter(self._profile.seed, traffic.clients.size, way).reshape(traffic.shape)

        drawn_RC = drawn("down") + drawn("up")
        if traffic.first.any():
            drawn_RC += np.where(traffic.first, drawn("first"), 0.0)
        trips = self._profile.transport.setup_rtts + 0.5
        added_RC: Floats = trips * self._jitter_N[traffic.clients] * drawn_RC
        return added_RC

    def _simulated_times(self, traffic: Traffic) -> Floats:
        rounds, cohort = traffic.shape
        outcomes = simulate(
            _TrafficLearner(traffic), self._profile, self._links, wait_all(),
            lambda number, _: traffic.clients[number - 1].tolist(), cohort, rounds,
        )  # fmt: skip
        return np.array([outcome.closed_at_s for outcome in outcomes])


@lru_cache(maxsize=8 * FLEETS)
def _jitter(seed: int, dispatches: int, way: str) -> Floats:
    """Return the jitter of a message of each dispatch, over its mean."""
    return np.array([unit_jitter(seed, n, way) for n in range(dispatches)])


@dataclass(frozen=True)
class Fleets:
    """Fleets that a network might be, and the share of them that must finish in time."""

    clocks: tuple[Clock, ...]
    confidence: float

    @classmethod
    def of(cls, profile: NetworkProfile, clients: int, confidence: float | None) -> Fleets:
        """Return fleets drawn from a profile: the profile's own, then those of other seeds.

        Without a confidence only its own counts. A profile that draws nothing is the same fleet
        every time: one is enough.
        """
        if confidence is None or not _depends_on_seed(profile, clients):
            return cls((Clock(profile, clients),), 1.0)
        seeds = range(profile.seed, profile.seed + FLEETS)
        drawn = (profile.model_copy(update={"seed": seed}) for seed in seeds)
        return cls(tuple(Clock(fleet, clients) for fleet in drawn), confidence)

    def closing_times(self, traffic: Traffic) -> Floats:
        """Return the instants by which rounds have closed in that share of fleets (R).

        Round r is over by then in at least the share; a run that ends in time by this clock does
        so in as many fleets.
        """
        closed_FR = np.sort(self._times_by_fleet(traffic), axis=0)
        needed = math.ceil(round(self.confidence * len(closed_FR), 9))
        closed_R: Floats = closed_FR[max(0, needed - 1)]
        return closed_R

    def _times_by_fleet(self, traffic: Traffic) -> list[Floats]:
        own, *others = self.clocks
        if own.is_steady:
            return [clock.closing_times(traffic) for clock in self.clocks]
        own_R, early = own.closing_times(traffic), traffic.until(PROBED_ROUNDS)
        probed = (clock.closing_times(early)[-1] for clock in others[: SIMULATED_FLEETS - 1])
        return [own_R, *(own_R * (end_s / own_R[early.shape[0] - 1]) for end_s in probed)]


def _depends_on_seed(profile: NetworkProfile, clients: int) -> bool:
    """Return whether another seed is another network."""
    other = profile.model_copy(update={"seed": profile.seed + 1})
    links: Sequence[ClientLink] = list(profile.links(clients))
    return any(link.jitter_s for link in links) or links != list(other.links(clients))


class _TrafficLearner(NoTraining):
    """A learner whose messages are told beforehand."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._down, self._up = traffic.down.ravel().tolist(), traffic.up.ravel().tolist()
        self._examples = traffic.examples.ravel().tolist()

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        return Dispatch(sequence, client, self.version, self._down[sequence], 1)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        number = dispatch.sequence
        return Upload(number, dispatch.client, self._up[number], 1, self._examples[number])
