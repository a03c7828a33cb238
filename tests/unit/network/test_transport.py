"""Bytes on the wire by hand, from the RFCs; and what the transport allows a transfer."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from floss_sim import RunConfig, size_only
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.transport import IDEAL, Transport

LINK = ClientLink(20e6, 5e6, 0.040, 0.0)
FULL = Transport(framing="grpc", tls=True, headers="ipv4", link_header=14, connection="new")


# bytes


@pytest.mark.parametrize("payload", [0, 1, 1500, 46_000, 10**9])
def test_the_ideal_transport_adds_nothing(payload: int):
    assert IDEAL.wire_bytes(payload) == payload
    assert (IDEAL.setup_rtts, IDEAL.setup_bytes) == (0, 0)
    assert IDEAL.window_bits_per_s(0.04) == IDEAL.loss_bits_per_s(0.04, 0.0) == math.inf


def test_a_grpc_message_has_a_prefix_headers_and_frames_of_16_kib():
    grpc = Transport(framing="grpc")
    # A payload with its prefix of 5 bytes just fits into one frame, or needs a second.
    assert grpc.wire_bytes(16_379) == 16_379 + 5 + 9 + 60
    assert grpc.wire_bytes(16_380) == 16_380 + 5 + 2 * 9 + 60
    assert grpc.wire_bytes(46_000) == 46_000 + 5 + 3 * 9 + 60


def test_the_first_call_of_a_connection_carries_its_set_up_and_all_headers():
    kept, new = (Transport(framing="grpc", connection=c) for c in ("kept", "new"))
    assert kept.wire_bytes(1000) == 1000 + 5 + 9 + 60
    assert new.wire_bytes(1000) == 1000 + 5 + 9 + 300


def test_a_tls_record_holds_16_kib_and_adds_22_bytes():
    tls = Transport(tls=True)
    assert tls.wire_bytes(16_384) == 16_384 + (5 + 1 + 16)
    assert tls.wire_bytes(16_385) == 16_385 + 2 * (5 + 1 + 16)


@pytest.mark.parametrize(
    ("headers", "segment", "header"), [("ipv4", 1448, 20 + 20 + 12), ("ipv6", 1428, 40 + 20 + 12)]
)
def test_every_segment_of_an_ethernet_frame_has_its_headers(
    headers: str, segment: int, header: int
):
    plain = Transport(headers=headers)
    assert segment + header == 1500
    assert plain.wire_bytes(segment) == 1500
    assert plain.wire_bytes(segment + 1) == segment + 1 + 2 * header
    assert plain.wire_bytes(100 * segment) == 150_000
    assert Transport(headers=headers, link_header=14).wire_bytes(100 * segment) == 151_400


def test_a_smaller_mtu_makes_more_segments():
    assert Transport(headers="ipv4", mtu=576).wire_bytes(5240) == 5240 + 10 * 52


def test_a_link_header_alone_stands_on_every_segment():
    assert Transport(link_header=18).wire_bytes(1449) == 1449 + 2 * 18


def test_everything_at_once_is_framed_then_encrypted_then_cut_into_segments():
    framed = 46_000 + 5 + 300 + 3 * 9
    encrypted = framed + 3 * 22
    segments = 33
    assert 32 * 1448 < encrypted <= segments * 1448
    assert FULL.wire_bytes(46_000) == encrypted + segments * (52 + 14)


def test_lost_segments_are_sent_again():
    assert IDEAL.wire_bytes(1000, loss=0.2) == 1250
    assert IDEAL.wire_bytes(1001, loss=0.5) == 2002
    assert IDEAL.wire_bytes(1000, loss=0.001) == 1002  # 1001.001, whole bytes


@pytest.mark.parametrize("transport", [IDEAL, FULL, Transport(headers="ipv6", mtu=576)])
def test_more_payload_is_never_fewer_bytes(transport: Transport):
    around = [k * step + d for step in (504, 1448, 16_384) for k in (1, 2, 9) for d in range(-9, 9)]
    taken = [transport.wire_bytes(payload) for payload in sorted(around)]
    assert taken == sorted(taken)
    assert all(wire >= payload for wire, payload in zip(taken, sorted(around), strict=True))


# set-up


@pytest.mark.parametrize(
    ("connection", "tls", "rtts", "nbytes"),
    [
        ("none", True, 0, 0),
        ("kept", True, 0, 0),
        ("new", False, 1, 180),
        ("new", True, 2, 180 + 4500),
    ],
)
def test_a_new_connection_takes_round_trips_and_bytes(connection, tls, rtts: int, nbytes: int):
    transport = Transport(connection=connection, tls=tls)
    assert (transport.setup_rtts, transport.setup_bytes) == (rtts, nbytes)
    taken = LINK.transfer_s("up", 1_000_000, transport)
    bits = 8 * transport.wire_bytes(1_000_000)
    assert taken == pytest.approx(rtts * 0.040 + bits / 5e6 + 0.020, rel=1e-12)


# slow start


def test_the_window_doubles_every_round_trip_until_the_link_is_full():
    window = 8 * 10 * 1500 / 0.040  # 3 Mbit/s
    caps = list(LINK.caps("down", Transport(headers="ipv4", slow_start=True), 7.0, 0.040))
    assert [rate for _, rate in caps] == [window, 2 * window, 4 * window, 20e6]
    assert [at_s for at_s, _ in caps] == pytest.approx([7.0, 7.04, 7.08, 7.12], abs=1e-12)


def test_the_first_window_is_ten_segments_with_their_headers():
    assert Transport(slow_start=True).window_bits_per_s(0.1) == pytest.approx(8 * 14_480 / 0.1)
    whole = Transport(slow_start=True, headers="ipv6", link_header=14, initial_window=4)
    assert whole.window_bits_per_s(0.1) == pytest.approx(8 * 4 * 1514 / 0.1)
    assert whole.window_bits_per_s(0.0) == math.inf


def test_a_slow_start_sends_a_window_a_round_trip():
    transport = Transport(headers="ipv4", slow_start=True)
    for windows, rtts in ((1, 1), (3, 2), (7, 3)):
        payload = windows * 10 * 1448
        taken = LINK.transfer_s("down", payload, transport)
        assert taken == pytest.approx(rtts * 0.040 + 0.020, rel=1e-12)


def test_a_link_slower_than_the_first_window_has_no_slow_start():
    slow = ClientLink(1e6, 1e6, 0.040, 0.0)
    assert list(slow.caps("up", Transport(slow_start=True), 0.0, 0.040)) == [(0.0, 1e6)]


def test_slow_start_never_makes_a_transfer_faster():
    for payload in (0, 100, 10_000, 10**6):
        slow = LINK.transfer_s("down", payload, Transport(slow_start=True))
        assert slow >= LINK.transfer_s("down", payload)


# loss


def test_the_loss_formula_is_that_of_padhye_and_others():
    # RTT 100 ms, p = 1 %, b = 2, T0 = 0.3 s, by hand:
    # sqrt(2bp/3) = sqrt(0.04/3) = 0.115470; 3 sqrt(3bp/8) = 3 sqrt(0.0075) = 0.259808
    # 0.1 * 0.115470 + 0.3 * 0.259808 * 0.01 * 1.0032 = 0.0115470 + 0.00078192 = 0.0123289 s
    segment_bits = 8 * 1500
    plain = Transport(headers="ipv4")
    assert plain.loss_bits_per_s(0.1, 0.01) == pytest.approx(segment_bits / 0.0123289, rel=1e-5)
    # RTT 0: only time-outs of 0.2 s; p = 1/2, the least of 1 and 1.837 is 1, 1 + 32/4 = 9.
    assert plain.loss_bits_per_s(0.0, 0.5) == pytest.approx(segment_bits / (0.2 * 0.5 * 9))


def test_little_loss_approaches_the_inverse_square_root():
    rate = Transport(headers="ipv4").loss_bits_per_s(0.1, 1e-8)
    assert rate == pytest.approx(8 * 1500 / 0.1 * math.sqrt(3 / (4 * 1e-8)), rel=1e-3)


def test_more_loss_and_longer_round_trips_are_slower():
    losses = [0.0, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5]
    by_loss = [IDEAL.loss_bits_per_s(0.05, loss) for loss in losses]
    by_rtt = [IDEAL.loss_bits_per_s(rtt_s, 0.01) for rtt_s in (0.0, 0.001, 0.01, 0.1, 1.0)]
    for rates in (by_loss, by_rtt):
        assert all(a > b for a, b in pairwise(rates))
    assert by_loss[0] == math.inf


def test_a_lossy_link_has_the_lower_of_its_rate_and_the_formulas():
    lossy = ClientLink(20e6, 20e3, 0.1, 0.0, loss=0.01)
    most = IDEAL.loss_bits_per_s(0.1, 0.01)
    assert 20e3 < most < 20e6
    assert list(lossy.caps("down", IDEAL, 0.0, 0.1)) == [(0.0, most)]
    assert list(lossy.caps("up", IDEAL, 0.0, 0.1)) == [(0.0, 20e3)]
    bits = 8 * math.ceil(10_000 / 0.99)
    assert lossy.transfer_s("down", 10_000) == pytest.approx(bits / most + 0.05, rel=1e-12)


# jitter


def profile_of(jitter: str) -> NetworkProfile:
    group = {
        "share": 1.0, "down": "8 Mbit/s", "up": "8 Mbit/s", "rtt": "40 ms", "jitter": jitter,
        "compute_per_example": "0 s",
    }  # fmt: skip
    return NetworkProfile.model_validate(
        {"name": "n", "source": "s", "date": "d", "clients": [group]}
    )


def extra_s(digits: RunConfig, profile: NetworkProfile, rounds: int, way: str) -> np.ndarray:
    """Return what each transfer of a run added to the round trip, in the order of dispatch."""
    rows = size_only(digits, profile, rounds).transfers.to_pylist()
    taken = [t for t in rows if t["direction"] == way]
    bits = np.array([8 * t["nbytes"] for t in taken])
    seconds = np.array([t["ended_at_s"] - t["started_at_s"] for t in taken])
    assert seconds == pytest.approx(np.array([t["alone_s"] for t in taken]), rel=1e-9)
    return 2 * (seconds - bits / 8e6) - 0.040


def test_jitter_is_exponential_with_the_stated_mean_of_the_round_trip(digits: RunConfig):
    profile = profile_of("10 ms")
    down, up = (extra_s(digits, profile, 100, way) for way in ("down", "up"))
    both = np.concatenate([down, up])
    assert both.min() > 0
    z = (both.mean() - 0.010) / (0.010 / math.sqrt(both.size))
    assert abs(z) < 4
    beyond = np.mean(both > 0.010 * math.log(10))  # a tenth of an exponential
    assert abs(beyond - 0.1) < 4 * math.sqrt(0.09 / both.size)
    assert abs(np.corrcoef(down, up)[0, 1]) < 4 / math.sqrt(down.size)


def test_jitter_is_a_draw_of_the_profiles_seed_and_of_the_dispatch(digits: RunConfig):
    profile = profile_of("10 ms")
    first = extra_s(digits, profile, 3, "up")
    assert len(set(first.tolist())) == first.size == 15
    assert extra_s(digits, profile, 4, "up")[:15].tolist() == first.tolist()
    other = profile.model_copy(update={"seed": 1})
    assert not set(extra_s(digits, other, 3, "up").tolist()) & set(first.tolist())


def test_without_jitter_nothing_is_added(digits: RunConfig):
    assert extra_s(digits, profile_of("0 ms"), 3, "down") == pytest.approx(0, abs=1e-12)


# everything together


def test_caps_are_the_least_of_trace_window_and_loss_at_every_instant():
    trace = RateTrace((0.0, 0.3, 0.35, 0.5), (40e6, 1e6, 9e6, 30e6), 0.7, "repeat")
    link = ClientLink(1.0, 1.0, 0.1, 0.0, loss=1e-4, down_trace=trace, trace_offset_s=0.25)
    transport = Transport(headers="ipv4", slow_start=True, initial_window=20)
    most, window = transport.loss_bits_per_s(0.1, 1e-4), transport.window_bits_per_s(0.1)
    caps = list(islice(link.caps("down", transport, 1.0, 0.1), 40))
    instants = [at_s for at_s, _ in caps]
    assert instants[0] == 1.0
    assert instants == sorted(instants)
    for (a_s, rate), (b_s, _) in pairwise(caps):
        if b_s - a_s > 1e-9:
            middle_s = (a_s + b_s) / 2
            doublings = math.floor((middle_s - 1.0) / 0.1)
            limits = (trace.rate_at(middle_s + 0.25), window * 2.0**doublings, most)
            assert rate == pytest.approx(min(limits), rel=1e-12)
    assert {1e6, window, most} <= {rate for _, rate in caps}


def test_a_transfer_over_a_trace_takes_what_the_trace_says():
    trace = RateTrace((0.0, 1.0, 3.0), (8e6, 0.0, 4e6), 5.0, "repeat")
    link = ClientLink(1.0, 1.0, 0.0, 0.0, up_trace=trace)
    for at_s in (0.0, 0.5, 1.0, 2.2, 4.9, 12.0):
        for nbytes in (1, 10_000, 1_500_000, 7_000_000):
            expected_s = trace.time_of(8 * nbytes, at_s)
            assert link.transfer_s("up", nbytes, at_s=at_s) == pytest.approx(expected_s, rel=1e-9)


@pytest.mark.parametrize(
    "bad",
    [
        {"framing": "http"}, {"headers": "ipv5"}, {"connection": "old"}, {"mtu": 575},
        {"mtu": 70_000}, {"link_header": -1}, {"initial_window": 0}, {"window": 1},
    ],
)  # fmt: skip
def test_a_transport_that_cannot_be_is_refused(bad: dict[str, object]):
    with pytest.raises(ValidationError):
        Transport.model_validate(bad)
