"""Classes fitted to speed tests: exact on known groups, and honest about what they lose."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from floss_sim.errors import UnitError
from floss_sim.network import load_profile
from floss_sim.network.measured.fitting import (
    Fit,
    distribution,
    fit_classes,
    fit_rows,
    kolmogorov_smirnov,
    quantile,
    rank_correlation,
    report,
)
from floss_sim.network.measured.profile_files import profile_text, rows_text
from floss_sim.network.measured.speed_tests import SpeedTests


def made(down, up=None, rtt=None, weights=None, **changes) -> SpeedTests:
    """Return speed tests in Mbit/s and ms; uploads are a tenth, round trips 30 ms."""
    down = np.asarray(down, float)
    settings = {
        "source": "made.csv",
        "columns": {"down": "d", "up": "u", "latency": "l"},
        "units": {"down": "Mbps", "up": "Mbps", "latency": "ms"},
        "where": (),
        "down_bits_per_s": down * 1e6,
        "up_bits_per_s": (down / 10 if up is None else np.asarray(up, float)) * 1e6,
        "rtt_s": (np.full(down.size, 30.0) if rtt is None else np.asarray(rtt, float)) / 1e3,
        "weights": np.ones(down.size) if weights is None else np.asarray(weights, float),
        "left_out": 0,
        "filtered": 0,
    }
    return SpeedTests(**settings | changes)


def text(fit: Fit, **changes) -> str:
    settings = {
        "name": "mine",
        "source": "us",
        "date": "2024",
        "fitted_on": "2025-01-02",
        "compute_per_example": "5 ms",
        "rows_file": "mine.csv",
    }
    return profile_text(fit, **settings | changes)


def drawn(rows: int = 500) -> SpeedTests:
    """Return log-normal tests whose directions go together, with uneven weights."""
    draw = np.random.default_rng(0)
    base = draw.normal(size=rows)
    return made(
        np.exp(3 + base),
        up=np.exp(1 + 0.6 * base + 0.8 * draw.normal(size=rows)),
        rtt=np.exp(4 - 0.2 * base + 0.5 * draw.normal(size=rows)),
        weights=draw.integers(1, 9, rows),
    )


# the fit


def test_known_groups_are_found_exactly_and_directions_stay_together():
    down = np.repeat([1.0, 10.0, 100.0, 1000.0], 10)
    up = np.repeat([8.0, 4.0, 2.0, 1.0], 10)
    rtt = np.repeat([90.0, 20.0, 50.0, 10.0], 10)
    order = np.random.default_rng(1).permutation(40)
    fit = fit_classes(made(down[order], up[order], rtt[order]), 4)
    assert fit.shares.tolist() == [0.25] * 4
    assert fit.down_bits_per_s == pytest.approx([1e6, 1e7, 1e8, 1e9])
    assert fit.up_bits_per_s == pytest.approx([8e6, 4e6, 2e6, 1e6])
    assert fit.rtt_s == pytest.approx([0.09, 0.02, 0.05, 0.01])


def test_a_class_is_the_medians_of_its_rows():
    down, up = np.arange(1, 21), np.arange(20, 0, -1)
    fit = fit_classes(made(down, up), 2)
    assert fit.down_bits_per_s == pytest.approx([5.5e6, 15.5e6])
    assert fit.up_bits_per_s == pytest.approx([15.5e6, 5.5e6])


def test_a_weight_counts_as_so_many_rows():
    weights = [3, 1, 2, 5, 1, 4, 2, 2, 1, 3]
    weighted = made(range(1, 11), rtt=range(20, 10, -1), weights=weights)
    repeated = made(np.repeat(range(1, 11), weights), rtt=np.repeat(range(20, 10, -1), weights))
    for classes in (1, 2, 3, 4, 8):
        a, b = fit_classes(weighted, classes), fit_classes(repeated, classes)
        assert a.down_bits_per_s.tolist() == b.down_bits_per_s.tolist()
        assert a.rtt_s.tolist() == b.rtt_s.tolist()


def test_the_scale_of_the_weights_does_not_matter():
    tests = drawn()
    thousandth = made(
        tests.down_bits_per_s / 1e6, tests.up_bits_per_s / 1e6, tests.rtt_s * 1e3,
        tests.weights / 1000,
    )  # fmt: skip
    a, b = fit_classes(tests, 5), fit_classes(thousandth, 5)
    assert a.down_bits_per_s.tolist() == b.down_bits_per_s.tolist()


def test_a_row_heavier_than_a_class_fills_several():
    fit = fit_classes(made([1, 2, 3], weights=[1, 18, 1]), 4)
    assert fit.down_bits_per_s.tolist() == [2e6] * 4


@pytest.mark.parametrize("classes", [1, 2, 3, 6, 7, 9, 64, 100])
def test_shares_are_equal_and_add_up_to_one(classes: int):
    fit = fit_classes(drawn(), classes)
    assert math.isclose(fit.shares.sum(), 1, abs_tol=1e-12)
    assert fit.shares == pytest.approx(1 / classes, abs=2e-3)
    assert sorted(fit.down_bits_per_s) == fit.down_bits_per_s.tolist()


# statistics


@pytest.mark.parametrize("size", [1, 2, 5, 20, 101])
@pytest.mark.parametrize("q", [0.05, 0.25, 0.5, 0.9, 0.95])
def test_quantiles_of_equal_weights_are_numpys(size: int, q: float):
    values = np.random.default_rng(size).normal(size=size)
    expected = np.quantile(values, q, method="averaged_inverted_cdf")
    assert quantile(values, np.ones(size), q) == pytest.approx(expected, rel=1e-12)
    assert quantile(values, np.full(size, 0.1), q) == pytest.approx(expected, rel=1e-12)


def test_the_distance_of_distributions_is_that_of_a_brute_force():
    draw = np.random.default_rng(3)
    for _ in range(20):
        a, b = draw.integers(0, 9, 12).astype(float), draw.integers(0, 9, 5).astype(float)
        wa, wb = draw.random(12) + 0.1, draw.random(5) + 0.1
        brute = max(
            abs(wa[a <= x].sum() / wa.sum() - wb[b <= x].sum() / wb.sum()) for x in range(9)
        )
        assert kolmogorov_smirnov(a, wa, b, wb) == pytest.approx(brute, abs=1e-12)
    assert kolmogorov_smirnov(a, wa, a, 3 * wa) == pytest.approx(0, abs=1e-12)
    assert kolmogorov_smirnov(a, wa, a + 100, wa) == pytest.approx(1)


def test_the_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    draw = np.random.default_rng(4)
    x = draw.integers(0, 20, 60).astype(float)
    y = x + draw.integers(0, 30, 60)
    weights = draw.integers(1, 5, 60)
    expected = spearmanr(np.repeat(x, weights), np.repeat(y, weights)).statistic
    assert rank_correlation(x, y, weights) == pytest.approx(expected, rel=1e-9)
    assert rank_correlation(x, np.exp(x), np.ones(60)) == pytest.approx(1)
    assert rank_correlation(x, -x, np.ones(60)) == pytest.approx(-1)
    assert rank_correlation(x, np.ones(60), np.ones(60)) is None
    assert rank_correlation(x[:1], x[:1], np.ones(1)) is None


def test_a_distribution_joins_equal_values():
    values, shares = distribution(np.array([2.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0]))
    assert (values.tolist(), shares.tolist()) == ([1.0, 2.0], [0.5, 1.0])


# the report


def test_the_report_puts_percentiles_of_data_and_fit_side_by_side():
    tests = made(np.arange(1, 101), left_out=3, filtered=7)
    found = report(fit_classes(tests, 4))
    assert (found["rows_used"], found["rows_left_out"], found["rows_filtered"]) == (100, 3, 7)
    down = found["percentiles"]["down_bits_per_s"]
    assert down["data"] == pytest.approx({"5": 5.5e6, "50": 50.5e6, "95": 95.5e6})
    assert down["fit"] == pytest.approx({"5": 13e6, "50": 50.5e6, "95": 88e6})
    ratio = found["percentiles"]["down_up_ratio"]
    assert ratio["data"] == pytest.approx({"5": 10, "50": 10, "95": 10})
    assert found["rank_correlation"] == pytest.approx({"data": 1, "fit": 1})
    assert len(found["classes"]) == 4


@pytest.mark.parametrize("classes", [1, 2, 4, 10])
def test_the_distances_are_never_below_half_a_class(classes: int):
    found = report(fit_classes(drawn(), classes))
    assert found["ks_down"] == pytest.approx(1 / (2 * classes), abs=0.02)
    assert found["ks_up"] >= 1 / (2 * classes) - 1e-9


def test_more_classes_lose_less():
    losses = [report(fit_classes(drawn(), classes))["ks_down"] for classes in (1, 2, 4, 8, 16)]
    assert losses == sorted(losses, reverse=True)


# the profile


def test_a_written_profile_is_the_fit_bit_for_bit(tmp_path: Path):
    fit = fit_classes(drawn(), 7)
    path = tmp_path / "mine.toml"
    path.write_text(text(fit), encoding="utf-8")
    profile = load_profile(str(path))
    assert (profile.name, profile.source, profile.date) == ("mine", "us", "2024")
    assert [group.share for group in profile.clients] == fit.shares.tolist()
    assert [group.down.median for group in profile.clients] == fit.down_bits_per_s.tolist()
    assert [group.up.median for group in profile.clients] == fit.up_bits_per_s.tolist()
    assert [group.rtt.median for group in profile.clients] == fit.rtt_s.tolist()
    assert {group.compute_per_example.median for group in profile.clients} == {0.005}


def test_extreme_numbers_survive_with_three_digits(tmp_path: Path):
    down = np.repeat([1.2345e-4, 0.98765, 12345.6], 10)
    fit = fit_classes(made(down, rtt=np.repeat([0.012345, 12.345, 98765.4], 10)), 3)
    path = tmp_path / "mine.toml"
    path.write_text(text(fit), encoding="utf-8")
    groups = load_profile(str(path)).clients
    assert [group.down.median for group in groups] == pytest.approx([123, 988e3, 12.3e9], rel=1e-9)
    assert [group.rtt.median for group in groups] == pytest.approx(
        [12.3e-6, 12.3e-3, 98.8], rel=5e-3
    )


def test_the_header_says_what_was_read_and_what_is_assumed():
    columns = {"down": "dl_mbps", "up": "ul_mbps", "latency": "rtt_ms", "weight": "devices"}
    tests = made(range(1, 31), columns=columns, where=("rat=4G",), left_out=2)
    written = text(fit_classes(tests, 4), compute_per_example="7 ms")
    header = "".join(line for line in written.splitlines(True) if line.startswith("#"))
    for said in (
        "2025-01-02", "30 speed tests", "made.csv with rat=4G", "weighted by devices",
        "dl_mbps in Mbps", "rtt_ms in ms", "2 rows were left out", "4 groups", "is an assumption",
        "10^6 bit/s",
    ):  # fmt: skip
        assert said in header
    assert written.count('compute_per_example = "7 ms"') == 4


@pytest.mark.parametrize(
    "words", ['a "quoted" \\ text', "two\nlines", "dél\x7f\x01 \U0001f4f6", "\udcff"]
)
def test_any_words_make_a_profile_that_loads(tmp_path: Path, words: str):
    fit = fit_classes(made(range(1, 31), source=f"{words}.csv", where=(f"a={words}",)), 2)
    path = tmp_path / "mine.toml"
    path.write_text(text(fit, name=words, source=words, date=words), encoding="utf-8")
    profile = load_profile(str(path))
    said = {"\udcff": "?", "\n": " ", "\x7f": " ", "\x01": " "}
    assert profile.name == profile.source == "".join(said.get(c, c) for c in words)


def test_a_compute_time_without_a_unit_is_refused():
    with pytest.raises(UnitError, match="36 ms"):
        text(fit_classes(made(range(1, 31)), 2), compute_per_example="5")


# rows


def test_rows_are_the_data_and_lose_nothing():
    tests = drawn()
    found = report(fit_rows(tests))
    assert (found["law"], found["classes"]) == ("rows", [])
    assert found["ks_down"] == pytest.approx(0, abs=1e-12)
    assert found["ks_up"] == pytest.approx(0, abs=1e-12)
    for values in found["percentiles"].values():
        assert values["fit"] == values["data"]
    assert found["rank_correlation"]["fit"] == pytest.approx(found["rank_correlation"]["data"])


def test_a_profile_of_rows_has_every_test_bit_for_bit(tmp_path: Path):
    tests = drawn()
    fit = fit_rows(tests)
    (tmp_path / "mine.csv").write_text(rows_text(fit), encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text(fit, compute_per_example="7 ms"), encoding="utf-8")
    rows = load_profile(str(tmp_path / "mine.toml")).fleet.rows
    assert [link.down_bits_per_s for link in rows.links] == tests.down_bits_per_s.tolist()
    assert [link.up_bits_per_s for link in rows.links] == tests.up_bits_per_s.tolist()
    assert [link.rtt_s for link in rows.links] == tests.rtt_s.tolist()
    assert list(rows.weights) == tests.weights.tolist()
    assert {link.compute_s_per_example for link in rows.links} == {0.007}


def test_a_fleet_drawn_from_rows_has_the_quantiles_of_the_data(tmp_path: Path):
    tests = drawn()
    fit = fit_rows(tests)
    (tmp_path / "mine.csv").write_text(rows_text(fit), encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text(fit), encoding="utf-8")
    size = 20_000
    down = [link.down_bits_per_s for link in load_profile(str(tmp_path / "mine.toml")).links(size)]
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        at = quantile(tests.down_bits_per_s, tests.weights, q)
        share = tests.weights[tests.down_bits_per_s <= at].sum() / tests.weights.sum()
        z = (np.mean(np.array(down) <= at) - share) / math.sqrt(share * (1 - share) / size)
        assert abs(z) < 4


def test_a_profile_of_rows_says_so_in_its_header():
    written = text(fit_rows(made(range(1, 31))))
    assert "# Each client draws one row by weight: its rates and round trip are" in written
    assert "groups of equal weight" not in written
