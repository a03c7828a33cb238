"""Client link: rates, delays and loss of one client, and its computing speed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import merge

from floss_sim.errors import ProfileError
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.network.devices.speed import DeviceSpeed
from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.transport import IDEAL, Transport
from floss_sim.units import BITS_PER_BYTE

RateChange = tuple[float, float]  # instant in seconds, and bits per second from that instant on


@dataclass(frozen=True)
class ClientLink:
    """Download and upload link of one client, and its computing speed.

    Attributes:
        down_bits_per_s: Nominal download rate; the mean rate of ``down_trace`` if there is one.
        up_bits_per_s: Nominal upload rate; the mean rate of ``up_trace`` if there is one.
        rtt_s: Round trip in seconds, without jitter.
        compute_s_per_example: Seconds of local training per example; 0 with a ``device``.
        jitter_s: Mean jitter in seconds, added to the round trip: exponential, one draw per
            transfer.
        loss: Fraction of segments lost.
        dropout: Probability that the client fails when its local training begins.
        cell: Number of its cell in the middle tier.
        down_trace: Download rate over time; None if it is constant.
        up_trace: Upload rate over time; None if it is constant.
        trace_offset_s: Position in the traces, in seconds, at simulated time zero.
        device: Speed of its device, if its seconds follow from the operations of a step.
    """

    down_bits_per_s: float
    up_bits_per_s: float
    rtt_s: float
    compute_s_per_example: float
    jitter_s: float = 0.0
    loss: float = 0.0
    dropout: float = 0.0
    cell: int = 0
    down_trace: RateTrace | None = None
    up_trace: RateTrace | None = None
    trace_offset_s: float = 0.0
    device: DeviceSpeed | None = None

    @property
    def computes(self) -> bool:
        """Whether local training takes time."""
        return self.device is not None or self.compute_s_per_example > 0

    def with_compute_factor(self, factor: float) -> ClientLink:
        """Return the link with all seconds of local training multiplied."""
        device = self.device and replace(self.device, slowness=factor * self.device.slowness)
        per_example_s = factor * self.compute_s_per_example
        return replace(self, compute_s_per_example=per_example_s, device=device)

    def compute_s(self, examples: int, work: LocalWork | None = None) -> float:
        """Return the seconds of local training on ``examples`` examples.

        Args:
            examples: Number of examples, over all epochs.
            work: Operations of the training; needed with a ``device``.

        Raises:
            ProfileError: There is a device, and the operations are unknown.
        """
        if self.device is None:
            return self.compute_s_per_example * examples
        return self.device.work_s(known_work(work), examples)

    def transfer_s(
        self,
        direction: str,
        nbytes: int,
        transport: Transport = IDEAL,
        at_s: float = 0.0,
        limit_bits_per_s: float = math.inf,
    ) -> float:
        """Return the seconds from start to arrival of a payload if no other transfer is in flight.

        Args:
            direction: ``"down"`` or ``"up"``.
            nbytes: Bytes of the payload.
            transport: Overheads of the transport.
            at_s: Simulated instant of the start, in seconds.
            limit_bits_per_s: Rate that server and cell allow a single transfer.
        """
        rtt_s = self.rtt_s
        bits = BITS_PER_BYTE * transport.wire_bytes(nbytes, self.loss, direction)
        setup_s = transport.setup_rtts * rtt_s
        caps = self.caps(direction, transport, at_s + setup_s, rtt_s, limit_bits_per_s)
        return setup_s + seconds_of(bits, caps) + rtt_s / 2

    def caps(
        self,
        direction: str,
        transport: Transport,
        first_byte_at_s: float,
        rtt_s: float,
        limit_bits_per_s: float = math.inf,
    ) -> Iterator[RateChange]:
        """Return the rate of a transfer, from its first byte on, if no other one is in flight.

        Args:
            direction: ``"down"`` or ``"up"``.
            transport: Sets slow start and the limit under loss.
            first_byte_at_s: Simulated instant of the first byte, in seconds.
            rtt_s: Round trip of the transfer in seconds, jitter included.
            limit_bits_per_s: Rate that server and cell allow a single transfer.

        Returns:
            Pairs of an instant and the rate from then on; endless if a repeating trace varies.
        """
        trace = self.down_trace if direction == "down" else self.up_trace
        if trace is None:
            peak = self._steady_rate(direction, transport, rtt_s, limit_bits_per_s)
            rates = iter([(first_byte_at_s, peak)])
        else:
            most = min(limit_bits_per_s, transport.loss_bits_per_s(rtt_s, self.loss))
            peak = min(max(trace.bits_per_s), most)
            rates = self._trace_rates(trace, most, first_byte_at_s)
        window = transport.window_bits_per_s(rtt_s)
        if math.isinf(window):
            return rates
        doublings = math.ceil(math.log2(peak / window))
        windows = ((first_byte_at_s + i * rtt_s, window * 2**i) for i in range(1, doublings + 1))
        return _windowed_rates(rates, window, windows)

    def steady_bits_per_s(
        self, direction: str, transport: Transport, rtt_s: float, limit_bits_per_s: float
    ) -> float | None:
        """Return the constant rate of :meth:`caps`; None with slow start or a trace."""
        if transport.slow_start or (direction == "down" and self.down_trace):
            return None
        if direction == "up" and self.up_trace:
            return None
        return self._steady_rate(direction, transport, rtt_s, limit_bits_per_s)

    def _steady_rate(
        self, direction: str, transport: Transport, rtt_s: float, limit: float
    ) -> float:
        rate = min(limit, self.down_bits_per_s if direction == "down" else self.up_bits_per_s)
        return min(rate, transport.loss_bits_per_s(rtt_s, self.loss)) if self.loss else rate

    def _trace_rates(self, trace: RateTrace, most: float, from_s: float) -> Iterator[RateChange]:
        offset_s = self.trace_offset_s
        changes = trace.changes(from_s + offset_s)
        return ((max(from_s, at_s - offset_s), min(rate, most)) for at_s, rate in changes)


def known_work(work: LocalWork | None) -> LocalWork:
    """Return the operations of local training.

    Raises:
        ProfileError: They are unknown.
    """
    if work is None:
        raise ProfileError(
            "the network's clients have a device, and this run does not state the operations of "
            "its training; give a network with compute_per_example, or train the run again"
        )
    return work


def _windowed_rates(
    rates: Iterator[RateChange], window: float, windows: Iterator[RateChange]
) -> Iterator[RateChange]:
    """Limit rates by the growing transmission window of slow start."""
    last = rate = math.inf
    for at_s, is_window, value in merge(
        ((at_s, False, value) for at_s, value in rates),
        ((at_s, True, value) for at_s, value in windows),
    ):
        rate, window = (rate, value) if is_window else (value, window)
        if is_window and min(rate, window) == last:
            continue  # only window steps are skipped: an endless trace must yield at every step
        last = min(rate, window)
        yield at_s, last


def seconds_of(bits: float, caps: Iterator[RateChange]) -> float:
    """Return the seconds in which ``bits`` bits are sent if only ``caps`` limit the rate."""
    begun_s, rate = next(caps)
    at_s = begun_s
    for change_s, next_rate in caps:
        if rate and at_s + bits / rate <= change_s:  # same formula as in _Pool: bit-identical ends
            break
        bits -= rate * (change_s - at_s)
        at_s, rate = change_s, next_rate
    return at_s - begun_s + bits / rate


def bits_until(until_s: float, caps: Iterator[RateChange]) -> float:
    """Return the bits sent until ``until_s`` if only ``caps`` limit the rate."""
    bits = 0.0
    at_s, rate = next(caps)
    for change_s, next_rate in caps:
        if change_s >= until_s:
            break
        bits += rate * (change_s - at_s)
        at_s, rate = change_s, next_rate
    return bits + rate * (until_s - at_s)
