"""What a payload costs on the wire: framing, encryption, headers, set-up, slow start, loss.

Everything is off by default: the ideal transport of most papers, in which a payload takes its
bytes over the rate. A profile switches each part on::

    [transport]
    framing = "grpc"       # or "none": nothing around the payload
    tls = true             # TLS 1.3 records
    headers = "ipv4"       # or "ipv6": TCP/IP headers on every segment; "none"
    connection = "new"     # set up for every message; "kept": alive; "none": not looked at
    slow_start = true      # the window starts at initial_window segments, doubles every round trip
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from floss_sim.documents import Section
from floss_sim.units import BITS_PER_BYTE

_GRPC_PREFIX = 5  # gRPC over HTTP/2: compressed flag and length of a message
_GRPC_CALL = 60  # HEADERS after HPACK, trailers, WINDOW_UPDATE, PING: 34 to 84 were measured
_GRPC_FIRST_CALL = 300  # also preface, SETTINGS, HEADERS in full: 370 up and 220 down, measured
_FRAME, _FRAME_DATA = 9, 16_384  # RFC 9113, sections 4.1 and 4.2: header and default most data
_RECORD, _RECORD_DATA = 22, 16_384  # RFC 8446, section 5.2: header 5, type 1, AEAD tag 16
_IP = {"none": 0, "ipv4": 20, "ipv6": 40}
_TCP = 32  # RFC 9293 and RFC 7323: 20, and 12 of timestamps
_SYN_BYTES = 3 * 60  # SYN, SYN-ACK and ACK with their options, over IPv4
_TLS_SETUP_BYTES = 4_500  # hellos, a certificate chain of two, finished: about
_DELAYED_ACK = 2  # segments that an acknowledgement covers
_LEAST_RTO_S = 0.2  # what Linux waits beyond the round trip


class Transport(Section):
    """How payloads become bytes on a link; sizes in bytes."""

    framing: Literal["none", "grpc"] = "none"
    tls: bool = False
    headers: Literal["none", "ipv4", "ipv6"] = "none"
    mtu: Annotated[int, Field(ge=576, le=65_535)] = 1500
    link_header: Annotated[int, Field(ge=0, le=100)] = 0
    connection: Literal["none", "kept", "new"] = "none"
    slow_start: bool = False
    initial_window: Annotated[int, Field(ge=1, le=1000)] = 10

    def message_bytes(self, payload: int) -> int:
        """Return a payload's bytes with the framing of its call, the first of a new connection.

        No standard fixes what gRPC adds: the constants are those of grpcio 1.85, within 0.1 % and
        150 bytes of what its socket carries. Its frames are larger than HTTP/2's default, at
        which grpc-go and grpc-java stay: 9 bytes in 16,384.
        """
        if self.framing == "none":
            return payload
        data = payload + _GRPC_PREFIX
        call = _GRPC_FIRST_CALL if self.connection == "new" else _GRPC_CALL
        return data + call + _FRAME * math.ceil(data / _FRAME_DATA)

    def wire_bytes(self, payload: int, loss: float = 0.0) -> int:
        """Return the bytes that a payload takes on the link, set-up not included.

        Args:
            payload: Encoded bytes.
            loss: Fraction of segments that are lost and sent again.
        """
        stream = self.message_bytes(payload)
        if self.tls:
            stream += _RECORD * math.ceil(stream / _RECORD_DATA)
        if overhead := self._overhead():
            stream += overhead * math.ceil(stream / self._segment())
        return math.ceil(stream / (1 - loss)) if loss else stream

    def _overhead(self) -> int:
        """Return the header bytes of a segment."""
        return _IP[self.headers] + (_TCP if self.headers != "none" else 0) + self.link_header

    def _segment(self) -> int:
        """Return the stream's bytes in a full segment."""
        return self.mtu - _TCP - _IP["ipv4" if self.headers == "none" else self.headers]

    @property
    def setup_rtts(self) -> int:
        """Round trips before the first byte: one for TCP, one for TLS 1.3, if it is new."""
        return 1 + self.tls if self.connection == "new" else 0

    @property
    def setup_bytes(self) -> int:
        """Bytes of setting up, both ways; they are counted, their time is in the round trips."""
        if self.connection != "new":
            return 0
        return _SYN_BYTES + (_TLS_SETUP_BYTES if self.tls else 0)

    def window_bits_per_s(self, rtt_s: float) -> float:
        """Return the rate of the first round trip: the initial window over it (RFC 6928)."""
        if not self.slow_start or not rtt_s:
            return math.inf
        window = self.initial_window * (self._segment() + self._overhead())
        return BITS_PER_BYTE * window / rtt_s

    def loss_bits_per_s(self, rtt_s: float, loss: float) -> float:
        """Return the rate that TCP sustains under random loss; infinity without loss.

        The approximate model of Padhye, Firoiu, Towsley and Kurose (SIGCOMM 1998): ::

            B = 1 / (RTT sqrt(2bp/3) + T0 min(1, 3 sqrt(3bp/8)) p (1 + 32 p^2))  segments/s

        with b = 2 and T0 = RTT + 0.2 s. It describes Reno; CUBIC and BBR do better.
        """
        if not loss:
            return math.inf
        fast = rtt_s * math.sqrt(2 * _DELAYED_ACK * loss / 3)
        again = min(1.0, 3 * math.sqrt(3 * _DELAYED_ACK * loss / 8))
        timeouts = (rtt_s + _LEAST_RTO_S) * again * loss * (1 + 32 * loss**2)
        return BITS_PER_BYTE * (self._segment() + self._overhead()) / (fast + timeouts)


IDEAL = Transport()
