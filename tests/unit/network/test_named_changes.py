"""Named changes of a profile."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from networks import DRAWN, write_rows

from floss_sim import load_profile
from floss_sim.errors import ProfileError, UnitError
from floss_sim.families.operations import Operations
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.network.named_changes import CHANGES, profile_of_name, with_change, with_changes

SAMPLES = {
    "down": "100Mbit/s",
    "up": "10 Mbit/s",
    "rtt": "50ms",
    "upload-ratio": "16",
    "scale-down": "0.5",
    "scale-up": "4",
    "scale-compute": "2",
    "server-egress": "1 Gbit/s",
    "server-ingress": "100Mbit/s",
    "first-download": "88MB",
}

TRACED = """
name = "traced"
source = "made"
date = "2026"
[[clients]]
share = 1.0
down = "8 Mbit/s"
up_trace = { file = "up.csv", at_end = "repeat" }
rtt = "20 ms"
compute_per_example = "1 ms"
"""


def test_a_change_reaches_every_client_class_and_nothing_else():
    lte = load_profile("lte")
    after = with_change(lte, "rtt", "50ms")
    assert after.name == "lte, rtt 50ms"
    assert after.server == lte.server
    for before, now in zip(lte.class_links(), after.class_links(), strict=True):
        assert now == replace(before, rtt_s=0.05)


def test_the_servers_capacity_is_changed_alone():
    lte = load_profile("lte")
    after = with_change(lte, "server-ingress", "100Mbit/s")
    assert (after.server.egress, after.server.ingress) == (math.inf, 100e6)
    assert after.class_links() == lte.class_links()
    assert after.settings() != lte.settings()


def test_several_values_change_together():
    lte = load_profile("lte")
    after = lte.with_changes("all", egress=1e9, ingress=1e8, down=2e8, up=2e7, first_download=5)
    assert (after.server.egress, after.server.ingress) == (1e9, 1e8)
    assert {(k.down_bits_per_s, k.up_bits_per_s) for k in after.links(4)} == {(2e8, 2e7)}
    assert after.first_download == 5


def test_rates_and_ratio():
    lte = load_profile("lte")
    down = with_change(lte, "down", "100Mbit/s").class_links()
    assert {link.down_bits_per_s for link in down} == {100e6}
    up = with_change(lte, "up", "1 Gbit/s").class_links()
    assert {link.up_bits_per_s for link in up} == {1e9}
    ratio = with_change(lte, "upload-ratio", "16").class_links()
    assert [k.down_bits_per_s / k.up_bits_per_s for k in ratio] == pytest.approx([16] * 10)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_profile_is_read_back_from_its_name(name: str):
    after = with_change(load_profile("lte"), name, SAMPLES[name])
    assert profile_of_name(after.name) == after


def test_a_run_on_an_upload_ratio_is_named_alike():
    assert profile_of_name("lte, upload ratio 16") == load_profile("lte").with_upload_ratio(16)


def test_a_ratio_follows_the_new_down_rate_whatever_the_order_of_asking():
    lte = load_profile("lte")
    wanted = {"upload-ratio": "10", "down": "100Mbit/s", "rtt": "0ms"}
    after = with_changes(lte, wanted)
    links = {(k.down_bits_per_s, k.up_bits_per_s, k.rtt_s) for k in after.class_links()}
    assert links == {(100e6, 10e6, 0)}
    assert after == with_changes(lte, dict(reversed(wanted.items())))
    assert profile_of_name(after.name) == after
    assert with_changes(lte, {}) == lte


def test_an_up_rate_replaces_an_earlier_ratio_and_a_ratio_an_earlier_up_rate():
    lte = load_profile("lte")
    after = with_change(with_change(lte, "upload-ratio", "16"), "up", "1Mbit/s")
    assert {link.up_bits_per_s for link in after.class_links()} == {1e6}
    again = with_change(after, "upload-ratio", "4")
    assert all(k.up_bits_per_s == k.down_bits_per_s / 4 for k in again.class_links())


def test_a_ratio_is_named_to_its_last_digit():
    odd = load_profile("paper-200-20").with_upload_ratio(200 / 15.7)
    assert profile_of_name(odd.name).class_links() == odd.class_links()


@pytest.mark.parametrize(
    ("name", "text", "error", "says"),
    [
        ("speed", "1", ProfileError, "unknown change 'speed'; valid: down, up, rtt, upload-ratio"),
        ("down", "5 apples", UnitError, "down: rate '5apples' has unit 'apples'"),
        ("up", "0Mbit/s", UnitError, "above zero"),
        ("rtt", "-1ms", UnitError, "rtt: duration '-1ms' must not be negative"),
        ("rtt", "50", UnitError, "not a number with a unit"),
        ("upload-ratio", "many", ProfileError, "upload-ratio: 'many' is not a number"),
        ("upload-ratio", "nan", ProfileError, "above zero"),
        ("upload-ratio", "0", ProfileError, "above zero"),
        ("upload-ratio", "1e300", ProfileError, "out of range; valid: 1e-09 to 1e+09"),
        ("up", "1e-300bit/s", UnitError, "out of range; valid: 0.001 to 1e+18 bit/s"),
        ("rtt", "1e300s", UnitError, "too long; valid: at most 1e+18 s"),
        ("first-download", "1e290B", UnitError, "too large; valid: at most 1000000 TB"),
        ("first-download", "1e16B", ProfileError, "too large; valid: at most 1000 TB"),
    ],
)
def test_bad_changes_are_named(name, text, error, says):
    with pytest.raises(error) as caught:
        with_change(load_profile("lte"), name, text)
    assert says in str(caught.value)


def test_two_changes_of_the_same_rates_are_refused():
    with pytest.raises(ProfileError, match="both set the up rates"):
        with_changes(load_profile("lte"), {"up": "1Mbit/s", "upload-ratio": "4"})


@pytest.mark.parametrize("name", ["dialup", "lte, tea 5", "lte,", "", "lte, "])
def test_a_name_that_says_no_profile_is_refused(name: str):
    with pytest.raises(ProfileError):
        profile_of_name(name)


@pytest.mark.parametrize("name", ["lte", "mobile-mixed", "drawn", "rows", "traced"])
def test_factors_keep_the_spread_of_classes_laws_rows_and_traces(name: str, tmp_path: Path):
    texts = {"drawn": DRAWN, "traced": TRACED}
    path = tmp_path / f"{name}.toml"
    (tmp_path / "up.csv").write_text("seconds,kbit/s\n0,1000\n10,5000\n", encoding="utf-8")
    if name == "rows":
        path = write_rows(tmp_path, 3)
    elif name in texts:
        path.write_text(texts[name], encoding="utf-8")
    before = load_profile(str(path) if path.exists() else name)
    after = with_changes(before, {"scale-up": "4", "scale-down": "0.5"})
    assert after.name == f"{before.name}, scale down 0.5, scale up 4"
    assert after.draws == before.draws
    for one, other in zip(before.links(40), after.links(40), strict=True):
        assert other.down_bits_per_s == 0.5 * one.down_bits_per_s
        assert other.up_bits_per_s == 4 * one.up_bits_per_s
        assert (other.rtt_s, other.compute_s_per_example) == (one.rtt_s, one.compute_s_per_example)
        if one.up_trace:
            assert other.up_trace.bits_per_s == tuple(4 * rate for rate in one.up_trace.bits_per_s)
            assert other.up_trace.starts_s == one.up_trace.starts_s
    means = zip(before.mean_rates(40), after.mean_rates(40), (0.5, 4), strict=True)
    assert all(now == pytest.approx(factor * was) for was, now, factor in means)


def test_a_factor_of_compute_changes_seconds_of_examples_and_of_devices():
    for name in ("lte", "phone-wifi"):
        before = load_profile(name)
        once = with_change(before, "scale-compute", "2")
        twice = with_change(once, "scale-compute", "0.25")
        assert profile_of_name(twice.name) == twice
        work = LocalWork(Operations(1e9, 2e9, 0.0), 16, 1)
        for factor, after in ((2, once), (0.5, twice)):
            for one, other in zip(before.links(5), after.links(5), strict=True):
                assert other.compute_s(30, work) == pytest.approx(factor * one.compute_s(30, work))
                assert other == one.with_compute_factor(factor)


def test_factors_multiply_and_give_way_to_a_later_rate():
    paper = load_profile("paper-200-20")

    def rates(*changes: tuple[str, str]) -> tuple[float, float]:
        profile = paper
        for name, text in changes:
            profile = with_change(profile, name, text)
        link = profile.links(1)[0]
        assert profile_of_name(profile.name) == profile
        return link.down_bits_per_s, link.up_bits_per_s

    assert rates(("scale-up", "4"), ("scale-up", "0.5")) == (200e6, 40e6)
    assert rates(("scale-up", "4"), ("up", "10Mbit/s")) == (200e6, 10e6)
    assert rates(("up", "10Mbit/s"), ("scale-up", "4")) == (200e6, 40e6)
    assert rates(("scale-down", "0.5"), ("upload-ratio", "10")) == (100e6, 10e6)
    assert rates(("upload-ratio", "10"), ("scale-down", "0.5")) == (100e6, 20e6)
    assert rates(("scale-down", "0.5"), ("down", "50Mbit/s")) == (50e6, 20e6)


def test_a_profile_without_factors_keeps_its_fingerprint(tmp_path: Path):
    (tmp_path / "drawn.toml").write_text(DRAWN, encoding="utf-8")
    profile = with_change(load_profile(str(tmp_path / "drawn.toml")), "rtt", "50ms")
    changes = {"down": None, "up": None, "upload_ratio": None, "rtt": 0.05}
    assert profile.settings()["clients"][-1] == changes


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e7", "four", ""])
def test_factors_that_are_none_are_refused(text: str):
    with pytest.raises(ProfileError, match=r"scale-up: .*(out of range|not a number)"):
        with_change(load_profile("lte"), "scale-up", text)
