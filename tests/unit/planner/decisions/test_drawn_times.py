"""Times of a plan's runs: all on the same fleets, within what a page may simulate."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from made_plans import outcome, whole_plan
from networks import DRAWN

from floss_sim import RunConfig, load_profile
from floss_sim.analysis import drawn_fleets
from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.traffic import Traffic
from planner.decisions.drawn_times import with_times

SHARED = '[server]\negress = "20 Mbit/s"\n'


@pytest.fixture
def fleets(tmp_path: Path) -> Fleets:
    (tmp_path / "shared.toml").write_text(DRAWN + SHARED, encoding="utf-8")
    return Fleets.of(load_profile(str(tmp_path / "shared.toml")), 50)


def test_every_run_is_timed_to_its_own_last_round(fleets: Fleets, sparse_digits: RunConfig):
    limit = replace(whole_plan().limit, links=[None] * 50)
    traffic, made = Traffic.predict(sparse_digits, 20), replace(whole_plan(), limit=limit)
    short = outcome(1, 0.9, rounds=10)
    timed = with_times(replace(made, runners_up=(short,)), lambda candidate: traffic, fleets)
    assert timed.recommendation.time == fleets.spread(traffic)
    assert timed.runners_up[0].time == fleets.spread(traffic, 10)
    assert timed.baselines["dense"].time == timed.recommendation.time
    assert timed.baselines["thesis_rule"] is None
    for one, last in ((timed.recommendation, 20), (timed.runners_up[0], 10)):
        so_far = Counter()
        for part in (traffic.first, traffic.down, traffic.up):
            for client, nbytes in zip(traffic.clients[:last].flat, part[:last].flat, strict=True):
                so_far[int(client)] += int(nbytes)
        assert one.usage.busiest_device_bytes == max(so_far.values())
        assert one.usage.mean_device_bytes == sum(so_far.values()) / 50
    assert timed.recommendation.time.method == "simulated"


def test_many_runs_share_the_rounds_that_are_simulated(
    fleets: Fleets, sparse_digits: RunConfig, monkeypatch: pytest.MonkeyPatch
):
    """Three runs, of which each has 12 rounds of 5 clients on 20 fleets."""
    monkeypatch.setattr(drawn_fleets, "MOST_DISPATCHES_OF_RUNS", 3 * 12 * 5 * 20)
    limit = replace(whole_plan().limit, links=[None] * 50)
    traffic, made = Traffic.predict(sparse_digits, 20), replace(whole_plan(), limit=limit)
    timed = with_times(made, lambda candidate: traffic, fleets)
    assert len({made.recommendation.candidate, *(o.candidate for o in made.runners_up)}) == 3
    assert timed.recommendation.time.method == "probed"
    exact = replace(fleets, most_dispatches=12 * 5 * 20).spread(traffic)
    assert timed.recommendation.time == exact


def test_slow_fleets_are_those_of_the_recommended_run(tmp_path: Path, sparse_digits: RunConfig):
    links = 'share = {}\ndown = "{}"\nup = "{}"\nrtt = "20 ms"\ncompute_per_example = "0 ms"\n'
    text = 'name = "slow"\nsource = "made"\ndate = "2026"\n'
    for values in ((0.98, "40 Mbit/s", "10 Mbit/s"), (0.02, "1 Mbit/s", "9 kbit/s")):
        text += "[[clients]]\n" + links.format(*values)
    (tmp_path / "slow.toml").write_text(text, encoding="utf-8")
    fleets = Fleets.of(load_profile(str(tmp_path / "slow.toml")), 50)
    traffic, made = Traffic.predict(sparse_digits, 30), replace(whole_plan(), slow_fleets=None)
    made = replace(made, limit=replace(made.limit, links=[None] * 50))
    found = with_times(made, lambda candidate: traffic, fleets).slow_fleets
    last = made.recommendation.rounds
    takes_part = [
        next(n for n in range(50) if clock.link(n).up_bits_per_s < 1e4) in traffic.clients[:last]
        for clock in fleets.clocks
    ]
    assert (found.fleets, found.draws) == (sum(takes_part), 40)
    assert 0 < found.fleets < 40
    assert "1 Mbit/s down, 9 kbit/s up" in found.text
