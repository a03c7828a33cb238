from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

import network_profiles
from floss_sim.errors import ConfigError, ProfileError
from floss_sim.network import ClientLink, NetworkProfile, load_profile, packaged_profiles

PROFILE = """\
name = "two"
source = "nobody"
date = "2024"

[[clients]]
share = 0.25
down = "100 Mbit/s"
up = "10 Mbit/s"
rtt = "40 ms"
compute_per_example = "2 ms"

[[clients]]
share = 0.75
down = "1 MB/s"
up = "500 kbit/s"
rtt = "0 s"
compute_per_example = "0.5 s"
"""
FAST = ClientLink(100e6, 10e6, 0.040, 0.002)
SLOW = ClientLink(8e6, 500e3, 0.0, 0.5)


def written(folder: Path, old: str = "", new: str = "") -> str:
    assert old in PROFILE
    path = folder / "two.toml"
    path.write_text(PROFILE.replace(old, new, 1) if old else PROFILE, encoding="utf-8")
    return str(path)


def refusal(name_or_path: str) -> str:
    with pytest.raises(ProfileError) as caught:
        load_profile(name_or_path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def of_shares(*shares: float) -> NetworkProfile:
    """Return a profile whose i-th class downloads at i + 1 bit/s."""
    groups = [
        {
            "share": share,
            "down": f"{i + 1} bit/s",
            "up": "1 bit/s",
            "rtt": "0 s",
            "compute_per_example": "0 s",
        }
        for i, share in enumerate(shares)
    ]
    return NetworkProfile.model_validate(
        {"name": "n", "source": "s", "date": "d", "clients": groups}
    )


def classes(profile: NetworkProfile, fleet: int) -> list[int]:
    return [int(link.down_bits_per_s) - 1 for link in profile.links(fleet)]


# links


def test_a_download_takes_half_the_round_trip_and_eight_bits_a_byte():
    assert FAST.transfer_s("down", 1_000_000) == pytest.approx(0.020 + 0.08, rel=1e-12)
    assert FAST.transfer_s("up", 1_000_000) == pytest.approx(0.020 + 0.8, rel=1e-12)
    assert FAST.compute_s(150) == pytest.approx(0.3, rel=1e-12)


def test_an_empty_payload_still_takes_half_a_round_trip():
    assert FAST.transfer_s("down", 0) == FAST.transfer_s("up", 0) == 0.020
    assert SLOW.transfer_s("down", 0) == SLOW.compute_s(0) == 0


# what ships


def test_the_thesis_network_is_200_down_and_20_up_and_nothing_else():
    links = load_profile("paper-200-20").links(50)
    assert set(links) == {ClientLink(200e6, 20e6, 0.0, 0.0)}
    assert len(links) == 50


def test_the_lte_profile_is_four_quarters_from_slow_to_fast():
    links = load_profile("lte").links(40)
    downs = [link.down_bits_per_s for link in links]
    assert sorted(downs) == downs
    assert [downs.count(down) for down in sorted(set(downs))] == [10] * 4
    assert all(link.up_bits_per_s < link.down_bits_per_s for link in links)


@pytest.mark.parametrize("name", packaged_profiles())
def test_every_shipped_profile_loads_under_its_name_and_states_its_source(name: str):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.source
    assert profile.date


@pytest.mark.parametrize("name", packaged_profiles())
def test_every_shipped_profile_is_plausible_and_says_what_is_assumed(name: str):
    for group in load_profile(name).clients:
        assert 1e6 <= group.up <= group.down <= 1e9
        assert 0 <= group.rtt <= 0.7
        assert 0 <= group.compute_per_example <= 0.01
    file = Path(network_profiles.__file__).with_name(f"{name}.toml")
    header = file.read_text(encoding="utf-8").split("name = ")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert "Units: " in header
    assert "assum" in header.lower() or name == "paper-200-20"


def test_shipped_mixtures_agree_with_what_they_are_made_of():
    broadband, wifi, mixed = (
        load_profile(n).clients for n in ("broadband", "wifi", "mobile-mixed")
    )
    assert [(g.share, g.down, g.up) for g in wifi] == [(g.share, g.down, g.up) for g in broadband]
    assert [g.rtt for g in wifi] == pytest.approx([g.rtt + 0.020 for g in broadband])
    at_home = mixed[-len(wifi) :]
    assert [(g.down, g.up, g.rtt) for g in at_home] == [(g.down, g.up, g.rtt) for g in wifi]
    assert [g.share for g in at_home] == pytest.approx([0.62 * g.share for g in wifi])
    uploads = {g.up for g in load_profile("lte").clients}
    assert {g.up for g in load_profile("5g").clients} == uploads


def test_the_names_of_what_ships_are_sorted_and_known():
    assert set(packaged_profiles()) == {
        "3g", "5g", "broadband", "cable", "lte", "mobile-mixed", "paper-200-20", "satellite",
        "wifi",
    }  # fmt: skip
    assert list(packaged_profiles()) == sorted(packaged_profiles())


# files


def test_a_profile_is_read_in_bits_per_second_and_seconds(tmp_path: Path):
    profile = load_profile(written(tmp_path))
    assert (profile.name, profile.source, profile.date) == ("two", "nobody", "2024")
    assert tuple(profile.links(4)) == (FAST, SLOW, SLOW, SLOW)


def test_an_unknown_name_is_refused_with_the_valid_ones():
    said = refusal("dialup")
    assert "unknown network profile 'dialup'; valid: " in said
    assert all(name in said for name in packaged_profiles())
    assert "or a path that ends in .toml" in said


@pytest.mark.parametrize("key", ["name", "source", "date"])
def test_a_missing_header_key_is_refused_by_its_name(tmp_path: Path, key: str):
    line = next(line for line in PROFILE.splitlines(keepends=True) if line.startswith(key))
    path = written(tmp_path, line, "")
    assert refusal(path) == f"{path}: {key}: Field required"


@pytest.mark.parametrize("key", ["share", "rtt", "compute_per_example"])
def test_a_missing_class_key_is_refused_by_class_and_name(tmp_path: Path, key: str):
    line = next(line for line in PROFILE.splitlines(keepends=True) if line.startswith(key))
    path = written(tmp_path, line, "")
    assert refusal(path) == f"{path}: clients.0.{key}: Field required"


@pytest.mark.parametrize("way", ["down", "up"])
def test_a_class_without_a_rate_or_a_trace_is_refused(tmp_path: Path, way: str):
    line = next(line for line in PROFILE.splitlines(keepends=True) if line.startswith(way))
    path = written(tmp_path, line, "")
    assert refusal(path).startswith(f"{path}: clients.0: {way}: give a rate or a trace")


def test_a_profile_without_clients_is_refused(tmp_path: Path):
    path = tmp_path / "none.toml"
    path.write_text(PROFILE[: PROFILE.index("[[clients]]")], encoding="utf-8")
    assert "clients: give classes ([[clients]]) or a law" in refusal(str(path))
    path.write_text(path.read_text(encoding="utf-8") + "clients = []\n", encoding="utf-8")
    assert "clients: " in refusal(str(path))


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ('"100 Mbit/s"', '"-100 Mbit/s"', "down", "above zero"),
        ('"100 Mbit/s"', '"0 Mbit/s"', "down", "above zero"),
        ('"100 Mbit/s"', '"100 Mb/s"', "down", "valid units: bit/s"),
        ('"100 Mbit/s"', '"100 MB"', "down", "valid units: bit/s"),
        ('"100 Mbit/s"', '"100"', "down", "not a number with a unit"),
        ('"100 Mbit/s"', "100", "down", "not a number with a unit"),
        ('"100 Mbit/s"', "[1]", "down", "not a number with a unit"),
        ('"10 Mbit/s"', '"fast"', "up", "not a number with a unit"),
        ('"40 ms"', '"-40 ms"', "rtt", "not be negative"),
        ('"40 ms"', '"40 Mbit/s"', "rtt", "valid units: us"),
        ('"40 ms"', "0.04", "rtt", "not a number with a unit"),
        ('"2 ms"', '"2 msec"', "compute_per_example", "valid units: us"),
        ("share = 0.25", "share = 0.0", "share", "greater than 0"),
        ("share = 0.25", "share = -0.25", "share", "greater than 0"),
        ("share = 0.25", "share = 1.25", "share", "less than or equal to 1"),
        ("share = 0.25", "share = nan", "share", ""),
        ("share = 0.25", 'share = "most"', "share", "number"),
    ],
)
def test_an_invalid_value_is_refused_by_class_and_key(
    tmp_path: Path, old: str, new: str, key: str, said: str
):
    path = written(tmp_path, old, new)
    assert refusal(path).startswith(f"{path}: clients.0.{key}: ")
    assert said in refusal(path)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("date = ", 'delay = "1 ms"\ndate = ', "delay"),
        ("rtt = ", 'delay = "1 ms"\nrtt = ', "clients.0.delay"),
    ],
)
def test_an_unknown_key_is_refused_by_its_name(tmp_path: Path, old: str, new: str, key: str):
    path = written(tmp_path, old, new)
    assert refusal(path).startswith(f"{path}: {key}: unknown key; valid: ")


@pytest.mark.parametrize("share", ["0.2", "0.26", "1.0", "0.2499"])
def test_shares_that_do_not_add_up_to_one_are_refused_with_their_sum(tmp_path: Path, share: str):
    path = written(tmp_path, "share = 0.25", f"share = {share}")
    assert f"add up to {float(share) + 0.75:g}, not 1" in refusal(path)


def test_shares_may_miss_one_by_rounding():
    assert set(classes(of_shares(0.3333333, 0.3333333, 0.3333333), 9)) == {0, 1, 2}


@pytest.mark.parametrize("content", [b"name = ", b"down = 5 Mbit/s", b"\xff", b"[[clients]"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert f"{path} is not TOML" in refusal(str(path))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    assert "cannot read" in refusal(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    assert "cannot read" in refusal(str(tmp_path / "folder.toml"))


def test_a_profile_error_is_a_config_error():
    assert issubclass(ProfileError, ConfigError)


def test_a_loaded_profile_cannot_be_changed(tmp_path: Path):
    profile = load_profile(written(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        profile.clients[0].up = 1.0


# shares


@pytest.mark.parametrize("eighths", [(8,), (2, 6), (1, 3, 4), (4, 2, 1, 1), (1,) * 8])
def test_a_client_belongs_to_the_class_whose_cumulative_share_covers_its_middle(
    eighths: tuple[int, ...],
):
    ends = [Fraction(sum(eighths[: i + 1]), 8) for i in range(len(eighths))]
    for fleet in (1, 2, 3, 4, 5, 7, 8, 50, 1000):
        found = classes(of_shares(*(part / 8 for part in eighths)), fleet)
        middles = [Fraction(2 * i + 1, 2 * fleet) for i in range(fleet)]
        assert found == [min(c for c, end in enumerate(ends) if mid <= end) for mid in middles]


@pytest.mark.parametrize("shares", [(0.1,) * 10, (0.3, 0.7), (0.05, 0.15, 0.8), (1 / 3,) * 3])
@pytest.mark.parametrize("fleet", [10, 33, 50, 997])
def test_every_class_gets_its_share_of_the_fleet_within_one_client(
    shares: tuple[float, ...], fleet: int
):
    found = classes(of_shares(*shares), fleet)
    assert len(found) == fleet
    for number, share in enumerate(shares):
        assert abs(found.count(number) - share * fleet) <= 1 + 1e-9


def test_a_client_beyond_shares_that_miss_one_by_rounding_belongs_to_the_last_class():
    assert set(classes(of_shares(0.9999991), 600_000)) == {0}


def test_a_fleet_smaller_than_the_classes_has_one_link_a_client():
    assert classes(of_shares(0.25, 0.25, 0.25, 0.25), 1) == [1]
    assert classes(of_shares(0.25, 0.25, 0.25, 0.25), 2) == [0, 2]


# upload ratio


@pytest.mark.parametrize("ratio", [0.5, 1, 4, 16.0])
def test_an_upload_ratio_divides_each_down_rate_and_keeps_the_rest(tmp_path: Path, ratio: float):
    profile = load_profile(written(tmp_path))
    changed = profile.with_upload_ratio(ratio)
    assert tuple(changed.links(4)) == (
        ClientLink(100e6, 100e6 / ratio, 0.040, 0.002),
        *[ClientLink(8e6, 8e6 / ratio, 0.0, 0.5)] * 3,
    )
    assert tuple(profile.links(4)) == (FAST, SLOW, SLOW, SLOW)


def test_an_upload_ratio_stands_in_the_name(tmp_path: Path):
    changed = load_profile(written(tmp_path)).with_upload_ratio(16)
    assert changed.name == "two, upload ratio 16"


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("inf"), float("nan")])
def test_an_upload_ratio_that_is_not_positive_and_finite_is_refused(tmp_path: Path, ratio: float):
    with pytest.raises(ProfileError, match="finite number above zero"):
        load_profile(written(tmp_path)).with_upload_ratio(ratio)


# settings


def test_the_settings_hold_what_shapes_time_and_not_the_words(tmp_path: Path):
    plain = load_profile(written(tmp_path)).settings()
    renamed = load_profile(written(tmp_path, 'name = "two"', 'name = "deux"')).settings()
    respelt = load_profile(written(tmp_path, '"100 Mbit/s"', '"0.1 Gbps"')).settings()
    assert plain == renamed == respelt


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("100 Mbit/s", "101 Mbit/s"),
        ("10 Mbit/s", "11 Mbit/s"),
        ("40 ms", "41 ms"),
        ("2 ms", "3 ms"),
    ],
)
def test_the_settings_see_every_quantity(tmp_path: Path, old: str, new: str):
    plain = load_profile(written(tmp_path)).settings()
    assert load_profile(written(tmp_path, f'"{old}"', f'"{new}"')).settings() != plain


def test_the_settings_see_the_shares_and_the_upload_ratio(tmp_path: Path):
    assert of_shares(0.25, 0.75).settings() != of_shares(0.75, 0.25).settings()
    profile = load_profile(written(tmp_path))
    assert profile.with_upload_ratio(4).settings() != profile.settings()
    assert (
        load_profile("paper-200-20").with_upload_ratio(10).settings()
        == load_profile("paper-200-20").settings()
    )
