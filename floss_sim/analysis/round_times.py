"""Round times of given traffic: closed form where links are independent, simulated otherwise.

If clients share no capacity and no rate varies, a round takes as long as its slowest client. The
times of its download, training and upload then have a closed form, which is thousands of times
faster than the simulator and agrees with it up to rounding (tested). Otherwise rounds are
simulated.

Shapes: R rounds, C clients of a round, N clients that take part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np

from floss_sim.analysis.compute_times import compute_seconds
from floss_sim.analysis.traffic import Floats, Ints, Traffic
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.fleets.classes import Fleet
from floss_sim.network.jitter import unit_jitter
from floss_sim.network.transport import Transport
from floss_sim.units import BITS_PER_BYTE

_JITTER_TABLES = 320  # cached; 40 fleets have two each, or three with first downloads


class Clock:
    """Computes the round times of traffic on one network.

    Links are made for clients that take part only, so that the fleet may be large.

    Args:
        profile: The network; dropout and availability must not be set.
        clients: Clients of the fleet.

    Attributes:
        link: Function that returns the link of a client, given its number.
    """

    def __init__(self, profile: NetworkProfile, clients: int) -> None:
        self._profile = profile
        self.link = cache(profile.links(clients).__getitem__)
        self._clients = clients

    def without_framework(self) -> Clock:
        """Return the clock of the same fleet, without a framework."""
        return Clock(self._profile.without_framework(), self._clients)

    @property
    def framework(self) -> str | None:
        """Name of the profile's framework; None without one."""
        return self._profile.transport.framework

    def closing_times(self, traffic: Traffic) -> Floats:
        """Return the simulated instants at which rounds close (R), in seconds."""
        if self.is_steady(traffic):
            return self._independent_times(traffic, jitter=self.has_draws(traffic))
        return self._simulated_times(traffic)

    def nominal_times(self, traffic: Traffic) -> Floats:
        """Return the closing times (R) without jitter, shared capacities and changes of rates.

        Each client has its nominal rates, at most the rate that server and cell allow a single
        transfer. The instants are those of :meth:`closing_times` if the network has none of these.
        """
        return self._independent_times(traffic, jitter=False)

    def is_steady(self, traffic: Traffic) -> bool:
        """Return whether a message's time depends neither on its start nor on other transfers.

        Jitter is allowed only without slow start and loss: with them it also changes the rate.
        """
        profile, links = self._profile, self._links_of(traffic)
        open_ = all(math.isinf(profile.alone_bits_per_s(way)) for way in ("down", "up"))
        traced = any(link.down_trace or link.up_trace for link in links)
        linear = not profile.transport.slow_start and not any(link.loss for link in links)
        return open_ and not traced and (linear or not self.has_jitter(traffic))

    def has_jitter(self, traffic: Traffic) -> bool:
        """Return whether a client that takes part has jitter."""
        return any(link.jitter_s for link in self._links_of(traffic))

    def has_draws(self, traffic: Traffic) -> bool:
        """Return whether jitter or a framework's delays are drawn for each dispatch."""
        return self._profile.transport.framework is not None or self.has_jitter(traffic)

    def links_by_place(self, traffic: Traffic) -> tuple[list[ClientLink], Ints]:
        """Return the links of the clients that take part (N), and each client's place (R x C)."""
        numbers_N, place_RC = traffic.participants
        return [self.link(n) for n in numbers_N.tolist()], place_RC

    def _links_of(self, traffic: Traffic) -> list[ClientLink]:
        return self.links_by_place(traffic)[0]

    def _independent_times(self, traffic: Traffic, jitter: bool) -> Floats:
        last_R: Floats = self.client_seconds(traffic, jitter).max(axis=1)
        if law := self._profile.transport.law:
            # Without draws, the mean wait for the server's next look is half of its interval.
            last_R = (
                law.seen_after_s(last_R)
                if jitter
                else last_R + law.server_poll / 2 + law.server_time
            )
        closed_R: Floats = np.cumsum(last_R)
        return closed_R

    def client_seconds(self, traffic: Traffic, jitter: bool) -> Floats:
        """Return the seconds from dispatch to arrival of each client (R x C), links independent.

        Args:
            traffic: The messages.
            jitter: Whether to add the jitter of each message, and to draw a framework's delays,
                which count with their mean otherwise.
        """
        links, place_RC = self.links_by_place(traffic)
        links = [_at_mean_rates(link) for link in links]
        seconds_RC = self._message_s("down", traffic.down, links, place_RC)
        seconds_RC += compute_seconds(traffic, links, place_RC)
        seconds_RC += self._message_s("up", traffic.up, links, place_RC)
        if traffic.first.any():
            first_RC = self._message_s("down", traffic.first, links, place_RC)
            seconds_RC += np.where(traffic.first, first_RC, 0.0)
        if law := self._profile.transport.law:
            delays_RC = self._delays_s(traffic) if jitter else law.mean_delay_s
            seconds_RC += delays_RC
        if jitter:
            jitter_N = np.array([link.jitter_s for link in links])
            seconds_RC += jitter_N[place_RC] * self._unit_jitter_s(traffic)
        return seconds_RC

    def _message_s(
        self, way: str, nbytes_RC: Ints, links: Sequence[ClientLink], place_RC: Ints
    ) -> Floats:
        """Return the seconds of each message (R x C), by the formula of ``transfer_s``."""
        transport, limit = self._profile.transport, self._profile.alone_bits_per_s(way)
        steady = transport.model_copy(update={"slow_start": False})
        rates = [link.steady_bits_per_s(way, steady, link.rtt_s, limit) for link in links]
        rate_RC = np.array(rates, dtype=np.float64)[place_RC]
        rtt_RC = np.array([link.rtt_s for link in links])[place_RC]
        bits_RC = BITS_PER_BYTE * wire_bytes_of(nbytes_RC, links, place_RC, transport, way)
        seconds_RC: Floats = transport.setup_rtts * rtt_RC + rtt_RC / 2
        if transport.slow_start:
            window_N = np.array([transport.window_bits_per_s(link.rtt_s) for link in links])
            return seconds_RC + _slow_start_s(bits_RC, rate_RC, rtt_RC, window_N[place_RC])
        return seconds_RC + bits_RC / rate_RC

    def _unit_jitter_s(self, traffic: Traffic) -> Floats:
        """Return what jitter adds to a client's round (R x C), in units of the mean jitter.

        Each message adds its jitter times the round trips of set-up plus one half.
        """

        def unit_jitters(way: str) -> Floats:
            return _jitter(self._profile.seed, traffic.clients.size, way).reshape(traffic.shape)

        drawn_RC = unit_jitters("down") + unit_jitters("up")
        if traffic.first.any():
            drawn_RC += np.where(traffic.first, unit_jitters("first"), 0.0)
        return (self._profile.transport.setup_rtts + 0.5) * drawn_RC

    def _delays_s(self, traffic: Traffic) -> Floats:
        """Return the seconds that a framework adds to each dispatch (R x C)."""
        transport, seed = self._profile.transport, self._profile.seed
        return _framework_delays(transport, seed, traffic.clients.size).reshape(traffic.shape)

    def _simulated_times(self, traffic: Traffic) -> Floats:
        from floss_sim.analysis.traffic_learner import TrafficLearner
        from floss_sim.simulator import outcomes, simulate, wait_all

        rounds, cohort = traffic.shape
        steps = simulate(
            TrafficLearner(traffic), self._profile, Fleet(self._clients, self.link), wait_all(),
            lambda number, _: traffic.clients[number - 1].tolist(), cohort, rounds,
            work=traffic.work,
        )  # fmt: skip
        return np.array([outcome.closed_at_s for outcome in outcomes(steps)])


def _at_mean_rates(link: ClientLink) -> ClientLink:
    """Return a link without its traces."""
    traced = link.down_trace or link.up_trace
    return replace(link, down_trace=None, up_trace=None) if traced else link


def _slow_start_s(bits: Ints, rate: Floats, rtt_s: Floats, window: Floats) -> Floats:
    """Return the seconds from first to last byte of messages that begin in slow start.

    The rate is ``window`` in the first round trip and doubles after each, up to ``rate``. After i
    doublings window (2^i - 1) rtt bits have been sent.

    Args:
        bits: Bits on the wire; all arguments have the same shape.
        rate: Highest rate in bits per second.
        rtt_s: Round trips in seconds.
        window: Rate in the first round trip, in bits per second; infinite without a round trip.
    """
    window = np.minimum(window, rate)
    first_bits = window * np.where(rtt_s > 0, rtt_s, 1.0)
    most = np.ceil(np.log2(rate / window))
    doublings = np.minimum(most, np.floor(np.log2(1 + bits / first_bits)))
    sent = first_bits * (2**doublings - 1)
    seconds: Floats = doublings * rtt_s + (bits - sent) / np.minimum(rate, window * 2**doublings)
    return seconds


def wire_bytes_of(
    nbytes_RC: Ints,
    links: Sequence[ClientLink],
    place_RC: Ints,
    transport: Transport,
    way: str = "down",
) -> Ints:
    """Return the wire bytes of each message (R x C) in a direction, without connection set-up."""
    loss_RC = np.array([link.loss for link in links])[place_RC]
    wire_RC = np.empty_like(nbytes_RC)
    for loss in sorted({link.loss for link in links}):
        chosen_RC = loss_RC == loss
        sizes, place = unique_sizes(nbytes_RC[chosen_RC])
        wire_RC[chosen_RC] = _wire_bytes(transport, loss, tuple(sizes.tolist()), way)[place]
    return wire_RC


def unique_sizes(sizes: Ints) -> tuple[Ints, Ints]:
    """Return different sizes in order, and the place of each size in them, as ``np.unique`` does.

    Sizes that differ by less than their number are counted, which takes linear time.
    """
    if sizes.size == 0 or np.ptp(sizes) >= sizes.size:
        return np.unique(sizes, return_inverse=True)
    low = sizes.min()
    above = sizes - low
    found = np.flatnonzero(np.bincount(above))
    place = np.zeros(found[-1] + 1, dtype=np.int64)
    place[found] = np.arange(found.size)
    return found + low, place[above]


@lru_cache(maxsize=64)  # the fleets of a profile share an entry
def _wire_bytes(transport: Transport, loss: float, sizes: tuple[int, ...], way: str) -> Ints:
    return np.array([transport.wire_bytes(size, loss, way) for size in sizes], dtype=np.int64)


@lru_cache(maxsize=_JITTER_TABLES)
def _framework_delays(transport: Transport, seed: int, dispatches: int) -> Floats:
    """Return the seconds that a framework adds to each dispatch (dispatches,)."""
    law = transport.law
    if law is None:
        return np.zeros(dispatches)
    return np.array([sum(law.delays(seed, n)) for n in range(dispatches)])


@lru_cache(maxsize=_JITTER_TABLES)
def _jitter(seed: int, dispatches: int, way: str) -> Floats:
    """Return the jitter of one message of each dispatch, in units of its mean (dispatches,)."""
    return np.array([unit_jitter(seed, n, way) for n in range(dispatches)])
