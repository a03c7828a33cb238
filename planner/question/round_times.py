"""Round times of given traffic: closed form where links are independent, simulated otherwise.

If clients share no capacity and no rate varies, a round takes as long as its slowest client. The
times of its download, training and upload then have a closed form, which is thousands of times
faster than the simulator and agrees with it up to rounding (tested). Otherwise rounds are
simulated.

The seed of a profile determines its randomness: links drawn from distributions or rows, random
starts of traces, and jitter. A confidence is evaluated on ``FLEETS`` fleets, which are the profile
with different seeds; the cohorts remain those of the run. If rounds must be simulated, only
``SIMULATED_FLEETS`` fleets are used, and only the profile's own fleet is simulated for all rounds.
For each other fleet the first ``PROBED_ROUNDS`` rounds are simulated, and the ratio of their
duration to the own fleet's scales all its round times.

Shapes: F fleets, R rounds, C clients of a round, N clients of the fleet.
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
from floss_sim.simulator import outcomes, simulate, wait_all
from planner.question.traffic import Floats, Ints, Traffic

FLEETS = 40  # fleets timed for a confidence
SIMULATED_FLEETS = 20  # fleets timed for it if rounds must be simulated
PROBED_ROUNDS = 20  # rounds simulated of each fleet but the profile's own


class Clock:
    """Computes the round times of traffic on one network.

    Args:
        profile: The network; dropout and availability must not be set.
        clients: Clients of the fleet.
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
        """Whether a message's time depends neither on its start nor on other transfers.

        Jitter is allowed only without slow start and loss: with them it also changes the rate.
        """
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
        """Return the seconds of each message (R x C), computed once for each link and size."""
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
        """Return the seconds that jitter adds to a client's round (R x C).

        Each message adds its jitter times the round trips of set-up plus one half.
        """

        def unit_jitters(way: str) -> Floats:
            return _jitter(self._profile.seed, traffic.clients.size, way).reshape(traffic.shape)

        drawn_RC = unit_jitters("down") + unit_jitters("up")
        if traffic.first.any():
            drawn_RC += np.where(traffic.first, unit_jitters("first"), 0.0)
        trips = self._profile.transport.setup_rtts + 0.5
        added_RC: Floats = trips * self._jitter_N[traffic.clients] * drawn_RC
        return added_RC

    def _simulated_times(self, traffic: Traffic) -> Floats:
        rounds, cohort = traffic.shape
        steps = simulate(
            _TrafficLearner(traffic), self._profile, self._links, wait_all(),
            lambda number, _: traffic.clients[number - 1].tolist(), cohort, rounds,
        )  # fmt: skip
        return np.array([outcome.closed_at_s for outcome in outcomes(steps)])


@lru_cache(maxsize=8 * FLEETS)
def _jitter(seed: int, dispatches: int, way: str) -> Floats:
    """Return the jitter of one message of each dispatch, in units of its mean (dispatches,)."""
    return np.array([unit_jitter(seed, n, way) for n in range(dispatches)])


@dataclass(frozen=True)
class Fleets:
    """Fleets drawn from a profile, and the fraction of them that must finish in time."""

    clocks: tuple[Clock, ...]
    confidence: float

    @classmethod
    def of(cls, profile: NetworkProfile, clients: int, confidence: float | None) -> Fleets:
        """Return the fleets of a profile: first its own seed's, then those of other seeds.

        Only its own fleet is returned if there is no confidence, or if the seed changes nothing.

        Args:
            profile: The network.
            clients: Clients of the fleet.
            confidence: Fraction of fleets that must finish in time, or None.
        """
        if confidence is None or not _depends_on_seed(profile, clients):
            return cls((Clock(profile, clients),), 1.0)
        seeds = range(profile.seed, profile.seed + FLEETS)
        drawn = (profile.model_copy(update={"seed": seed}) for seed in seeds)
        return cls(tuple(Clock(fleet, clients) for fleet in drawn), confidence)

    def closing_times(self, traffic: Traffic) -> Floats:
        """Return the instants by which rounds have closed in ``confidence`` of the fleets (R).

        Each round has its own quantile. If a run's last round closes in time by these instants,
        the run ends in time in at least the fraction ``confidence`` of the fleets.
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
    """Return whether a different seed changes the links or the jitter."""
    other = profile.model_copy(update={"seed": profile.seed + 1})
    links: Sequence[ClientLink] = list(profile.links(clients))
    return any(link.jitter_s for link in links) or links != list(other.links(clients))


class _TrafficLearner(NoTraining):
    """A learner that does not train and whose message sizes are given by traffic."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._down, self._up = traffic.down.ravel().tolist(), traffic.up.ravel().tolist()
        self._examples = traffic.examples.ravel().tolist()

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        return Dispatch(sequence, client, self.version, self._down[sequence], 1)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        number = dispatch.sequence
        return Upload(number, dispatch.client, self._up[number], 1, self._examples[number])
