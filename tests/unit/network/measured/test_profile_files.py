"""Profiles of fits: they load as what was fitted, and simulated rounds take what the tests say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from made_speed_tests import (
    drawn,
    made,
    narrow_lognormal,
    three_kinds,
    wide_lognormal,
    with_absurd,
)
from networks import play
from stand_in_learners import FakeLearner

from floss_sim.errors import UnitError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.measured.fit_figures import figures_of
from floss_sim.network.measured.fitting import (
    LAWS,
    Fit,
    fit_classes,
    fit_law,
    fit_lognormal,
    fit_rows,
    fit_spread_classes,
)
from floss_sim.network.measured.profile_files import (
    is_rows_file,
    profile_text,
    rows_path,
    rows_text,
)
from floss_sim.network.measured.weighted_statistics import quantile


def text(fit: Fit, **changes: str) -> str:
    settings = {
        "name": "mine",
        "source": "us",
        "date": "2024",
        "fitted_on": "2025-01-02",
        "compute_per_example": "5 ms",
        "rows_file": "mine.rows.csv",
    }
    return profile_text(fit, **settings | changes)


def load(folder: Path, fit: Fit, **changes: str):
    """Write the profile of a fit, and its rows, and load it."""
    path = folder / "mine.toml"
    if fit.law == "rows":
        rows_path(path).write_text(rows_text(fit), encoding="utf-8")
    path.write_text(text(fit, **changes), encoding="utf-8")
    return load_profile(str(path))


# classes and lognormal laws


def test_a_written_profile_is_the_fit_bit_for_bit(tmp_path: Path):
    fit = fit_classes(drawn(), 7)
    profile = load(tmp_path, fit)
    assert (profile.name, profile.source, profile.date) == ("mine", "us", "2024")
    assert [group.share for group in profile.clients] == [each.share for each in fit.classes]
    assert [
        (link.down_bits_per_s, link.up_bits_per_s, link.rtt_s, link.compute_s_per_example)
        for link in profile.class_links()
    ] == [(each.down_bits_per_s, each.up_bits_per_s, each.rtt_s, 0.005) for each in fit.classes]


def test_a_written_lognormal_law_is_the_fit(tmp_path: Path):
    fit = fit_lognormal(drawn())
    assert len(fit.classes) == 1
    check_classes(load(tmp_path, fit, compute_per_example="7 ms"), fit)


def check_classes(profile: NetworkProfile, fit: Fit) -> None:
    """Check that a profile has the classes of a fit, spreads included."""
    for group, one in zip(profile.clients, fit.classes, strict=True):
        assert group.share == one.share
        assert (group.down.median, group.down.sigma) == (one.down_bits_per_s, one.down_sigma)
        assert (group.up.median, group.up.sigma) == (one.up_bits_per_s, one.up_sigma)
        assert (group.rtt.median, group.rtt.sigma) == (one.rtt_s, one.rtt_sigma)
        assert group.correlation == one.correlation
        assert (group.compute_per_example.median, group.compute_per_example.sigma) == (0.007, 0)


def test_written_classes_with_a_spread_are_the_fit(tmp_path: Path):
    fit = fit_spread_classes(drawn(), 3)
    check_classes(load(tmp_path, fit, compute_per_example="7 ms"), fit)
    text_ = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert "3 groups of equal weight; each class has medians, sigmas and correlation" in " ".join(
        text_.replace("# ", "").split()
    )
    equal = load(tmp_path, fit_spread_classes(made(np.full(30, 7.0)), 2))
    assert equal.draws == ()
    assert {group.down.sigma for group in equal.clients} == {0}


def test_extreme_numbers_survive_with_three_digits(tmp_path: Path):
    down = np.repeat([1.2345e-4, 0.98765, 12345.6], 10)
    fit = fit_classes(made(down, rtt=np.repeat([0.012345, 12.345, 98765.4], 10)), 3)
    links = load(tmp_path, fit).class_links()
    assert [link.down_bits_per_s for link in links] == pytest.approx([123, 988e3, 12.3e9], rel=1e-9)
    assert [link.rtt_s for link in links] == pytest.approx([12.3e-6, 12.3e-3, 98.8], rel=5e-3)


def test_the_header_says_what_was_read_and_what_is_assumed():
    columns = {"down": "dl_mbps", "up": "ul_mbps", "latency": "rtt_ms", "weight": "devices"}
    tests = made(range(1, 31), columns=columns, where=("rat=4G",), left_out=2)
    written = text(fit_classes(tests, 4), compute_per_example="7 ms")
    lines = [line for line in written.splitlines() if line.startswith("# ")]
    header = " ".join(line.removeprefix("# ") for line in lines)
    for said in (
        "2025-01-02", "30 speed tests", "made.csv with rat=4G", "weighted by devices",
        "dl_mbps in Mbps", "rtt_ms in ms", "2 rows were left out", "4 groups", "is an assumption",
        "10^6 bit/s", "The fit is bad: 4 classes cannot keep all figures within 10 %",
    ):  # fmt: skip
        assert said in header
    assert max(map(len, lines)) <= 100
    assert written.count('compute_per_example = "7 ms"') == 4


@pytest.mark.parametrize(
    "words", ['a "quoted" \\ text', "two\nlines", "dél\x7f\x01 \U0001f4f6", "\udcff"]
)
@pytest.mark.parametrize("law", LAWS)
def test_any_words_make_a_profile_that_loads(tmp_path: Path, words: str, law: str):
    tests = made(range(1, 31), source=f"{words}.csv", where=(f"a={words}",))
    profile = load(tmp_path, fit_law(tests, law), name=words, source=words, date=words)
    said = {"\udcff": "?", "\n": " ", "\x7f": " ", "\x01": " "}
    assert profile.name == profile.source == "".join(said.get(c, c) for c in words)


@pytest.mark.parametrize("law", LAWS)
def test_a_compute_time_without_a_unit_is_refused(law: str):
    with pytest.raises(UnitError, match="36 ms"):
        text(fit_law(made(range(1, 31)), law), compute_per_example="5")


# rows


def test_a_profile_of_rows_has_every_test_bit_for_bit(tmp_path: Path):
    tests = drawn()
    rows = load(tmp_path, fit_rows(tests), compute_per_example="7 ms").fleet.rows
    assert [link.down_bits_per_s for link in rows.links] == tests.down_bits_per_s.tolist()
    assert [link.up_bits_per_s for link in rows.links] == tests.up_bits_per_s.tolist()
    assert [link.rtt_s for link in rows.links] == tests.rtt_s.tolist()
    assert list(rows.weights) == tests.weights.tolist()
    assert {link.compute_s_per_example for link in rows.links} == {0.007}


def test_a_fleet_drawn_from_rows_has_the_quantiles_of_the_data(tmp_path: Path):
    tests = drawn()
    size = 20_000
    down = [link.down_bits_per_s for link in load(tmp_path, fit_rows(tests)).links(size)]
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        at = quantile(tests.down_bits_per_s, tests.weights, q)
        share = tests.weights[tests.down_bits_per_s <= at].sum() / tests.weights.sum()
        z = (np.mean(np.array(down) <= at) - share) / math.sqrt(share * (1 - share) / size)
        assert abs(z) < 4


def test_a_profile_of_rows_says_so_in_its_header():
    written = text(fit_rows(made(range(1, 31))))
    assert "# Each client draws one row by weight: its rates and round trip are" in written
    assert "groups of equal weight" not in written


def test_a_file_of_rows_is_told_from_other_files(tmp_path: Path):
    rows, other = tmp_path / "mine.rows.csv", tmp_path / "other.csv"
    assert rows_path(tmp_path / "mine.toml") == rows
    rows.write_text(rows_text(fit_rows(drawn())), encoding="utf-8")
    other.write_bytes(b"\xff\xfe\x00")
    assert is_rows_file(rows) is True
    assert is_rows_file(other) is False
    assert is_rows_file(tmp_path) is False
    assert is_rows_file(tmp_path / "none.csv") is False
    other.write_text("down_bits_per_s,up_bits_per_s,rtt_s,weight,mine\n1,1,1,1,1\n", "utf-8")
    assert is_rows_file(other) is False


# simulated rounds

ROUNDS = 300


@pytest.mark.parametrize(
    ("tests", "law"),
    [
        (wide_lognormal(), "rows"),
        (with_absurd(), "rows"),
        (narrow_lognormal(), "lognormal"),
        (three_kinds(), "spread-classes"),
        (made(np.repeat([10.0, 100.0], 20), rtt=np.repeat([40.0, 20.0], 20)), "classes"),
    ],
    ids=["wide", "absurd", "narrow", "kinds", "two groups"],
)
@pytest.mark.parametrize(("clients", "nbytes"), [(5, 50_000), (50, 5_000_000)])
def test_simulated_rounds_take_the_time_of_the_tests(tmp_path, tests, law, clients, nbytes):
    """The profile of the default fit, in the simulator, against the figures of the tests."""
    fit = fit_law(tests)
    assert fit.law == law
    profile = load(tmp_path, fit, compute_per_example="0 ms")
    links = profile.links(ROUNDS * clients)
    order = np.random.default_rng(0).permutation(len(links)).reshape(ROUNDS, clients)
    cohorts = {number + 1: cohort.tolist() for number, cohort in enumerate(order)}
    learner = FakeLearner(nbytes, nbytes)
    taken = [
        outcome.closed_at_s - outcome.opened_at_s
        for outcome in play(learner, profile, links, cohorts=cohorts, cohort=clients, rounds=ROUNDS)
    ]
    for percent, value in figures_of(tests.links)[
        f"round_{clients}_clients_{nbytes}_bytes_s"
    ].items():
        share = int(percent) / 100
        allowed = 4 * math.sqrt(share * (1 - share) / ROUNDS)
        assert np.mean(np.array(taken) < 0.9 * value) - allowed <= share
        assert np.mean(np.array(taken) <= 1.1 * value) + allowed >= share
