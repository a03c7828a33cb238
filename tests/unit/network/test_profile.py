from __future__ import annotations

import copy
import json
import math
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

import network_profiles
from floss_sim.errors import ConfigError, ProfileError
from floss_sim.network import ClientLink, NetworkProfile, load_profile, packaged_profiles

PROFILE = """\
name = "two"
source = "nobody"
date = "2024"
class_order = "by-number"

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
        {"name": "n", "source": "s", "date": "d", "class_order": "by-number", "clients": groups}
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
    lte = load_profile("lte")
    places = [0, 3, 5, 7, 10]  # where a quarter's classes begin
    quarters = [slice(*ends) for ends in pairwise(places)]
    assert [sum(g.share for g in lte.clients[each]) for each in quarters] == pytest.approx(
        [0.25] * 4, abs=1e-5
    )
    downs = [max(g.down.median for g in lte.clients[each]) for each in quarters]
    assert sorted(downs) == downs


@pytest.mark.parametrize("name", packaged_profiles())
def test_every_shipped_profile_loads_under_its_name_and_states_its_source(name: str):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.source
    assert profile.date


@pytest.mark.parametrize("name", packaged_profiles())
def test_every_shipped_profile_is_plausible_and_says_what_is_assumed(name: str):
    for group in load_profile(name).clients:
        assert 2e5 <= group.up.median <= 2 * group.down.median <= 2e9
        assert 0 <= group.rtt.median <= 0.7
        assert group.compute or 0 <= group.compute_per_example.median <= 0.01
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
    assert [g.rtt.median for g in wifi] == pytest.approx([g.rtt.median + 0.020 for g in broadband])
    at_home = mixed[-len(wifi) :]
    assert [(g.down, g.up, g.rtt) for g in at_home] == [(g.down, g.up, g.rtt) for g in wifi]
    assert [g.share for g in at_home] == pytest.approx([0.62 * g.share for g in wifi])
    parts = [load_profile("lte").clients, load_profile("3g").clients]
    mobile = mixed[: -len(wifi)]
    figures = [(g.down, g.up, g.rtt, g.correlation) for part in parts for g in part]
    assert [(g.down, g.up, g.rtt, g.correlation) for g in mobile] == figures
    shares = [0.38 * tests * g.share for part, tests in zip(parts, (0.909, 0.091), strict=True)
              for g in part]  # fmt: skip
    assert [g.share for g in mobile] == pytest.approx(shares, abs=1e-5)
    assert [g.up for g in load_profile("5g").clients] == [g.up for g in parts[0]]


def test_the_names_of_what_ships_are_sorted_and_known():
    assert set(packaged_profiles()) == {
        "3g", "5g", "broadband", "cable", "lte", "mobile-mixed", "paper-200-20", "phone-wifi",
        "satellite", "wifi",
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
    assert refusal(path).startswith(f"{path}: {key}: missing; valid: a value such as")


@pytest.mark.parametrize("key", ["share", "rtt"])
def test_a_missing_class_key_is_refused_by_class_and_name(tmp_path: Path, key: str):
    line = next(line for line in PROFILE.splitlines(keepends=True) if line.startswith(key))
    path = written(tmp_path, line, "")
    assert refusal(path).startswith(f"{path}: clients.0.{key}: missing; valid: ")


def test_a_class_without_a_time_of_compute_is_refused(tmp_path: Path):
    lines = PROFILE.splitlines(keepends=True)
    path = written(tmp_path, next(k for k in lines if k.startswith("compute_per_example")), "")
    assert refusal(path).startswith(f"{path}: clients.0: compute_per_example: give it, such as")


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


@pytest.mark.parametrize("name", packaged_profiles())
def test_the_settings_are_those_that_a_run_folder_stores(name: str):
    """A run under a policy is continued only if its stored settings, as JSON, are the same."""
    profile = load_profile(name)
    settings = profile.settings()
    assert json.loads(json.dumps(settings)) == settings
    ratios = [json.dumps(profile.with_upload_ratio(ratio).settings()) for ratio in (16, 16.0)]
    assert ratios[0] == ratios[1]


def test_the_settings_see_the_shares_and_the_upload_ratio(tmp_path: Path):
    assert of_shares(0.25, 0.75).settings() != of_shares(0.75, 0.25).settings()
    profile = load_profile(written(tmp_path))
    assert profile.with_upload_ratio(4).settings() != profile.settings()
    assert (
        load_profile("paper-200-20").with_upload_ratio(10).settings()
        == load_profile("paper-200-20").settings()
    )


# sections

SECTIONS = """
[server]
egress = "1 Gbit/s"
ingress = "25 MB/s"

[cells]
count = 4
down = "150 Mbit/s"
up = "50 Mbit/s"

[transport]
framing = "grpc"
headers = "ipv6"

[availability]
on = "8 h"
off = "1 d"
swing = 0.5
peak_hour = 3
start_hour = 22.5

[energy]
joules_per_mb_down = 2
joules_per_mb_up = 5.5
compute_watts = 3

[prices]
currency = "EUR"
per_gb_down = 0.01
per_gb_up = 0.02
per_joule = 1e-7
"""
LAW = """
[fleet]
law = "lognormal"
down = { median = "20 Mbit/s", sigma = 0.8 }
up = { median = "5 Mbit/s" }
rtt = { median = "50 ms" }
compute_per_example = { median = "2 ms" }
"""
TABLE = """
[fleet]
law = "table"
file = "rows.csv"
"""
HEAD = 'name = "n"\nsource = "s"\ndate = "d"\n'
FIRST = 'first_download = "88 MB"\n'
CLASS = PROFILE[PROFILE.index("[[clients]]", 99) :].replace("0.75", "1.0")
ROWS = "down_bits_per_s,up_bits_per_s,rtt_s,compute_s_per_example"


def loaded(folder: Path, text: str, head: str = HEAD, **files: str) -> NetworkProfile:
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    path = folder / "whole.toml"
    path.write_text(head + text, encoding="utf-8")
    return load_profile(str(path))


def test_every_section_is_read_in_plain_units(tmp_path: Path):
    profile = loaded(tmp_path, CLASS + SECTIONS, HEAD + FIRST)
    assert profile.first_download == 88_000_000
    assert (profile.server.egress, profile.server.ingress) == (1e9, 200e6)
    assert profile.capacities("down") == (1e9, (150e6,) * 4)
    assert profile.capacities("up") == (200e6, (50e6,) * 4)
    assert (profile.transport.framing, profile.transport.headers) == ("grpc", "ipv6")
    law = profile.availability.law()
    assert (law.on_s, law.off_s, law.swing) == (28_800, 86_400, 0.5)
    assert (law.peak_hour, law.start_hour) == (3, 22.5)
    energy, prices = profile.energy, profile.prices
    assert (energy.joules_per_mb_down, energy.joules_per_mb_up, energy.compute_watts) == (2, 5.5, 3)
    assert (prices.currency, prices.per_gb_down, prices.per_gb_up) == ("EUR", 0.01, 0.02)
    assert prices.per_joule == 1e-7


def test_without_sections_nothing_is_shared_or_limited(tmp_path: Path):
    profile = loaded(tmp_path, CLASS)
    assert profile.capacities("down") == profile.capacities("up") == (math.inf, ())
    assert (profile.first_download, profile.availability, profile.prices) == (0, None, None)


def test_a_profile_is_copied_with_its_changes(tmp_path: Path):
    rows = f"{ROWS}\n1e6,1e5,0.1,0\n"
    profile = loaded(tmp_path, TABLE, rows=rows).with_changes("x", up=7.0)
    again = copy.deepcopy(profile)
    assert again == profile
    assert again.links(1)[0] == profile.links(1)[0] == ClientLink(1e6, 7.0, 0.1, 0.0)


# changes


@pytest.mark.parametrize("text", [CLASS, LAW, TABLE])
def test_a_change_is_every_clients_whatever_the_fleet(tmp_path: Path, text: str):
    profile = loaded(tmp_path, text, rows=f"{ROWS}\n1e6,1e5,0.1,0\n2e6,2e5,0.1,0\n")
    before = profile.links(2)[:]
    after = profile.with_changes("x", down=6e6, rtt=0.5).links(2)[:]
    assert [(k.down_bits_per_s, k.rtt_s) for k in after] == [(6e6, 0.5)] * 2
    assert [k.up_bits_per_s for k in after] == [k.up_bits_per_s for k in before]
    ratio = profile.with_upload_ratio(8).links(2)[:]
    assert [k.up_bits_per_s for k in ratio] == [k.down_bits_per_s / 8 for k in before]


def test_several_changes_at_once_are_those_changes_one_by_one(tmp_path: Path):
    profile = loaded(tmp_path, CLASS)
    asked = {"down": 6e6, "up": 3e6, "rtt": 0.5, "egress": 1e9, "ingress": 2e9}
    asked["first_download"] = 5
    at_once, one_by_one = profile.with_changes("x", **asked), profile
    for key, value in asked.items():
        one_by_one = one_by_one.with_changes(key, **{key: value})
    assert at_once.settings() == one_by_one.settings()
    assert at_once.links(1)[0] == ClientLink(6e6, 3e6, 0.5, 0.5)
    assert (at_once.server.egress, at_once.server.ingress) == (1e9, 2e9)
    assert (at_once.first_download, at_once.name) == (5, "n, x")
    assert profile.links(1)[0] == SLOW


def test_a_rate_that_is_set_takes_the_place_of_a_trace(tmp_path: Path):
    traced = CLASS.replace('down = "1 MB/s"', 'down_trace = { file = "t.csv" }')
    profile = loaded(tmp_path, traced, t="seconds,Mbit/s\n0,1\n1,3\n")
    assert profile.links(1)[0].down_bits_per_s == 2e6
    link = profile.with_changes("x", down=9e6).links(1)[0]
    assert (link.down_trace, link.down_bits_per_s) == (None, 9e6)
    assert profile.with_changes("x", up=9e6).links(1)[0].down_trace is not None
    assert profile.with_upload_ratio(2).links(1)[0].up_bits_per_s == 1e6


# what shapes time, and training

TIMED = {
    "egress": ('egress = "1 Gbit/s"', 'egress = "2 Gbit/s"'),
    "ingress": ('ingress = "25 MB/s"', ""),
    "cells": ("count = 4", "count = 5"),
    "cell down": ('down = "150 Mbit/s"', ""),
    "cell up": ('up = "50 Mbit/s"', 'up = "51 Mbit/s"'),
    "framing": ('framing = "grpc"', ""),
    "headers": ('"ipv6"', '"ipv4"'),
    "on": ('on = "8 h"', 'on = "9 h"'),
    "swing": ("swing = 0.5", "swing = 0.4"),
    "start": ("start_hour = 22.5", ""),
    "first download": (FIRST, ""),
    "seed": (FIRST, f"{FIRST}seed = 1\n"),
    "jitter": ("rtt =", 'jitter = "1 ms"\nrtt ='),
    "loss": ("rtt =", "loss = 0.1\nrtt ="),
    "dropout": ("rtt =", "dropout = 0.1\nrtt ="),
    "trace": ('down = "1 MB/s"', 'down_trace = { file = "t.csv" }'),
}
UNTIMED = {
    "name": ('name = "n"', 'name = "m"'),
    "source": ('source = "s"', 'source = "t"'),
    "date": ('date = "d"', 'date = "e"'),
    "energy": ("compute_watts = 3", "compute_watts = 4"),
    "prices": ("per_gb_up = 0.02", "per_gb_up = 0.03"),
    "currency": ('"EUR"', '"USD"'),
    "units": ('"1 Gbit/s"', '"1000 Mbit/s"'),
    "a default said": ('headers = "ipv6"', 'headers = "ipv6"\ntls = false'),
}


@pytest.mark.parametrize("what", [*TIMED, *UNTIMED])
def test_the_settings_change_where_simulated_time_can_and_only_there(tmp_path: Path, what: str):
    whole = HEAD + FIRST + CLASS + SECTIONS
    old, new = (TIMED | UNTIMED)[what]
    assert old in whole
    trace = "seconds,Mbit/s\n0,8\n1,8\n"
    before = loaded(tmp_path, whole, "", t=trace).settings()
    after = loaded(tmp_path, whole.replace(old, new, 1), "", t=trace).settings()
    assert json.loads(json.dumps(before)) == before
    assert (before != after) is (what in TIMED)


def test_the_settings_see_what_a_trace_holds_and_not_what_it_is_called(tmp_path: Path):
    traced = CLASS.replace('down = "1 MB/s"', 'down_trace = { file = "t.csv" }')
    trace = "seconds,Mbit/s\n0,1\n1,3\n"
    settings = loaded(tmp_path, traced, t=trace).settings()
    named = traced.replace("t.csv", "other.csv")
    assert loaded(tmp_path, named, other=trace).settings() == settings
    for other in (trace.replace("3", "4"), trace.replace("\n1,", "\n2,")):
        assert loaded(tmp_path, traced, t=other).settings() != settings
    held = traced.replace('"t.csv"', '"t.csv", at_end = "hold"')
    assert loaded(tmp_path, held, t=trace).settings() != settings
    random = f'{traced}trace_start = "random"\n'
    assert loaded(tmp_path, random, t=trace).settings() != settings


@pytest.mark.parametrize("law", ["rows", "table"])
def test_the_settings_see_every_row_and_not_the_files_name(tmp_path: Path, law: str):
    table = TABLE.replace('"table"', f'"{law}"') + "[cells]\ncount = 2\n"
    rows = f"{ROWS},weight\n1e6,1e5,0.1,0,1\n2e6,1e5,0.1,0,3\n"
    settings = loaded(tmp_path, table, rows=rows).settings()
    renamed = loaded(tmp_path, table.replace("rows.csv", "more.csv"), more=rows)
    assert renamed.settings() == settings
    found = [settings]
    for old, new in (("2e6", "3e6"), ("0.1", "0.2"), (",3", ",4"), ("weight", "cell")):
        text = rows.replace(",3", ",0").replace(",1\n", ",0\n") if new == "cell" else rows
        found.append(loaded(tmp_path, table, rows=text.replace(old, new)).settings())
    found.append(loaded(tmp_path, table, rows=rows).with_changes("x", rtt=0.7).settings())
    assert len({json.dumps(one) for one in found}) == 6


def test_the_settings_see_every_number_of_a_law_and_its_changes(tmp_path: Path):
    found = [
        loaded(tmp_path, LAW).settings(),
        loaded(tmp_path, LAW).with_upload_ratio(2).settings(),
    ]
    for old, new in (("20 Mbit/s", "21 Mbit/s"), ("0.8", "0.7"), ("50 ms", "51 ms")):
        found.append(loaded(tmp_path, LAW.replace(old, new)).settings())
    found.append(loaded(tmp_path, f"{LAW}correlation = 0.1\n").settings())
    assert len({json.dumps(one) for one in found}) == 6


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (CLASS, False),
        (CLASS + SECTIONS.split("[availability]")[0], False),
        (CLASS.replace("rtt =", 'jitter = "1 s"\nloss = 0.5\nrtt ='), False),
        (CLASS + '[availability]\non = "1 h"\noff = "1 s"\n', True),
        (CLASS.replace("rtt =", "dropout = 0.001\nrtt ="), True),
        (CLASS.replace("rtt =", "dropout = 0\nrtt ="), False),
        (LAW, False),
        (f"{LAW}dropout = 0.001\n", True),
        (TABLE, False),
        (TABLE.replace("rows.csv", "lost.csv"), True),
    ],
)
def test_only_lost_or_absent_clients_shape_training(tmp_path: Path, text: str, shapes: bool):
    rows = f"{ROWS},dropout\n1e6,1e5,0.1,0,0\n1e6,1e5,0.1,0,0\n"
    profile = loaded(tmp_path, text, rows=rows, lost=rows.replace("0,0\n", "0,0.1\n"))
    assert profile.shapes_training is shapes


@pytest.mark.parametrize("name", packaged_profiles())
@pytest.mark.parametrize("rtt", [None, 0.0, 0.05])
def test_seconds_are_traffic_alone_where_no_link_has_a_round_trip_or_compute(
    name: str, rtt: float | None
):
    profile = load_profile(name)
    profile = profile if rtt is None else profile.with_changes("", rtt=rtt)
    links = list(profile.links(50))
    assert profile.is_traffic_alone is all(
        link.rtt_s == link.compute_s_per_example == 0 and not link.device for link in links
    )
    assert profile.is_traffic_alone or name != "paper-200-20" or rtt


def test_seconds_of_fleets_by_law_or_rows_are_traffic_alone_where_all_of_them_are(tmp_path: Path):
    rows = f"{ROWS}\n1e6,1e5,0,0\n2e6,3e5,{{}},0\n"
    assert loaded(tmp_path, TABLE, rows=rows.format("0")).is_traffic_alone
    assert not loaded(tmp_path, TABLE, rows=rows.format("0.1")).is_traffic_alone
    assert not loaded(tmp_path, LAW).is_traffic_alone
    nothing = re.sub(r"(rtt|compute_per_example) = [^\n]*", r'\1 = "0 s"', LAW)
    assert loaded(tmp_path, nothing).is_traffic_alone


def test_mean_rates_are_by_shares_by_row_or_by_law(tmp_path: Path):
    classes = load_profile(written(tmp_path))
    down, up = 0.25 * 100e6 + 0.75 * 8e6, 0.25 * 10e6 + 0.75 * 0.5e6
    assert classes.mean_rates(1) == classes.mean_rates(10**9) == pytest.approx((down, up))
    assert classes.with_upload_ratio(4).mean_rates(9) == pytest.approx((down, down / 4))
    rows = f"{ROWS}\n1e6,1e5,0.1,0\n2e6,3e5,0.1,0\n9e6,9e5,0.1,0\n"
    table = loaded(tmp_path, TABLE, rows=rows)
    assert table.mean_rates(2) == pytest.approx((1.5e6, 2e5))
    clients = 20_000
    down, up = loaded(tmp_path, LAW).mean_rates(clients)
    mean = 20e6 * math.exp(0.8**2 / 2)
    spread = mean * math.sqrt(math.exp(0.8**2) - 1)
    assert abs(down - mean) < 4 * spread / math.sqrt(clients)
    assert up == pytest.approx(5e6)
