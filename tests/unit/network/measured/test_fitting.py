"""Fits to speed tests: exact on known groups, and a default that keeps the tail of known laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from made_speed_tests import (
    bimodal,
    drawn,
    heavy_tail,
    made,
    narrow_lognormal,
    three_kinds,
    wide_lognormal,
    with_absurd,
)

from floss_sim.errors import ProfileError
from floss_sim.network.measured.fitting import (
    LAWS,
    Fit,
    fit_classes,
    fit_law,
    fit_lognormal,
    fit_rows,
    fit_spread_classes,
)


def rates_of(fit: Fit) -> list[float]:
    """Return the download rates of the classes."""
    return [each.down_bits_per_s for each in fit.classes]


# classes


def test_known_groups_are_found_exactly_and_directions_stay_together():
    down = np.repeat([1.0, 10.0, 100.0, 1000.0], 10)
    up = np.repeat([8.0, 4.0, 2.0, 1.0], 10)
    rtt = np.repeat([90.0, 20.0, 50.0, 10.0], 10)
    order = np.random.default_rng(1).permutation(40)
    fit = fit_classes(made(down[order], up[order], rtt[order]), 4)
    assert [each.share for each in fit.classes] == [0.25] * 4
    assert rates_of(fit) == pytest.approx([1e6, 1e7, 1e8, 1e9])
    assert [each.up_bits_per_s for each in fit.classes] == pytest.approx([8e6, 4e6, 2e6, 1e6])
    assert [each.rtt_s for each in fit.classes] == pytest.approx([0.09, 0.02, 0.05, 0.01])


def test_a_class_is_the_medians_of_its_rows():
    down, up = np.arange(1, 21), np.arange(20, 0, -1)
    fit = fit_classes(made(down, up), 2)
    assert rates_of(fit) == pytest.approx([5.5e6, 15.5e6])
    assert [each.up_bits_per_s for each in fit.classes] == pytest.approx([15.5e6, 5.5e6])


def test_a_weight_counts_as_so_many_rows():
    weights = [3, 1, 2, 5, 1, 4, 2, 2, 1, 3]
    weighted = made(range(1, 11), rtt=range(20, 10, -1), weights=weights)
    repeated = made(np.repeat(range(1, 11), weights), rtt=np.repeat(range(20, 10, -1), weights))
    for classes in (1, 2, 3, 4, 8):
        assert fit_classes(weighted, classes).classes == fit_classes(repeated, classes).classes


def test_the_scale_of_the_weights_does_not_matter():
    tests = drawn()
    thousandth = replace(tests, weights=tests.weights / 1000)
    assert fit_classes(tests, 5).classes == fit_classes(thousandth, 5).classes
    assert fit_lognormal(tests).classes == fit_lognormal(thousandth).classes


def test_a_row_heavier_than_a_class_fills_several():
    fit = fit_classes(made([1, 2, 3], weights=[1, 18, 1]), 4)
    assert rates_of(fit) == [2e6] * 4


@pytest.mark.parametrize("classes", [1, 2, 3, 6, 7, 9, 64, 100])
def test_shares_are_equal_and_add_up_to_one(classes: int):
    fit = fit_classes(drawn(), classes)
    shares = [each.share for each in fit.classes]
    assert math.isclose(math.fsum(shares), 1, abs_tol=1e-12)
    assert shares == pytest.approx([1 / classes] * classes, abs=2e-3)
    assert sorted(rates_of(fit)) == rates_of(fit)


# the lognormal law


def test_a_lognormal_law_has_the_weighted_moments_of_the_logarithms():
    tests = drawn()
    (one,) = fit_lognormal(tests).classes
    repeats = tests.weights.astype(int)
    logs = [
        np.log(np.repeat(values, repeats))
        for values in (tests.down_bits_per_s, tests.up_bits_per_s, tests.rtt_s)
    ]
    medians = (one.down_bits_per_s, one.up_bits_per_s, one.rtt_s)
    assert medians == pytest.approx([math.exp(log.mean()) for log in logs], rel=0.005)
    sigmas = (one.down_sigma, one.up_sigma, one.rtt_sigma)
    assert sigmas == pytest.approx([log.std() for log in logs], abs=1e-4)
    assert one.correlation == pytest.approx(np.corrcoef(logs[0], logs[1])[0, 1], abs=1e-4)


def test_equal_tests_are_a_law_without_spread():
    (one,) = fit_lognormal(made(np.full(30, 7.0))).classes
    assert (one.down_bits_per_s, one.has_spread, one.correlation) == (7e6, False, 0.0)


def test_classes_with_a_spread_have_the_moments_of_their_groups():
    fit = fit_spread_classes(three_kinds(), 3)
    assert [each.share for each in fit.classes] == [0.3333, 0.3333, 0.3334]
    assert rates_of(fit) == pytest.approx([4e6, 20e6, 200e6], rel=0.02)
    assert [each.rtt_s for each in fit.classes] == pytest.approx([0.06, 0.03, 0.015], rel=0.02)
    for each in fit.classes:
        sigmas = (each.down_sigma, each.up_sigma, each.rtt_sigma)
        assert sigmas == pytest.approx([0.15] * 3, rel=0.08)
        assert abs(each.correlation) < 0.1
    assert fit_spread_classes(drawn(), 1).classes == fit_lognormal(drawn()).classes


# the choice


def independent_figures(rows: np.ndarray, weights: np.ndarray) -> dict[str, list[float]]:
    """Return the figures of links (3, N) by repeated draws of whole cohorts, by plain arithmetic.

    Cohorts are drawn by common random numbers: one uniform number a client, at its place in the
    order of times, so that laws that are alike give figures that are alike.
    """
    found = {}
    percents = np.array([1, 5, 50, 95, 99])
    for name, values in zip(("down", "up", "rtt"), rows, strict=True):
        order = np.argsort(values)
        share = np.cumsum(weights[order]) / weights.sum()
        found[name] = values[order][np.searchsorted(share, percents / 100 - 1e-9)].tolist()
    draw = np.random.default_rng(11)
    for clients in (5, 50):
        uniform = draw.random((40_000, clients)).max(axis=1)  # place of the slowest of a cohort
        for nbytes in (5e4, 5e6):
            seconds = 8 * nbytes / rows[0] + 8 * nbytes / rows[1] + rows[2]
            order = np.argsort(seconds)
            share = np.cumsum(weights[order]) / weights.sum()
            slowest = seconds[order][np.minimum(np.searchsorted(share, uniform), share.size - 1)]
            found[f"{clients} {nbytes}"] = np.percentile(slowest, percents).tolist()
    return found


@pytest.mark.parametrize(
    ("tests", "law"),
    [
        (made(np.repeat([10.0, 100.0], 20), rtt=np.repeat([40.0, 20.0], 20)), "classes"),
        (made(20 * np.exp(np.linspace(-0.05, 0.05, 50))), "classes"),
        (narrow_lognormal(), "lognormal"),
        (three_kinds(), "spread-classes"),
        (wide_lognormal(), "rows"),
        (bimodal(), "rows"),
        (heavy_tail(), "rows"),
        (with_absurd(), "rows"),
        (drawn(40), "rows"),
    ],
    ids=["two groups", "alike", "narrow", "kinds", "wide", "bimodal", "Pareto", "absurd", "few"],
)
def test_the_default_keeps_all_figures_within_a_tenth(tests, law):
    fit = fit_law(tests)
    assert (fit.law, fit.is_chosen, fit.is_acceptable) == (law, True, True)
    data, fitted = (
        independent_figures(
            np.array([links.down_bits_per_s, links.up_bits_per_s, links.rtt_s]), links.weights
        )
        for links in (tests.links, fit.links)
    )
    for name, values in data.items():
        assert fitted[name] == pytest.approx(values, rel=0.11), name


def test_the_default_takes_no_more_classes_than_needed():
    three = made(np.repeat([1.0, 10.0, 100.0], 20), rtt=np.repeat([9.0, 5.0, 1.0], 20))
    fit = fit_law(three)
    assert rates_of(fit) == [1e6, 1e7, 1e8]


@pytest.mark.parametrize("tests", [wide_lognormal(), bimodal(), heavy_tail(), with_absurd()])
def test_four_classes_lose_the_tail_and_say_so(tests):
    assert fit_law(tests, "classes").is_acceptable is False
    assert fit_law(tests, "rows").is_acceptable is True


def test_a_law_can_be_forced():
    tests = made(np.repeat([10.0, 100.0], 20))
    assert len(fit_law(tests, "classes").classes) == 4
    assert len(fit_law(tests, None, 3).classes) == 3
    assert len(fit_law(tests, "classes", 5).classes) == 5
    assert fit_law(tests, "lognormal").law == "lognormal"
    assert fit_law(tests, "rows") == fit_rows(tests)
    assert fit_law(tests, "spread-classes", 2).classes == fit_spread_classes(tests, 2).classes
    assert len(fit_law(tests, "spread-classes").classes) == 4
    assert not any(fit_law(tests, law).is_chosen for law in LAWS)


@pytest.mark.parametrize(
    ("law", "classes", "says"),
    [
        ("x", None, "--law 'x' is unknown; valid: classes, lognormal, spread-classes, rows"),
        ("rows", 2, "--classes requires --law classes; --law rows has no classes"),
        ("lognormal", 2, "--law lognormal has no classes"),
    ],
)
def test_laws_that_do_not_exist_are_refused(law, classes, says):
    with pytest.raises(ProfileError, match=says):
        fit_law(drawn(30), law, classes)
