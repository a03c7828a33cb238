"""Carrier of payloads: each goes through its client's link and the server's shared capacity.

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
    """One payload on its way; what was sent is known when it ends, whole or interrupted.

    Attributes:
        direction: ``"down"``, ``"up"``, or ``"first"``: what is downloaded once.
        nbytes: Bytes of the payload.
        started_at_s: Instant of its start.
        ended_at_s: Instant of its arrival, or of its interruption.
        sent_bytes: Bytes of the payload that were sent.
        wire_bytes: Bytes on the wire: these with framing, headers, retransmissions and set-up.
        alone_s: Seconds that it takes where nobody else sends.
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
        """``"down"`` or ``"up"``."""
        return "up" if self.direction == "up" else "down"


class _AnyPipe(Protocol):
    """A pipe, shared or open; what it starts, it stops."""

    def start(self, bits: float, caps: Iterator[RateChange], cell: int) -> Any: ...

    def stop(self, transfer: Any, /) -> float: ...


class Carrier:
    """Carries payloads over their client's link and the server's capacity, which all share."""

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
        """Carry a payload (a SimPy process fragment), writing into its leg what became of it.

        Args:
            link: The client's.
            leg: Direction and size; filled in also where the process is interrupted.
            sequence: The number of the dispatch, which names the stream of jitter.

        Raises:
            simpy.Interrupt: The process was interrupted on the way.
        """
        env, transport, way = self._env, self._transport, leg.way
        rtt_s = link.rtt_s
        if link.jitter_s:
            rtt_s += link.jitter_s * unit_jitter(self._seed, sequence, leg.direction)
        ideal = self._ideal and not link.loss
        wire_bytes = leg.nbytes if ideal else self._wire_bytes(leg.nbytes, link.loss)
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
