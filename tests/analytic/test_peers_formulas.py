"""What other simulators compute, as special cases of ours.

Each formula is written out; each is right where nothing is shared or all is alike, and the last
tests say by how much it is wrong elsewhere.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SizedLearner, network, play

from floss_sim.network import ClientLink
from floss_sim.network.transport import Transport

BANDWIDTHS = st.floats(1e4, 1e10)
BYTES = st.integers(1, 10**8)
REL = 1e-9


def client_seconds(links, down, up, **server) -> list[float]:
    """Return the instant at which each client's update arrives."""
    (outcome,) = play(SizedLearner(down, up), network(**server), links)
    uploads = [t for t in outcome.transfers if t.direction == "up"]
    return [t.ended_at_s for t in sorted(uploads, key=lambda t: t.client)]


@given(BANDWIDTHS, BYTES, BYTES)
def test_download_and_upload_over_one_bandwidth(bandwidth, down, up):
    """(model down + model up) / bandwidth: one rate both ways, no latency, nothing shared."""
    link = ClientLink(bandwidth, bandwidth, 0, 0)
    (seconds,) = client_seconds([link], [down], [up])
    assert seconds == pytest.approx(8 * (down + up) / bandwidth, rel=REL)


@given(BANDWIDTHS, BYTES, st.integers(1, 30))
def test_the_servers_bandwidth_over_the_number_of_clients(bandwidth, nbytes, n):
    """model / (server bandwidth / n), each way: all alike, none slower than its part."""
    links = [ClientLink(bandwidth, bandwidth, 0, 0.5)] * n
    seconds = client_seconds(links, [nbytes] * n, [nbytes] * n, egress=bandwidth, ingress=bandwidth)
    each_way = 8 * nbytes / (bandwidth / n)
    assert seconds == pytest.approx([2 * each_way + 0.5] * n, rel=REL)


@given(BANDWIDTHS, BANDWIDTHS, BYTES, st.integers(1, 30))
def test_the_smaller_of_the_clients_rate_and_its_part_of_the_servers(client, server, nbytes, n):
    """model / min(client bandwidth, server bandwidth / n): alike clients, of any rate."""
    links = [ClientLink(1e12, client, 0, 0)] * n
    seconds = client_seconds(links, [0] * n, [nbytes] * n, ingress=server)
    assert seconds == pytest.approx([8 * nbytes / min(client, server / n)] * n, rel=REL)


@given(
    st.lists(st.tuples(BANDWIDTHS, BANDWIDTHS, st.floats(0, 2)), min_size=1, max_size=8),
    BYTES, BYTES,
)  # fmt: skip
def test_asymmetric_rates_of_each_client(rates, down, up):
    """down / rate down + latency + up / rate up + latency, each client by itself."""
    links = [ClientLink(d, u, rtt_s, 0) for d, u, rtt_s in rates]
    n = len(links)
    paper = [8 * down / d + rtt_s / 2 + 8 * up / u + rtt_s / 2 for d, u, rtt_s in rates]
    assert client_seconds(links, [down] * n, [up] * n) == pytest.approx(paper, rel=REL)


def test_the_servers_part_is_too_slow_where_clients_differ():
    """Two of ten clients of 5 Mbit/s are on a slow link, of 1: the others get more than 20 / 10."""
    links = [ClientLink(1e12, 1e6 if i < 2 else 5e6, 0, 0) for i in range(10)]
    seconds = client_seconds(links, [0] * 10, [10**6] * 10, ingress=20e6)
    assert seconds == pytest.approx([8.0] * 2 + [8e6 / (18e6 / 8)] * 8, rel=REL)
    assert seconds[-1] < 8e6 / min(5e6, 20e6 / 10)


def test_one_bandwidth_is_far_too_fast_for_small_uploads_at_a_distance():
    """46 kB at 20 Mbit/s over a mobile link of 40 ms, with a new connection and slow start."""
    link = ClientLink(200e6, 20e6, 0.04, 0)
    transport = Transport(headers="ipv4", tls=True, connection="new", slow_start=True)
    (outcome,) = play(SizedLearner([0], [46_000]), network(transport=transport), [link])
    upload = outcome.transfers[1]
    # Set-up takes 2 round trips. Windows of 15,000 and 30,000 bytes take one each; of the 47,730
    # bytes on the wire 2,730 are left for the next, of 60,000. Then half a round trip.
    assert upload.wire_bytes == 46_000 + 22 * 3 + 52 * 32 + 180 + 4500
    seconds = upload.ended_at_s - upload.started_at_s
    assert seconds == pytest.approx(0.08 + 0.04 + 0.04 + 0.04 * 2730 / 60_000 + 0.02, rel=REL)
    assert seconds / (8 * 46_000 / 20e6) == pytest.approx(9.88, abs=0.01)
