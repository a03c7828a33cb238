from __future__ import annotations

from pathlib import Path

import pytest
from networks import DRAWN, write_rows

from floss_sim import RunConfig, RunRecord, load_profile, retime, size_only
from floss_sim.analysis.run_times import slow_fleets
from floss_sim.network import NetworkProfile


@pytest.fixture
def rows(tmp_path: Path) -> NetworkProfile:
    """A fleet drawn from a hundred rows, one of which is far slower than the others."""
    return load_profile(str(write_rows(tmp_path, equal=99)))


def least_part(record: RunRecord) -> float:
    """Return the least fraction of a run's time that remains without one of its clients."""
    opened_at_s = record.rounds["opened_at_s"].to_pylist()
    rounds: list[dict[int, float]] = [{} for _ in opened_at_s]
    for row in record.transfers.to_pylist():
        if row["direction"] == "up":
            number = row["round"] - 1
            rounds[number][row["client"]] = row["ended_at_s"] - opened_at_s[number]
    whole_s = sum(max(seconds.values()) for seconds in rounds)
    clients = {client for seconds in rounds for client in seconds}
    return min(
        sum(max(s for other, s in seconds.items() if other != client) for seconds in rounds)
        / whole_s
        for client in clients
    )


def test_they_are_the_fleets_that_one_client_delays_by_more_than_half(
    rows: NetworkProfile, sparse_digits: RunConfig
):
    record = size_only(sparse_digits, rows, 40)
    found = slow_fleets(record, rows)
    fleets = [rows.model_copy(update={"seed": seed}) for seed in range(40)]
    slow = sum(least_part(retime(record, profile)) < 0.5 for profile in fleets)
    assert 0 < slow < 40
    assert found is not None
    assert (found.fleets, found.draws) == (slow, 40)
    assert found.link.up_bits_per_s == 100
    assert found.to_json()["worst_link"]["up_bits_per_s"] == 100
    assert found.text == (
        f"on {slow} of 40 fleets a single client takes more than half of the time, at worst one "
        "with 10 Mbit/s down, 100 bit/s up, round trip 20 ms, 1 ms an example"
    )


def test_networks_without_such_fleets(tmp_path: Path, sparse_digits: RunConfig):
    record = size_only(sparse_digits, load_profile("paper-200-20"), 20)
    assert slow_fleets(record, load_profile("paper-200-20")) is None
    assert slow_fleets(record, load_profile("wifi"), 10) is None
    path = tmp_path / "shared.toml"
    path.write_text(DRAWN + '[server]\negress = "20 Mbit/s"\n', encoding="utf-8")
    assert slow_fleets(record, load_profile(str(path))) is None  # no closed form


def test_a_round_of_one_client_waits_for_nobody_else(
    rows: NetworkProfile, sparse_digits: RunConfig
):
    single = sparse_digits.with_(server={"cohort": 1})
    assert slow_fleets(size_only(single, rows, 20), rows) is None
