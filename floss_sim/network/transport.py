"""Transport overhead of a payload: framing, TLS, headers, connection set-up, slow start, loss.

Everything is off by default. This is the ideal transport of most papers: a payload takes its bytes
divided by the rate. A profile switches each part on::

    [transport]
    framing = "grpc"       # or "none": no bytes around the payload
    tls = true             # TLS 1.3 records
    headers = "ipv4"       # or "ipv6": TCP/IP headers on every segment; "none": no headers
    connection = "new"     # set up for every message; "kept": stays open; "none": not simulated
    slow_start = true      # the window starts at initial_window segments, doubles every round trip
    framework = "flower-1.42"  # its requests, polls and process starts (see frameworks/law.py)
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from floss_sim.documents import Section
from floss_sim.errors import ProfileError
from floss_sim.network.frameworks.law import Framework, load_framework
from floss_sim.units import BITS_PER_BYTE

_GRPC_PREFIX = 5  # bytes: compressed flag and length of a gRPC message over HTTP/2
_GRPC_CALL = 60  # bytes: HEADERS after HPACK, trailers, WINDOW_UPDATE, PING; measured 34 to 84
_GRPC_FIRST_CALL = 300  # bytes: also preface, SETTINGS, full HEADERS; measured 370 up, 220 down
_FRAME, _FRAME_DATA = 9, 16_384  # bytes: header, default maximum data (RFC 9113, 4.1 and 4.2)
_RECORD, _RECORD_DATA = 22, 16_384  # bytes: header 5 + type 1 + AEAD tag 16; data (RFC 8446, 5.2)
_IP = {"none": 0, "ipv4": 20, "ipv6": 40}  # bytes of an IP header
_TCP = 32  # bytes: header 20 (RFC 9293), timestamps 12 (RFC 7323)
_SYN_BYTES = 3 * 60  # bytes: SYN, SYN-ACK and ACK with their options, over IPv4
_TLS_SETUP_BYTES = 4_500  # bytes, about: hellos, a chain of two certificates, finished
_DELAYED_ACK = 2  # segments per acknowledgement
_LEAST_RTO_S = 0.2  # seconds that Linux waits beyond the round trip before it retransmits


class Transport(Section):
    """Transport settings of a profile; sizes in bytes, ``initial_window`` in segments."""

    framing: Literal["none", "grpc"] = "none"
    tls: bool = False
    headers: Literal["none", "ipv4", "ipv6"] = "none"
    mtu: Annotated[int, Field(ge=576, le=65_535)] = 1500
    link_header: Annotated[int, Field(ge=0, le=100)] = 0
    connection: Literal["none", "kept", "new"] = "none"
    slow_start: bool = False
    initial_window: Annotated[int, Field(ge=1, le=1000)] = 10
    framework: str | None = None

    @model_validator(mode="after")
    def _check_framework(self) -> Transport:
        if self.framework is None:
            return self
        if self.framing != "none":
            raise ValueError("framing: not with a framework, which has its own")
        try:
            load_framework(self.framework)
        except ProfileError as error:
            raise ValueError(f"framework: {error}") from None
        return self

    @property
    def law(self) -> Framework | None:
        """Law of the framework; None without one."""
        return None if self.framework is None else load_framework(self.framework)

    def message_bytes(self, payload: int, way: str = "down") -> int:
        """Return the bytes of a payload with the framing of its gRPC call, or of its framework.

        On a new connection the call is the first one, which costs more. No standard fixes the bytes
        that gRPC adds. The constants are measured with grpcio 1.85: results are within 0.1 % and
        150 bytes of the bytes on its socket. grpcio's frames are larger than HTTP/2's default of
        16,384 bytes, which grpc-go and grpc-java use; a frame header is 9 bytes.
        """
        if law := self.law:
            return payload + law.message_bytes(way)
        if self.framing == "none":
            return payload
        data = payload + _GRPC_PREFIX
        call = _GRPC_FIRST_CALL if self.connection == "new" else _GRPC_CALL
        return data + call + _FRAME * math.ceil(data / _FRAME_DATA)

    def wire_bytes(self, payload: int, loss: float = 0.0, way: str = "down") -> int:
        """Return the bytes of a payload on the link, without connection set-up.

        Args:
            payload: Encoded bytes.
            loss: Fraction of segments that are lost and sent again, 0 to below 1.
            way: ``"down"`` or ``"up"``; the bytes of a framework differ.
        """
        stream = self.message_bytes(payload, way)
        if self.tls:
            stream += _RECORD * math.ceil(stream / _RECORD_DATA)
        if overhead := self._overhead():
            stream += overhead * math.ceil(stream / self._segment())
        return math.ceil(stream / (1 - loss)) if loss else stream

    def _overhead(self) -> int:
        """Return the header bytes of a segment."""
        return _IP[self.headers] + (_TCP if self.headers != "none" else 0) + self.link_header

    def _segment(self) -> int:
        """Return the bytes of stream data in a full segment."""
        return self.mtu - _TCP - _IP["ipv4" if self.headers == "none" else self.headers]

    @property
    def setup_rtts(self) -> int:
        """Round trips before the first byte: of a new connection, and of a framework's requests.

        A new connection has 1 for TCP and 1 for TLS 1.3.
        """
        connecting = 1 + self.tls if self.connection == "new" else 0
        return connecting + (self.law.round_trips if self.law else 0)

    @property
    def setup_bytes(self) -> int:
        """Bytes of connection set-up, both ways: counted, but their time is in ``setup_rtts``."""
        if self.connection != "new":
            return 0
        return _SYN_BYTES + (_TLS_SETUP_BYTES if self.tls else 0)

    def window_bits_per_s(self, rtt_s: float) -> float:
        """Return the rate in the first round trip: initial window / round trip (RFC 6928)."""
        if not self.slow_start or not rtt_s:
            return math.inf
        return self.initial_window * self.segment_bits / rtt_s

    @property
    def segment_bits(self) -> int:
        """Bits of a full segment with its headers."""
        return BITS_PER_BYTE * (self._segment() + self._overhead())

    def loss_bits_per_s(self, rtt_s: float, loss: float) -> float:
        """Return the rate that TCP sustains under random loss; infinity without loss.

        The formula is the approximate model of Padhye, Firoiu, Towsley and Kurose
        (SIGCOMM 1998)::

            B = 1 / (RTT sqrt(2bp/3) + T0 min(1, 3 sqrt(3bp/8)) p (1 + 32 p^2))  segments/s

        with b = 2 and T0 = RTT + 0.2 s. The model describes Reno; CUBIC and BBR are faster.
        """
        if not loss:
            return math.inf
        fast = rtt_s * math.sqrt(2 * _DELAYED_ACK * loss / 3)
        again = min(1.0, 3 * math.sqrt(3 * _DELAYED_ACK * loss / 8))
        timeouts = (rtt_s + _LEAST_RTO_S) * again * loss * (1 + 32 * loss**2)
        return self.segment_bits / (fast + timeouts)


IDEAL = Transport()
