"""The network of a record: packaged, kept in its folder, given, or not known."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_run
from networks import DRAWN, write_rows

from floss_sim import RunFolder, load_profile
from floss_sim.analysis import recorded_networks
from floss_sim.analysis.recorded_networks import find_recorded_network, keep_network
from floss_sim.errors import RecordError
from floss_sim.network import NetworkProfile
from floss_sim.records.file_names import NETWORK

ROWS = [(0.5, 40_000, 20_000, 0.0), (0.75, 4000, 400_000, 0.0)]


@pytest.fixture
def own(tmp_path: Path) -> NetworkProfile:
    """A network of rows, the files of which are gone."""
    path = write_rows(tmp_path, 9)
    profile = load_profile(str(path))
    path.unlink()
    (tmp_path / "rows.csv").unlink()
    return profile


def made(path: Path, profile: NetworkProfile) -> RunFolder:
    return RunFolder.read(make_run(path, ROWS, on=profile))


def test_an_own_network_is_found_in_the_folder(tmp_path: Path, own: NetworkProfile):
    folder = made(tmp_path / "run", own)
    assert find_recorded_network(folder) is None
    assert keep_network(folder, own) is None
    assert find_recorded_network(folder) == own
    for change in (own.with_upload_ratio(3), own.with_changes("first", first_download=99)):
        folder = made(tmp_path / change.name, change)
        keep_network(folder, change)
        assert find_recorded_network(folder) == change


def test_a_packaged_network_is_not_kept(tmp_path: Path, own: NetworkProfile):
    for profile in (load_profile("lte"), load_profile("lte").with_upload_ratio(3)):
        folder = made(tmp_path / profile.name, profile)
        keep_network(folder, own)  # of an earlier timing
        keep_network(folder, profile)
        assert not (folder.path / NETWORK).exists()
        assert find_recorded_network(folder) == profile


def test_a_packaged_name_does_not_hide_another_network(tmp_path: Path, own: NetworkProfile):
    false = own.model_copy(update={"name": "lte"})
    folder = made(tmp_path / "run", false)
    keep_network(folder, false)
    assert find_recorded_network(folder) == false


def test_a_kept_network_of_other_seconds_is_not_taken(tmp_path: Path, own: NetworkProfile):
    folder = made(tmp_path / "run", own)
    keep_network(folder, own.with_upload_ratio(3))
    assert find_recorded_network(folder) is None
    (tmp_path / "drawn.toml").write_text(DRAWN, encoding="utf-8")
    others = [load_profile(str(tmp_path / "drawn.toml")), own]
    assert find_recorded_network(folder, others[:1]) is None
    assert find_recorded_network(folder, others) == own


def test_a_large_network_is_not_kept_and_the_reason_is_said(
    tmp_path: Path, own: NetworkProfile, monkeypatch: pytest.MonkeyPatch
):
    folder = made(tmp_path / "run", own)
    keep_network(folder, own)
    monkeypatch.setattr(recorded_networks, "MOST_BYTES", 100)
    reason = keep_network(folder, own)
    assert reason is not None
    assert reason.startswith("rows is too large to be kept with the record")
    assert not (folder.path / NETWORK).exists()


def test_a_damaged_network_is_named(tmp_path: Path, own: NetworkProfile):
    folder = made(tmp_path / "run", own)
    folder.keep_network("{}")
    with pytest.raises(RecordError, match=r"network\.json\.gz is damaged \(.*; remove this file"):
        find_recorded_network(folder)
