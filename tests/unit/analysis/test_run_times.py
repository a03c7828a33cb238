from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import DRAWN

from floss_sim import RunConfig, load_profile, retime, size_only, time_spread
from floss_sim.analysis.drawn_fleets import FLEETS
from floss_sim.analysis.run_times import fleet_times, recorded_times
from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile


@pytest.fixture
def drawn(tmp_path: Path) -> NetworkProfile:
    path = tmp_path / "drawn.toml"
    path.write_text('first_download = "2 MB"\n' + DRAWN, encoding="utf-8")
    return load_profile(str(path))


def test_each_time_is_that_of_the_run_on_the_network_of_its_seed(
    drawn: NetworkProfile, sparse_digits: RunConfig
):
    record = size_only(sparse_digits, drawn, 7)
    times = fleet_times(record, drawn)
    early, whole = times.at(3), times.at(7)
    assert whole == time_spread(record, drawn)
    assert early == time_spread(record, drawn, rounds=3)
    assert (whole.draws, whole.method) == (FLEETS, "closed form")
    for number in (0, 1, FLEETS - 1):
        fleet = drawn.model_copy(update={"seed": drawn.seed + number})
        closed_at_s = retime(record, fleet).rounds["closed_at_s"].to_pylist()
        found = (early.seconds[number], whole.seconds[number])
        assert found == pytest.approx((closed_at_s[2], closed_at_s[6]), rel=1e-12)


def test_the_first_download_of_a_record_counts_on_other_networks(
    drawn: NetworkProfile, sparse_digits: RunConfig
):
    record = size_only(sparse_digits, drawn, 4)
    lte = load_profile("lte")
    own = retime(record, lte).rounds["closed_at_s"].to_pylist()[-1]
    assert time_spread(record, lte).seconds[0] == pytest.approx(own, rel=1e-12)


def test_the_recorded_time_is_one_time(drawn: NetworkProfile, sparse_digits: RunConfig):
    record = size_only(sparse_digits, drawn, 4)
    closed_at_s = np.array(record.rounds["closed_at_s"])
    one = recorded_times(record).at(2)
    assert (one.seconds, one.method, one.draws) == ((closed_at_s[1],), "recorded", 1)


def test_bad_questions(drawn: NetworkProfile, sparse_digits: RunConfig):
    record = size_only(sparse_digits, drawn, 4)
    for rounds in (0, 5):
        with pytest.raises(ConfigError, match=f"round {rounds} of a run of 4 rounds; valid: 1 to"):
            time_spread(record, drawn, rounds)
    description = {"trajectory": {**record.description["trajectory"], "conditions": {}}}
    with pytest.raises(ConfigError, match="simulated time affected the training"):
        time_spread(replace(record, description=description), drawn)
