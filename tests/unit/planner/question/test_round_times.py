from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import DRAWN

from floss_sim import RunConfig, load_profile, size_only
from floss_sim.network import NetworkProfile
from planner.question.round_times import FLEETS, SIMULATED_FLEETS, Clock, Fleets
from planner.question.traffic import Traffic

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
    assert clock.is_steady is steady
    simulated = size_only(sparse_digits, network, 30).rounds["closed_at_s"]
    assert clock.closing_times(traffic) == pytest.approx(np.array(simulated), rel=1e-12)


@pytest.mark.parametrize("name", ["paper-200-20", "lte", "satellite"])
def test_packaged_networks_need_no_simulator(sparse_digits: RunConfig, name: str):
    network = load_profile(name)
    clock = Clock(network, 50)
    assert clock.is_steady
    simulated = size_only(sparse_digits, network, 20).rounds["closed_at_s"]
    traffic = Traffic.predict(sparse_digits, 20, network.first_download)
    assert clock.closing_times(traffic) == pytest.approx(np.array(simulated), rel=1e-12)


def test_the_clock_of_a_confidence_is_beaten_by_that_share_of_fleets(
    tmp_path: Path, sparse_digits: RunConfig
):
    network = profile(tmp_path, JITTER)
    traffic = Traffic.predict(sparse_digits, 25)
    seeds = range(network.seed, network.seed + FLEETS)
    closed_FR = np.array(
        [Clock(network.model_copy(update={"seed": s}), 50).closing_times(traffic) for s in seeds]
    )
    assert len(np.unique(closed_FR[:, -1])) == FLEETS
    for share in (0.05, 0.5, 0.95, 0.99):
        closed_R = Fleets.of(network, 50, share).closing_times(traffic)
        in_time = (closed_FR <= closed_R).mean(axis=0)
        assert (in_time >= share).all()
        assert (in_time < share + 1 / FLEETS).all()  # and by no fleet more than it needs


def test_a_network_that_draws_nothing_needs_one_fleet(tmp_path: Path, sparse_digits: RunConfig):
    lte = load_profile("lte")
    traffic = Traffic.predict(sparse_digits, 5)
    sure = Fleets.of(lte, 50, 0.95)
    assert len(sure.clocks) == 1
    assert np.array_equal(sure.closing_times(traffic), Clock(lte, 50).closing_times(traffic))
    assert len(Fleets.of(profile(tmp_path), 50, None).clocks) == 1
    assert len(Fleets.of(profile(tmp_path), 50, 0.5).clocks) == FLEETS


def test_fleets_on_a_shared_network_are_told_by_their_first_rounds(
    tmp_path: Path, sparse_digits: RunConfig
):
    network = profile(tmp_path, SHARED)
    traffic = Traffic.predict(sparse_digits, 40)
    fleets = Fleets.of(network, 50, 0.95)
    told = fleets.closing_times(traffic)
    simulated = np.array(
        [clock.closing_times(traffic) for clock in fleets.clocks[:SIMULATED_FLEETS]]
    )
    exact = np.sort(simulated, axis=0)[18]
    assert told[-1] == pytest.approx(exact[-1], rel=0.15)
    assert (np.diff(told) > 0).all()
