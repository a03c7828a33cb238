"""Set-up, slow start, traces, jitter and loss through simulated rounds, against closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SizedLearner, network, play

from floss_sim.network import ClientLink
from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.transport import Transport
from floss_sim.simulator import RoundOutcome

REL = 1e-9
RATES = st.floats(1e4, 1e10)
TRIPS = st.floats(1e-3, 2)
BYTES = st.integers(1, 10**8)


def seconds(outcome: RoundOutcome, direction: str = "up") -> list[float]:
    """Return how long each transfer of a direction took, by client."""
    chosen = [t for t in outcome.transfers if t.direction == direction]
    return [t.ended_at_s - t.started_at_s for t in sorted(chosen, key=lambda t: t.client)]


def one_upload(link: ClientLink, nbytes: int, transport: Transport, ingress=math.inf) -> float:
    profile = network(ingress=ingress, transport=transport)
    (outcome,) = play(SizedLearner([1], [nbytes]), profile, [link])
    return seconds(outcome)[0]


def slow_start_s(bits: float, window: float, rtt_s: float, rate: float) -> float:
    """Return the seconds of a doubling window, written as on paper.

    Round trip i carries window * 2^i bits, until the window holds what the link carries: from
    then on bits take bits / rate.
    """
    doublings = max(0, math.ceil(math.log2(rate * rtt_s / window)))
    in_slow_start = window * (2**doublings - 1)
    if bits > in_slow_start:
        return doublings * rtt_s + (bits - in_slow_start) / rate
    whole = math.floor(math.log2(bits / window + 1))
    rest = bits - window * (2**whole - 1)
    return whole * rtt_s + rest * rtt_s / (window * 2**whole)


@given(RATES, TRIPS, BYTES, st.integers(1, 64))
def test_slow_start_is_the_doubling_window(rate, rtt_s, nbytes, segments):
    transport = Transport(slow_start=True, initial_window=segments)
    window = 8.0 * segments * (1500 - 52)  # no headers: the stream's bytes of a segment
    expected = slow_start_s(8.0 * nbytes, window, rtt_s, rate) + rtt_s / 2
    link = ClientLink(1e9, rate, rtt_s, 0)
    assert one_upload(link, nbytes, transport) == pytest.approx(expected, rel=REL)


def test_slow_start_by_hand():
    # 10 segments of 1448 bytes in the first round trip of 0.1 s, 20, then the link: 2 Mbit/s.
    link = ClientLink(1e9, 2e6, 0.1, 0)
    bits = 8 * 1448 * 30 + 1_000_000
    assert one_upload(link, bits // 8, Transport(slow_start=True)) == pytest.approx(
        0.1 + (bits - 8 * 14480) / 2e6 + 0.05, rel=REL
    )


def test_slow_start_leaves_its_share_to_others_meanwhile():
    # The server carries 4 windows a round trip. The near client has no round trip and takes what
    # is left: 3, then 2, then half.
    window, rtt_s = 8.0 * 10 * 1448, 1.0
    links = [ClientLink(1e12, 1e9, rtt_s, 0), ClientLink(1e12, 1e9, 0.0, rtt_s / 2)]
    sizes = [round(5 * window / 8), round(9 * window / 8)]
    profile = network(ingress=4 * window, transport=Transport(slow_start=True))
    (outcome,) = play(SizedLearner([0, 0], sizes), profile, links)
    # After 2 s: 3 and 5 windows sent; 2 and 4 are left at 2 each: 1 s; then 2 at 4 alone.
    assert seconds(outcome) == pytest.approx([3 + rtt_s / 2, 3.5], rel=REL)


@given(RATES, TRIPS, BYTES)
@pytest.mark.parametrize(
    ("connection", "tls", "trips"), [("new", False, 1), ("new", True, 2), ("kept", True, 0)]
)
def test_setting_up_takes_round_trips(connection, tls, trips, rate, rtt_s, nbytes):
    transport = Transport(connection=connection, tls=tls)
    wire = nbytes + (22 * math.ceil(nbytes / 16_384) if tls else 0)
    expected = (trips + 0.5) * rtt_s + 8 * wire / rate
    link = ClientLink(1e9, rate, rtt_s, 0)
    assert one_upload(link, nbytes, transport) == pytest.approx(expected, rel=REL)


@given(
    st.lists(st.tuples(st.floats(0.05, 2), st.floats(0, 1e7)), min_size=1, max_size=6),
    st.integers(1, 10**7),
    st.sampled_from(["repeat", "hold"]),
    st.floats(0, 5),
)
def test_a_trace_changes_the_rate_inside_a_transfer(pieces, nbytes, at_end, offset_s):
    pieces = [*pieces, (0.5, 3e6)]  # the last one delivers
    starts, at_s = [], 0.0
    for width_s, _ in pieces:
        starts.append(at_s)
        at_s += width_s
    rates = tuple(rate for _, rate in pieces)
    trace = RateTrace(tuple(starts), rates, at_s, at_end)
    link = ClientLink(1e12, trace.mean_bits_per_s, 0, 0, up_trace=trace, trace_offset_s=offset_s)
    begins_s = 8 / 1e12 + offset_s
    expected = walk(pieces, at_end, begins_s, 8.0 * nbytes)
    assert one_upload(link, nbytes, Transport()) == pytest.approx(expected, rel=REL, abs=1e-9)


def walk(pieces, at_end: str, begins_s: float, bits: float) -> float:
    """Return the seconds of a transfer, one piece of its trace after the other."""
    passed_s, waited_s, i = 0.0, 0.0, 0
    while True:
        held = at_end == "hold" and i >= len(pieces) - 1
        width_s, rate = pieces[-1] if held else pieces[i % len(pieces)]
        ends_s = math.inf if held else passed_s + width_s
        here_s = ends_s - max(passed_s, begins_s)
        if here_s > 0:
            if rate * here_s >= bits:
                return waited_s + bits / rate
            bits -= rate * here_s
            waited_s += here_s
        passed_s, i = ends_s, i + 1


def test_a_trace_by_hand_with_a_neighbour():
    # The server carries 6. The traced link lets through 2 for 1 s, nothing for 1 s, then 8.
    trace = RateTrace((0, 1, 2), (2, 0, 8), 3, "hold")
    links = [ClientLink(1e12, 2, 0, 0, up_trace=trace), ClientLink(1e12, 100, 0, 0)]
    (outcome,) = play(SizedLearner([0, 0], [1, 2]), network(ingress=6), links)
    # 1 s at 2 and 4, 1 s at 0 and 6, then 3 each: 6 bits for 2 s, the last 6 bits of the other.
    assert seconds(outcome) == pytest.approx([4, 2 + 6 / 3], rel=REL)


@given(RATES, BYTES, st.floats(1e-4, 0.5))
def test_lost_segments_are_sent_again(rate, nbytes, loss):
    link = ClientLink(1e9, rate, 0, 0, loss=loss)
    (outcome,) = play(SizedLearner([1], [nbytes]), network(), [link])
    wire = math.ceil(nbytes / (1 - loss))
    upload = outcome.transfers[1]
    assert upload.wire_bytes == wire
    most = 8 * 1448 / timeouts_s(0, loss)
    assert seconds(outcome)[0] == pytest.approx(8 * wire / min(rate, most), rel=REL)


def timeouts_s(rtt_s: float, p: float) -> float:
    """Return the seconds of a segment by equation 30 of Padhye et al. (1998); b = 2."""
    retransmitted = min(1, 3 * math.sqrt(3 * 2 * p / 8)) * p * (1 + 32 * p**2)
    return rtt_s * math.sqrt(2 * 2 * p / 3) + (rtt_s + 0.2) * retransmitted


@pytest.mark.parametrize(
    ("rtt_s", "loss", "mbit_per_s"),
    # By hand; 1 % at 100 ms: 0.1 * 0.1155 + 0.3 * 0.2598 * 0.01003 = 0.012329 s a segment.
    [(0.1, 0.01, 0.93957), (0.02, 0.001, 15.4789)],
)
def test_loss_limits_the_rate(rtt_s, loss, mbit_per_s):
    link = ClientLink(1e9, 1e9, rtt_s, 0, loss=loss)
    nbytes = 10**7
    flowing_s = one_upload(link, nbytes, Transport()) - rtt_s / 2
    rate = 8 * math.ceil(nbytes / (1 - loss)) / flowing_s
    assert rate == pytest.approx(8 * 1448 / timeouts_s(rtt_s, loss), rel=REL)
    assert rate / 1e6 == pytest.approx(mbit_per_s, rel=1e-4)


def test_jitter_lengthens_all_that_is_counted_in_round_trips():
    # The same draws of jitter, seen at the end of an ideal transfer, then also in its set-up.
    link = ClientLink(1e9, 1e6, 0.02, 0, jitter_s=0.05)
    ideal = one_upload(link, 1000, Transport())
    drawn_s = 2 * (ideal - 8e3 / 1e6) - 0.02
    assert drawn_s > 0
    new = one_upload(link, 1000, Transport(connection="new"))
    assert new == pytest.approx(1.5 * (0.02 + drawn_s) + 8e3 / 1e6, rel=REL)


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 10))
def test_alone_a_transfer_takes_what_is_recorded_for_it_alone(begins, deciseconds, rate):
    # The last bit leaves at the instant, up to a rounding, at which the link stops for a second.
    begins_s = begins / 10
    stops_s = begins_s + deciseconds / 10
    trace = RateTrace(
        (0.0, stops_s, stops_s + 1), (80.0 * rate, 0.0, 80.0 * rate), stops_s + 2, "hold"
    )
    link = ClientLink(1e12, 1.0, 0, begins_s, up_trace=trace)
    (outcome,) = play(SizedLearner([0], [rate * deciseconds]), network(), [link])
    upload = outcome.transfers[1]
    assert upload.ended_at_s - upload.started_at_s == pytest.approx(upload.alone_s, rel=1e-12)


def test_a_trace_that_never_falls_below_what_loss_allows_is_like_a_plain_link():
    transport = Transport(slow_start=True)
    most = 8 * 1448 / timeouts_s(0.1, 0.01)
    trace = RateTrace((0, 1), (2 * most, 3 * most), 2, "repeat")
    plain = ClientLink(1e9, 2 * most, 0.1, 0, loss=0.01)
    traced = ClientLink(1e9, 2 * most, 0.1, 0, loss=0.01, up_trace=trace)
    assert one_upload(traced, 10**6, transport) == pytest.approx(
        one_upload(plain, 10**6, transport), rel=REL
    )
