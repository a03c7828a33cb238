"""Carrier of payloads: sends each through its client's link and the shared server capacity.

::

    |-- set-up --|------ bits, by the client's link and the server's share ------|- half an RTT -|
    start        first byte                                            last byte sent    arrival
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import tee
from typing import Any, Protocol

import simpy

from floss_sim.network.flow.max_min_fair import FairShare
from floss_sim.network.flow.pipe import OpenPipe, Pipe
from floss_sim.network.jitter import unit_jitter
from floss_sim.network.link import ClientLink, RateChange, seconds_of
from floss_sim.network.profile import NetworkProfile
from floss_sim.network.transport import IDEAL
from floss_sim.units import BITS_PER_BYTE


@dataclass(slots=True)
class Leg:
    """Transfer of one payload; end and sent bytes are set when it arrives or is interrupted.

    Attributes:
        direction: ``"down"``, ``"up"``, or ``"first"`` for the client's first download.
        nbytes: Bytes of the payload.
        started_at_s: Instant of the start.
        ended_at_s: Instant of the arrival or of the interruption.
        sent_bytes: Bytes of the payload that were sent.
        wire_bytes: Bytes sent on the wire: payload, framing, headers, retransmissions and
            connection set-up.
        alone_s: Seconds from start to arrival if no other transfer were in flight.
    """

    direction: str
    nbytes: int
    started_at_s: float
    ended_at_s: float = 0.0
    sent_bytes: int = 0
    wire_bytes: int = 0
    alone_s: float = 0.0

    @property
    def way(self) -> str:
        """Direction of the bytes: ``"up"``, or ``"down"`` (first downloads included)."""
        return "up" if self.direction == "up" else "down"


class _AnyPipe(Protocol):
    """A pipe, shared or open; ``stop`` takes a transfer that ``start`` returned."""

    def start(self, bits: float, caps: Iterator[RateChange], cell: int) -> Any: ...

    def stop(self, transfer: Any, /) -> float: ...


class Carrier:
    """Carries payloads over each client's own link and the capacity shared by all clients."""

    def __init__(self, env: simpy.Environment, profile: NetworkProfile) -> None:
        self._env = env
        self._transport = profile.transport
        self._wire_bytes = lru_cache(maxsize=4096)(profile.transport.wire_bytes)
        self._seed = profile.seed
        self._ideal = profile.transport == IDEAL
        self._alone = {way: profile.alone_bits_per_s(way) for way in ("down", "up")}
        self._pipes: dict[str, _AnyPipe] = {
            direction: _pipe(env, *profile.capacities(direction)) for direction in ("down", "up")
        }

    def carry(
        self, link: ClientLink, leg: Leg, sequence: int
    ) -> Generator[simpy.Event, object, None]:
        """Carry a payload as a part of a SimPy process, and fill in its leg.

        Args:
            link: Link of the client.
            leg: Transfer with direction and size; the other fields are set here, also if the
                process is interrupted.
            sequence: Number of the dispatch, which selects the random stream of the jitter.

        Raises:
            simpy.Interrupt: The process was interrupted during the transfer.
        """
        env, transport, way = self._env, self._transport, leg.way
        rtt_s = link.rtt_s
        if link.jitter_s:
            rtt_s += link.jitter_s * unit_jitter(self._seed, sequence, leg.direction)
        ideal = self._ideal and not link.loss
        wire_bytes = leg.nbytes if ideal else self._wire_bytes(leg.nbytes, link.loss, way)
        bits, setup_s = BITS_PER_BYTE * wire_bytes, transport.setup_rtts * rtt_s
        left, first_byte_at_s, alone = float(bits), env.now + setup_s, self._alone[way]
        caps: Iterator[RateChange]
        if rate := link.steady_bits_per_s(way, transport, rtt_s, alone):
            caps, bits_s = iter([(first_byte_at_s, rate)]), bits / rate
        else:
            caps, again = tee(link.caps(way, transport, first_byte_at_s, rtt_s, alone))
            bits_s = seconds_of(bits, again)
        leg.alone_s = setup_s + bits_s + rtt_s / 2
        try:
            leg.wire_bytes = transport.setup_bytes
            if setup_s:
                yield env.timeout(setup_s)
            pipe = self._pipes[way]
            flow = pipe.start(bits, caps, link.cell)
            try:
                yield flow.tag
            finally:
                left = pipe.stop(flow)
            if rtt_s:
                yield env.timeout(rtt_s / 2)
        finally:
            leg.ended_at_s = env.now
            sent = 1 - left / bits if left else 1
            leg.sent_bytes = round(leg.nbytes * sent)
            leg.wire_bytes += round(wire_bytes * sent)


def _pipe(env: simpy.Environment, server: float, cells: Sequence[float]) -> _AnyPipe:
    if all(math.isinf(capacity) for capacity in (server, *cells)):
        return OpenPipe(env)
    return Pipe(env, FairShare(server, cells))
