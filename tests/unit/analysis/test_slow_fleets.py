from __future__ import annotations

from pathlib import Path

import pytest
from networks import DRAWN

from floss_sim import RunConfig, load_profile, retime, size_only
from floss_sim.analysis.run_times import slow_fleets
from floss_sim.network import NetworkProfile


@pytest.fixture
def rows(tmp_path: Path) -> NetworkProfile:
    """A fleet drawn from a hundred rows, one of which is far slower than the others."""
    lines = ["1e7,1e6", *["1e7,1e6"] * 98, "1e7,100"]
    (tmp_path / "rows.csv").write_text("\n".join(["down_bits_per_s,up_bits_per_s", *lines]))
    path = tmp_path / "rows.toml"
    path.write_text(
        'name = "rows"\nsource = "made"\ndate = "2026"\n[fleet]\nlaw = "rows"\n'
        'file = "rows.csv"\nrtt = "20 ms"\ncompute_per_example = "1 ms"\n',
        encoding="utf-8",
    )
    return load_profile(str(path))


def test_they_are_the_fleets_on_which_one_client_has_the_slow_row(
    rows: NetworkProfile, sparse_digits: RunConfig
):
    record = size_only(sparse_digits, rows, 40)
    found = slow_fleets(record, rows)
    assert found is not None
    sure = possible = 0
    for seed in range(40):
        profile = rows.model_copy(update={"seed": seed})
        slow = [n for n, link in enumerate(profile.links(50)) if link.up_bits_per_s == 100]
        transfers = retime(record, profile).transfers.to_pylist()
        ends = [t for t in transfers if t["direction"] == "up"]
        # The slow link takes nearly all of a round, so that a round counts as its upload's bytes.
        nbytes = {t["round"]: t["nbytes"] for t in ends}
        cohorts = {r: {t["client"] for t in ends if t["round"] == r} for r in nbytes}
        slow_in = {r: cohorts[r] & set(slow) for r in nbytes}
        whole = sum(nbytes[r] for r in nbytes if slow_in[r])
        saved = [sum(nbytes[r] for r in nbytes if slow_in[r] == {client}) for client in slow]
        # The other clients' rounds take a little time, too: near a half either answer is right.
        sure += max(saved, default=0) > 0.51 * whole
        possible += max(saved, default=0) > 0.49 * whole
    assert found.draws == 40
    assert 0 < sure <= found.fleets <= possible < 40
    assert found.link.up_bits_per_s == 100
    assert found.to_json()["worst_link"]["up_bits_per_s"] == 100
    assert found.text == (
        f"on {found.fleets} of 40 fleets a single client takes more than half of the time, "
        "at worst one with 10 Mbit/s down, 100 bit/s up, round trip 20 ms, 1 ms an example"
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
