"""What is measured: directions, payloads, clients at once, server caps, and the buckets that shape.

A token bucket of ``burst_bytes`` lets that much pass at line rate when it is full, and then
``bits_per_s``. The kernel sends a waiting frame when a timer fires; what comes in beyond a full
bucket is lost, so the burst has to bridge a late timer or the real rate falls below the nominal.
"""

from __future__ import annotations

from dataclasses import dataclass

FRAME_BYTES = 1514  # Ethernet's header and a packet of 1,500 bytes: what the shaper counts
BITS_PER_BYTE = 8
MAX_CLIENTS = 5
HOSTS = 7  # clients of the largest crowd behind a FIFO
PROBE_BYTES = 1  # takes half a round trip, processes woken included, and nothing else
_TIMER_S = 5e-4
_LEAST_FRAMES = 4
_PAYLOADS_BYTES = (46_000, 111_000, 590_000, 2_359_296)
_MIXED_BYTES = (46_000, 111_000, 590_000, 1_180_000, 2_359_296)
_FIFO_BITS_PER_S = 15_000_000
_FIFO_PAYLOADS_BYTES = (30_000, 300_000, 1_500_000)
_CLIENT_BITS_PER_S = {"down": 200_000_000, "up": 20_000_000}
_SERVER_BITS_PER_S = {"down": 400_000_000, "up": 50_000_000}


@dataclass(frozen=True)
class Bucket:
    """A token bucket: the rate, and the bytes that a full one lets pass at once."""

    bits_per_s: int
    burst_bytes: int

    @classmethod
    def of(cls, bits_per_s: int) -> Bucket:
        """Return the bucket for a rate whose burst outlasts a timer that is late by 0.5 ms."""
        late_bytes = int(bits_per_s * _TIMER_S / BITS_PER_BYTE)
        return cls(bits_per_s, max(_LEAST_FRAMES * FRAME_BYTES, FRAME_BYTES + late_bytes))


@dataclass(frozen=True)
class Case:
    """Transfers that start at one instant, one a client.

    Attributes:
        direction: ``down`` (server to client) or ``up``.
        payloads_bytes: What each client transfers; as many as there are clients.
        connection: ``kept`` (open and idle before the clock starts) or ``new`` (opened within).
        client: What shapes each client's link in this direction.
        server: What shapes the server's link that all share, or None.
        queue: How those wait who share it: ``fifo``, or ``fair`` (a queue a client, in turns).
    """

    direction: str
    payloads_bytes: tuple[int, ...]
    connection: str
    client: Bucket
    server: Bucket | None
    queue: str = "fifo"

    @property
    def name(self) -> str:
        """Return the case in words, unique among the cases."""
        first, clients = self.payloads_bytes[0], len(self.payloads_bytes)
        same = len(set(self.payloads_bytes)) == 1
        cap = f" {self.queue} {self.server.bits_per_s // 1_000_000}" if self.server else ""
        return f"{self.direction} {clients} x {first if same else 'mixed'} {self.connection}{cap}"


def client_bucket(direction: str) -> Bucket:
    """Return what shapes each client's link in a direction."""
    return Bucket.of(_CLIENT_BITS_PER_S[direction])


def shared(bits_per_s: int, clients: int) -> Bucket:
    """Return a bucket that is the sum of equal ones, one a client."""
    part = Bucket.of(bits_per_s // clients)
    return Bucket(bits_per_s, clients * part.burst_bytes)


def all_cases() -> list[Case]:
    """Return every case: one and five clients, with and without a cap that binds."""
    return [case for direction in ("down", "up") for case in _cases(direction)]


def fifo_cases() -> list[Case]:
    """Return uploads of equal and unequal sizes behind one FIFO of 15 Mbit/s."""
    fifo, client = Bucket.of(_FIFO_BITS_PER_S), client_bucket("up")
    small, middle, large = _FIFO_PAYLOADS_BYTES
    crowds = [(size,) * clients for clients in (1, 3, HOSTS) for size in _FIFO_PAYLOADS_BYTES]
    crowds += [(small, middle, large), (*(small,) * 2, *(middle,) * 3, *(large,) * 2)]
    probe = Case("up", (PROBE_BYTES,), "kept", client, None)
    return [probe, *(Case("up", sizes, "new", client, fifo) for sizes in crowds)]


def _cases(direction: str) -> list[Case]:
    client = client_bucket(direction)
    fifo = Bucket.of(_SERVER_BITS_PER_S[direction])
    fair = shared(fifo.bits_per_s, MAX_CLIENTS)
    probe, smallest = (PROBE_BYTES,), _PAYLOADS_BYTES[0]
    caps = ((fifo, "fifo"), (fair, "fair"))
    crowds = [(1, None, "fifo"), (MAX_CLIENTS, None, "fifo")]
    crowds += [(MAX_CLIENTS, *cap) for cap in caps]
    kept = [
        Case(direction, (payload,) * clients, "kept", client, *cap)
        for payload in _PAYLOADS_BYTES
        for clients, *cap in crowds
    ]
    new = [Case(direction, (smallest,) * clients, "new", client, *cap) for clients, *cap in crowds]
    mixed = [Case(direction, _MIXED_BYTES, "kept", client, *cap) for cap in caps]
    return [Case(direction, probe, "kept", client, None), *kept, *new, *mixed]
