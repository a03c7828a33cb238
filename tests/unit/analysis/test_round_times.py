from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import DRAWN

from floss_sim import RunConfig, load_profile, size_only
from floss_sim.analysis.round_times import Clock, unique_sizes
from floss_sim.analysis.traffic import Traffic
from floss_sim.network import NetworkProfile

JITTER = 'jitter = "20 ms"\n'
SHARED = '[server]\negress = "20 Mbit/s"\n'
WIRED = '[transport]\nframing = "grpc"\ntls = true\nheaders = "ipv4"\nconnection = "new"\n'


def profile(folder: Path, more: str = "", top: str = "") -> NetworkProfile:
    path = folder / "drawn.toml"
    path.write_text(top + DRAWN + more, encoding="utf-8")
    return load_profile(str(path))


@pytest.mark.parametrize(
    ("more", "steady"),
    [
        ("", True),
        (JITTER, True),
        (JITTER + WIRED, True),
        ("loss = 0.01\n" + WIRED + "slow_start = true\n", True),
        (JITTER + "loss = 0.01\n", False),
        (JITTER + WIRED + "slow_start = true\n", False),
        (SHARED, False),
    ],
)
@pytest.mark.parametrize("first", ["", 'first_download = "2 MB"\n'])
def test_rounds_close_when_the_simulator_says(
    tmp_path: Path, sparse_digits: RunConfig, more: str, steady: bool, first: str
):
    network = profile(tmp_path, more, first)
    traffic = Traffic.predict(sparse_digits, 30, network.first_download)
    clock = Clock(network, 50)
    assert clock.is_steady(traffic) is steady
    simulated = size_only(sparse_digits, network, 30).rounds["closed_at_s"]
    assert clock.closing_times(traffic) == pytest.approx(np.array(simulated), rel=1e-12)


@pytest.mark.parametrize("name", ["paper-200-20", "lte", "satellite"])
def test_packaged_networks_need_no_simulator(sparse_digits: RunConfig, name: str):
    network = load_profile(name)
    clock = Clock(network, 50)
    simulated = size_only(sparse_digits, network, 20).rounds["closed_at_s"]
    traffic = Traffic.predict(sparse_digits, 20, network.first_download)
    assert clock.is_steady(traffic)
    assert clock.closing_times(traffic) == pytest.approx(np.array(simulated), rel=1e-12)


LOSSES = "down_bits_per_s,up_bits_per_s,rtt_s,compute_s_per_example,loss\n" + "".join(
    f"{1e7 * (1 + row)},{1e6 * (1 + row)},{0.01 * row},0.001,{0.005 * (row % 3)}\n"
    for row in range(50)
)


@pytest.mark.parametrize("more", ["", WIRED, WIRED + "slow_start = true\n"])
def test_messages_of_many_sizes_over_links_of_different_loss(
    tmp_path: Path, sparse_digits: RunConfig, more: str
):
    (tmp_path / "rows.csv").write_text(LOSSES, encoding="utf-8")
    head = 'name = "rows"\nsource = "made"\ndate = "2026"\n'
    fleet = '[fleet]\nlaw = "table"\nfile = "rows.csv"\n'
    (tmp_path / "rows.toml").write_text(head + fleet + more, encoding="utf-8")
    network = load_profile(str(tmp_path / "rows.toml"))
    predicted = Traffic.predict(sparse_digits, 12)
    more_bytes = np.random.default_rng(0).integers(0, 5000, predicted.shape)
    traffic = replace(predicted, up=predicted.up + more_bytes)
    clock = Clock(network, 50)
    links = network.links(50)
    alone_RC = [
        [
            links[client].transfer_s("down", down, network.transport)
            + links[client].compute_s(examples)
            + links[client].transfer_s("up", up, network.transport)
            for client, down, examples, up in zip(*columns, strict=True)
        ]
        for columns in zip(
            *(a.tolist() for a in (traffic.clients, traffic.down, traffic.examples, traffic.up)),
            strict=True,
        )
    ]
    assert clock.client_seconds(traffic, jitter=False) == pytest.approx(
        np.array(alone_RC), rel=1e-12
    )


def test_nominal_times_leave_out_what_needs_the_simulator(tmp_path: Path, sparse_digits: RunConfig):
    plain = profile(tmp_path)
    traffic = Traffic.predict(sparse_digits, 8)
    nominal_R = Clock(plain, 50).nominal_times(traffic)
    assert nominal_R.tolist() == Clock(plain, 50).closing_times(traffic).tolist()
    shared = profile(tmp_path, JITTER + '[server]\negress = "1 Gbit/s"\n')
    assert Clock(shared, 50).nominal_times(traffic).tolist() == nominal_R.tolist()
    assert (Clock(shared, 50).closing_times(traffic) > nominal_R).all()


@pytest.mark.parametrize(
    "sizes", [[], [7], [7, 7, 7], [9, 3, 9, 4], [0, 10**12, 5], [10**12 + 1, 10**12]]
)
def test_sizes_are_counted_as_numpy_sorts_them(sizes):
    given = np.array(sizes, dtype=np.int64)

    expected = np.unique(given, return_inverse=True)
    for ours, theirs in zip(unique_sizes(given), expected, strict=True):
        assert ours.tolist() == theirs.tolist()
