"""What must hold for all rounds, whatever the fleet, the payloads and the policy."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SizedLearner, network, play, watched

from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.fleets.classes import ClientClass
from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.transport import Transport
from floss_sim.simulator import AGGREGATED, buffered, deadline, first_k, wait_all

CLIENTS = 5
RATES = st.floats(1e4, 1e7)
SIZES = st.lists(st.integers(0, 100_000), min_size=CLIENTS, max_size=CLIENTS)
LATE = st.sampled_from(["cancel", "finish"])
POLICIES = st.one_of(
    st.just(wait_all()),
    st.builds(first_k, st.integers(1, CLIENTS), LATE),
    st.builds(deadline, st.floats(0.01, 3), st.integers(1, CLIENTS), LATE),
    st.builds(buffered, st.integers(1, CLIENTS)),
)
TRANSPORTS = st.builds(
    Transport,
    framing=st.sampled_from(["none", "grpc"]),
    tls=st.booleans(),
    headers=st.sampled_from(["none", "ipv4", "ipv6"]),
    connection=st.sampled_from(["none", "kept", "new"]),
    slow_start=st.booleans(),
)
TRACES = st.builds(
    lambda rates: RateTrace(
        tuple(i / 4 for i in range(len(rates))), rates, len(rates) / 4, "repeat"
    ),
    st.tuples(RATES, st.one_of(st.just(1e3), RATES), RATES),
)
LINKS = st.builds(
    ClientLink, RATES, RATES, st.one_of(st.just(0.0), st.floats(1e-3, 0.3)), st.floats(0, 0.5),
    jitter_s=st.sampled_from([0.0, 0.05]), loss=st.sampled_from([0.0, 0.01]),
    cell=st.integers(0, 1), up_trace=st.one_of(st.none(), TRACES),
)  # fmt: skip
FLEETS = st.lists(LINKS, min_size=CLIENTS, max_size=CLIENTS)
LIMITS = st.one_of(st.just(1e9), st.floats(1e5, 1e7))
NETWORKS = st.builds(
    network, LIMITS, LIMITS, st.tuples(st.just(2), LIMITS, LIMITS), TRANSPORTS, st.integers(0, 9)
)


@settings(max_examples=60)
@given(FLEETS, SIZES, SIZES, NETWORKS, POLICIES)
def test_every_byte_and_every_instant_is_accounted_for(links, down, up, profile, policy):
    with watched() as watch:
        outcomes = list(play(SizedLearner(down, up), profile, links, policy, rounds=3))
        watch.closed(outcomes[-1].closed_at_s)
    assert outcomes[0].opened_at_s == 0
    for before, after in itertools.pairwise(outcomes):
        assert before.opened_at_s <= before.closed_at_s == after.opened_at_s
    transfers = [t for outcome in outcomes for t in outcome.transfers]
    for t in transfers:
        assert 0 <= t.started_at_s <= t.ended_at_s <= outcomes[-1].closed_at_s
        assert 0 <= t.sent_bytes <= t.nbytes
        if t.fate == AGGREGATED:
            assert t.sent_bytes == t.nbytes
            rounding_s = 4 * math.ulp(t.ended_at_s)  # of two instants
            assert t.ended_at_s - t.started_at_s >= t.alone_s * (1 - 1e-9) - rounding_s
    # What left the wires is what the records say, but for those still in flight at the end.
    setup = profile.transport.setup_bytes
    recorded = sum(t.wire_bytes - setup * (t.wire_bytes > 0) for t in transfers)
    sent = math.fsum(watch.sent.values()) / 8
    assert recorded <= sent + len(transfers)
    if not outcomes[-1].in_flight:
        assert recorded == pytest.approx(sent, rel=1e-9, abs=len(transfers))


@settings(max_examples=60)
@given(FLEETS, SIZES, st.floats(0.01, 3))
def test_a_cancelled_upload_has_sent_the_exact_part_of_its_bytes(links, up, seconds):
    # Rates are plain and nothing is shared: bytes sent are rate over time, cut at both ends.
    links = [replace(link, up_trace=None, jitter_s=0.0, loss=0.0) for link in links]
    fast = ClientLink(1e12, 1e12, 0, 0)
    learner = SizedLearner([0] * (CLIENTS + 1), [*up, 1])
    roomy = network(cells=(2, math.inf, math.inf))
    (outcome,) = play(learner, roomy, [*links, fast], deadline(seconds))
    for t in outcome.transfers:
        if t.direction == "up" and t.client < CLIENTS:
            sending_s = t.ended_at_s - t.started_at_s
            sent = links[t.client].up_bits_per_s * sending_s / 8
            assert t.sent_bytes == pytest.approx(min(t.nbytes, sent), abs=0.51, rel=1e-9)
            if t.fate != AGGREGATED:
                assert t.ended_at_s == outcome.closed_at_s == pytest.approx(seconds, rel=1e-12)


@settings(max_examples=60)
@given(
    FLEETS, SIZES, SIZES, TRANSPORTS, st.integers(0, CLIENTS - 1), st.sampled_from(["down", "up"]),
    st.floats(1, 100),
)  # fmt: skip
def test_more_bandwidth_slows_no_round_where_nothing_is_shared(
    links, down, up, transport, client, direction, factor
):
    rate = f"{direction}_bits_per_s"
    before = links[client]
    after = replace(before, **{rate: getattr(before, rate) * factor})
    if direction == "up" and before.up_trace:
        after = replace(after, up_trace=before.up_trace.with_factor(factor))
    faster = [after if i == client else link for i, link in enumerate(links)]
    profile = network(cells=(2, math.inf, math.inf), transport=transport)
    ends = [
        [o.closed_at_s for o in play(SizedLearner(down, up), profile, fleet, rounds=2)]
        for fleet in (links, faster)
    ]
    assert all(b <= a * (1 + 1e-12) for a, b in zip(*ends, strict=True))


def round_s(profile: NetworkProfile, links, down, up) -> float:
    (outcome,) = play(SizedLearner(down, up), profile, links)
    return outcome.closed_at_s


def test_a_faster_download_can_slow_the_round_where_uploads_share_the_server():
    """The counter-example of what holds above: two clients, uploads share 8 Mbit/s.

    Client 0 is far away: half a round trip is 4 s. It uploads alone from 4 s to 5 s, and is heard
    at 9 s. Client 1 downloads until 8 s, uploads alone until 9 s: a round of 9 s. Twice the
    bandwidth lets client 1 download until 4 s: now both upload until 6 s, and client 0 is heard at
    10 s. Sharing is fair and does not know who has the longest way still to go.
    """
    profile = network(ingress=8e6)
    patient = ClientLink(1e12, 8e6, rtt_s=8.0, compute_s_per_example=0)
    down, up = [0, 10**6], [10**6, 10**6]
    slow, fast = (ClientLink(8e6 / seconds, 8e6, 0, 0) for seconds in (8, 4))
    assert round_s(profile, [patient, slow], down, up) == pytest.approx(4 + 1 + 4)
    assert round_s(profile, [patient, fast], down, up) == pytest.approx(4 + 2 + 4)


def test_a_faster_download_can_slow_the_round_where_downloads_share_the_server():
    """Two clients share 8 Mbit/s down; the second uploads slowly and decides the round.

    Twice the bandwidth for the first takes from the second: its download ends later.
    """
    profile = network(egress=8e6)
    hurried = ClientLink(6e6, 1e6, 0, 0)
    down, up = [10**6, 3 * 10**6 // 4], [0, 10**6]
    ends = [
        round_s(profile, [ClientLink(rate, 1e9, 0, 0), hurried], down, up) for rate in (2e6, 4e6)
    ]
    assert ends == pytest.approx([1 + 8, 1.5 + 8])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.floats(1, 500), st.floats(1, 99)), min_size=1,
             max_size=5),
    st.integers(1, 60), st.sampled_from([0, 3]), st.data(),
)  # fmt: skip
def test_a_class_split_in_two_equal_halves_changes_no_bit(classes, size, cells, data):
    """Neither a link, nor any instant of rounds in which clients contend."""
    total = sum(weight for weight, _, _ in classes)
    whole = [
        ClientClass(
            share=weight / total, down=f"{down} Mbit/s", up=f"{up} Mbit/s", rtt="20 ms",
            compute_per_example="2 ms", jitter="3 ms",
        )
        for weight, down, up in classes
    ]  # fmt: skip
    chosen = data.draw(st.integers(0, len(whole) - 1))
    half = whole[chosen].model_copy(update={"share": whole[chosen].share / 2})
    halves = [*whole[:chosen], half, half, *whole[chosen + 1 :]]
    shared = network(egress=1e8, ingress=2e7, cells=(cells, 6e7, 1e7) if cells else None)
    profiles = [shared.model_copy(update={"clients": tuple(c)}) for c in (whole, halves)]
    fleets = [profile.links(size) for profile in profiles]
    assert list(fleets[0]) == list(fleets[1])
    played = [
        list(play(SizedLearner([5000] * size, [700] * size), profile, fleet, cohort=4, rounds=2))
        for profile, fleet in zip(profiles, fleets, strict=True)
    ]
    assert [o.transfers for o in played[0]] == [o.transfers for o in played[1]]


@pytest.mark.parametrize("split", range(3))
def test_a_client_on_the_border_of_two_classes_stays_on_its_side(split: int):
    """Client 4 of 5 is at 0.9; as floats, 0.1 + 0.7 + 0.1 is less, 0.1 + 0.7 + 0.05 + 0.05 not."""
    shares = [0.1, 0.7, 0.1, 0.1]
    classes = [
        ClientClass(share=share, down=f"{i + 1} Mbit/s", up="1 Mbit/s", rtt="0 s",
                    compute_per_example="0 s")
        for i, share in enumerate(shares)
    ]  # fmt: skip
    half = classes[split].model_copy(update={"share": shares[split] / 2})
    halves = [*classes[:split], half, half, *classes[split + 1 :]]
    for given_classes in (classes, halves):
        changes = {"clients": tuple(given_classes), "class_order": "by-number"}
        profile = network().model_copy(update=changes)
        rates = [link.down_bits_per_s for link in profile.links(5)]
        assert rates == [1e6, 2e6, 2e6, 2e6, 3e6]
