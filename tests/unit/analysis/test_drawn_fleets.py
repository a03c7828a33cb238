from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import DRAWN

from floss_sim import RunConfig, load_profile
from floss_sim.analysis.drawn_fleets import FLEETS, SIMULATED_FLEETS, Fleets
from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.traffic import Traffic
from floss_sim.network import NetworkProfile

JITTER = 'jitter = "20 ms"\n'
SHARED = '[server]\negress = "20 Mbit/s"\n'
WIDE = '[server]\negress = "1000000 Gbit/s"\n'  # shared, so simulated, but wider than all links


def profile(folder: Path, more: str = "") -> NetworkProfile:
    path = folder / "drawn.toml"
    path.write_text(DRAWN + more, encoding="utf-8")
    return load_profile(str(path))


def clocks(network: NetworkProfile, seeds: range) -> list[Clock]:
    return [Clock(network.model_copy(update={"seed": seed}), 50) for seed in seeds]


def test_the_clock_of_a_confidence_is_beaten_by_that_share_of_fleets(
    tmp_path: Path, sparse_digits: RunConfig
):
    network = profile(tmp_path, JITTER)
    traffic = Traffic.predict(sparse_digits, 25)
    seeds = range(network.seed, network.seed + FLEETS)
    closed_FR = np.array([clock.closing_times(traffic) for clock in clocks(network, seeds)])
    assert len(np.unique(closed_FR[:, -1])) == FLEETS
    for share in (0.05, 0.5, 0.95, 0.99):
        closed_R = Fleets.of(network, 50, share).closing_times(traffic)
        in_time = (closed_FR <= closed_R).mean(axis=0)
        assert (in_time >= share).all()
        assert (in_time < share + 1 / FLEETS).all()  # and by no fleet more than it needs


def test_a_network_that_draws_nothing_has_one_time(tmp_path: Path, sparse_digits: RunConfig):
    paper = load_profile("paper-200-20")
    traffic = Traffic.predict(sparse_digits, 5)
    sure = Fleets.of(paper, 50, 0.95)
    assert len(sure.clocks) == 1
    closed_R = Clock(paper, 50).closing_times(traffic)
    assert np.array_equal(sure.closing_times(traffic), closed_R)
    spread = sure.spread(traffic)
    assert (spread.seconds, spread.method) == ((closed_R[-1],), "closed form")
    assert len(Fleets.of(profile(tmp_path), 50).clocks) == FLEETS


def test_jitter_and_starts_of_traces_are_drawn(tmp_path: Path):
    trace = "seconds,kbit/s\n" + "".join(f"{s},{1000 + 100 * (s % 7)}\n" for s in range(60))
    (tmp_path / "up.csv").write_text(trace, encoding="utf-8")
    head = 'name = "n"\nsource = "made"\ndate = "2026"\n[[clients]]\nshare = 1.0\n'
    link = 'down = "9 Mbit/s"\nrtt = "20 ms"\ncompute_per_example = "1 ms"\n'
    for more, drawn in (
        ('up = "2 Mbit/s"\n', False),
        ('up = "2 Mbit/s"\n' + JITTER, True),
        ('up_trace = { file = "up.csv" }\n', False),
        ('up_trace = { file = "up.csv" }\ntrace_start = "random"\n', True),
    ):
        (tmp_path / "n.toml").write_text(head + link + more, encoding="utf-8")
        fleets = Fleets.of(load_profile(str(tmp_path / "n.toml")), 50)
        assert len(fleets.clocks) == (FLEETS if drawn else 1)


def test_simulated_fleets_agree_with_the_closed_form(tmp_path: Path, sparse_digits: RunConfig):
    traffic = Traffic.predict(sparse_digits, 12)
    closed = Fleets.of(profile(tmp_path), 50).spread(traffic)
    simulated = Fleets.of(profile(tmp_path, WIDE), 50).spread(traffic)
    assert (closed.method, closed.draws) == ("closed form", FLEETS)
    assert (simulated.method, simulated.draws) == ("simulated", SIMULATED_FLEETS)
    assert simulated.seconds == pytest.approx(closed.seconds[:SIMULATED_FLEETS], rel=1e-12)


@pytest.mark.parametrize(("more", "error"), [(SHARED, 0.15), (JITTER, 0.1), (WIDE, 1e-9)])
def test_probed_fleets_are_scaled_by_their_first_rounds(
    tmp_path: Path,
    sparse_digits: RunConfig,
    more: str,
    error: float,
):
    network, traffic = profile(tmp_path, more), Traffic.predict(sparse_digits, 40)
    exact = Fleets.of(network, 50).times(traffic)
    exact_FR = exact.closed_at_s
    assert exact.method != "probed"
    most = 50 * len(exact_FR)  # 10 rounds of 5
    probed = replace(Fleets.of(network, 50), most_dispatches=most).times(traffic)
    probed_FR = probed.closed_at_s
    assert probed.method == "probed"
    assert probed_FR.shape == exact_FR.shape
    assert probed_FR == pytest.approx(exact_FR, rel=error)
    assert np.array_equal(probed_FR[:, :10], exact_FR[:, :10])
    assert (np.diff(probed_FR, axis=1) > 0).all()


def test_a_spread_is_read_at_any_round(tmp_path: Path, sparse_digits: RunConfig):
    fleets, traffic = Fleets.of(profile(tmp_path), 50), Traffic.predict(sparse_digits, 9)
    times = fleets.times(traffic)
    early, late = times.at(4), times.at(9)
    assert early == fleets.spread(traffic.until(4)) == fleets.spread(traffic, 4)
    assert late == fleets.spread(traffic)


@pytest.mark.parametrize("rounds", [1, 8, 60])
def test_nine_in_ten_further_fleets_are_inside(
    tmp_path: Path, sparse_digits: RunConfig, rounds: int
):
    network, traffic = profile(tmp_path), Traffic.predict(sparse_digits, rounds)
    inside, intervals, held_out = 0, 12, 200
    for number in range(intervals):
        first = 1000 * number
        drawn = network.model_copy(update={"seed": first})
        spread = Fleets.of(drawn, 50).spread(traffic)
        others = clocks(network, range(first + FLEETS, first + FLEETS + held_out))
        ends_s = np.array([clock.closing_times(traffic)[-1] for clock in others])
        inside += ((spread.low_s <= ends_s) & (ends_s <= spread.high_s)).sum()
    assert 0.85 <= inside / (intervals * held_out) <= 0.95
