"""Laws of a first-in first-out server, packet by packet, that were tried against real uploads.

``fifo_s``
    Each client sends at its own rate until it has sent all; the server serves packets in the order
    of their arrival, from a buffer without an end (Lindley's recursion, Mathematical Proceedings of
    the Cambridge Philosophical Society 48, 1952).
``windowed_s``
    The same, but a client has a window of packets in flight: 10 at first, and one more for each
    that has left the server (TCP's slow start). An acknowledgement takes no time.
``dropping_s``
    The same, but the buffer ends, and the server drops what does not fit. A client misses a packet
    after the wait of a round trip, sends it again, and multiplies its window by 0.7 (CUBIC), once a
    round trip. From then on the window grows by one packet a round trip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush

from cases import BITS_PER_BYTE, FRAME_BYTES, Bucket, Case

_SEGMENT_BYTES = 1448  # of payload in a frame
_INITIAL_WINDOW = 10  # packets
_BUFFER_S = 0.05  # the wait beyond which the server drops
_DECREASE = 0.7  # of a window after a loss (RFC 9438, section 4.6)
_LEAST_WINDOW = 2.0  # packets
_OPEN = Bucket(10**15, FRAME_BYTES)


class Shaper:
    """A token bucket with a queue without an end: tells when each frame leaves."""

    def __init__(self, bucket: Bucket) -> None:
        self._bytes_per_s = bucket.bits_per_s / BITS_PER_BYTE
        self._burst_bytes = max(bucket.burst_bytes, FRAME_BYTES)
        self._tokens_bytes = float(self._burst_bytes)
        self._at_s = -math.inf

    def leaves_s(self, at_s: float) -> float:
        """Return the instant at which a frame leaves that comes after all earlier ones."""
        at_s = max(at_s, self._at_s)
        if self._at_s > -math.inf:
            earned_bytes = (at_s - self._at_s) * self._bytes_per_s
            self._tokens_bytes = min(self._burst_bytes, self._tokens_bytes + earned_bytes)
        lacking_bytes = max(0.0, FRAME_BYTES - self._tokens_bytes)
        self._at_s = at_s + lacking_bytes / self._bytes_per_s
        self._tokens_bytes += lacking_bytes - FRAME_BYTES
        return self._at_s


class Sender:
    """A client: its packets, its window, and its own link."""

    def __init__(self, case: Case, payload_bytes: int, window: float) -> None:
        self.left = packets(payload_bytes)
        self.window = window
        self.in_flight = 0
        self.slow_start = True
        self.recovered_at_s = -math.inf
        self.link = Shaper(case.client)

    def sends(self, at_s: float) -> list[float]:
        """Return the instants at which the packets that the window allows reach the server."""
        count = max(0, min(self.left, int(self.window) - self.in_flight))
        self.left -= count
        self.in_flight += count
        return [self.link.leaves_s(at_s) for _ in range(count)]

    def hears(self, at_s: float) -> None:
        """Take the acknowledgement of a packet."""
        self.in_flight -= 1
        if at_s >= self.recovered_at_s:
            self.window += 1 if self.slow_start else 1 / self.window

    def misses(self, at_s: float) -> None:
        """Take the loss of a packet, which is to be sent again."""
        self.in_flight -= 1
        self.left += 1
        if at_s >= self.recovered_at_s:
            self.window = max(_LEAST_WINDOW, _DECREASE * self.window)
            self.slow_start, self.recovered_at_s = False, at_s + _BUFFER_S


def packets(payload_bytes: int) -> int:
    """Return the number of frames of a payload."""
    return math.ceil(payload_bytes / _SEGMENT_BYTES)


def fifo_s(case: Case, starts_s: Sequence[float]) -> list[float]:
    """Return the seconds of each transfer of a case whose server serves first in, first out."""
    return _served_s(case, starts_s, max(map(packets, case.payloads_bytes)), math.inf)


def windowed_s(case: Case, starts_s: Sequence[float], window: int = _INITIAL_WINDOW) -> list[float]:
    """Return the seconds of each transfer of a case if windows limit what is in flight."""
    return _served_s(case, starts_s, window, math.inf)


def dropping_s(case: Case, starts_s: Sequence[float]) -> list[float]:
    """Return the seconds of each transfer of a case if the server drops what does not fit."""
    return _served_s(case, starts_s, _INITIAL_WINDOW, _BUFFER_S)


def _served_s(case: Case, starts_s: Sequence[float], window: int, buffer_s: float) -> list[float]:
    """Return the seconds of each transfer of a case.

    Args:
        case: The transfers; without a server each has its own link alone.
        starts_s: Instants at which the clients start.
        window: Packets of the first window.
        buffer_s: The wait beyond which the server drops.
    """
    bucket = case.server or _OPEN
    senders = [Sender(case, payload, window) for payload in case.payloads_bytes]
    server, waiting_bytes = Shaper(bucket), 0
    room_bytes = bucket.burst_bytes + buffer_s * bucket.bits_per_s / BITS_PER_BYTE
    events = sorted((at_s, number, "starts", number) for number, at_s in enumerate(starts_s))
    counted, ends_s = len(events), list(starts_s)
    while events:
        at_s, _, what, client = heappop(events)
        sender = senders[client]
        coming = []
        if what == "arrives" and waiting_bytes + FRAME_BYTES > room_bytes:
            wait_s = BITS_PER_BYTE * waiting_bytes / bucket.bits_per_s
            coming = [(at_s + wait_s, "is missed")]
        elif what == "arrives":
            waiting_bytes += FRAME_BYTES
            coming = [(server.leaves_s(at_s), "leaves")]
        else:
            if what == "leaves":
                waiting_bytes -= FRAME_BYTES
                ends_s[client] = at_s
                sender.hears(at_s)
            elif what == "is missed":
                sender.misses(at_s)
            coming = [(arrives_s, "arrives") for arrives_s in sender.sends(at_s)]
        for then_s, then in coming:
            counted += 1
            heappush(events, (then_s, counted, then, client))
    return [end_s - start_s for end_s, start_s in zip(ends_s, starts_s, strict=True)]
