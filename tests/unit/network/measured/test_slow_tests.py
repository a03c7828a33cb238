"""Slow tests: which ones are named, and their part in drawn rounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_speed_tests import drawn, made, narrow_lognormal, with_absurd

from floss_sim.network.measured.fit_figures import ROUNDS
from floss_sim.network.measured.slow_tests import round_parts, slow_tests

COHORTS = 200_000
LARGE = ROUNDS[-1].name


def test_absurd_tests_are_named_by_their_lines_slowest_first():
    tests = with_absurd(1000, absurd=4)
    found = slow_tests(tests)
    assert sorted(each.line for each in found.tests) == sorted(
        (np.flatnonzero(tests.up_bits_per_s == 1e4) + 2).tolist()
    )
    assert {each.up_bits_per_s for each in found.tests} == {1e4}
    downs = [each.down_bits_per_s for each in found.tests]
    assert downs == sorted(downs)
    assert found.weight == pytest.approx(0.004)
    assert found.parts[LARGE].rounds == pytest.approx(1 - 0.996**50)
    assert found.parts[LARGE].time > 0.98


def test_a_long_round_trip_is_slow_for_small_payloads():
    rtt = np.full(200, 30.0)
    rtt[7] = 20_000
    (one,) = slow_tests(made(np.full(200, 100.0), rtt=rtt)).tests
    assert (one.line, one.rtt_s) == (9, 20.0)
    assert one.parts["round_50_clients_50000_bytes_s"].rounds == pytest.approx(1 - 0.995**50)


def test_tests_of_little_spread_have_no_slow_one():
    found = slow_tests(narrow_lognormal())
    assert found.tests == ()
    assert found.weight == 0
    assert found.parts[LARGE].rounds == 0
    assert found.expected_s == found.expected_without_s
    assert found.slowest[LARGE].rounds == pytest.approx(1 - (1 - 1 / 3000) ** 50)


@pytest.mark.parametrize("clients", [1, 5, 50])
def test_parts_are_those_of_drawn_rounds(clients: int):
    links = drawn(40).links
    seconds = links.exchange_s(5_000_000).round()  # rounding makes ties
    shares = links.weights / links.weights.sum()
    rounds, time = round_parts(seconds, links.weights, clients)
    assert rounds.sum() == pytest.approx(1)
    assert time.sum() == pytest.approx(1)
    rows = np.random.default_rng(clients).choice(40, (COHORTS, clients), p=shares)
    slowest = seconds[rows].max(axis=1)
    for value in np.unique(seconds):
        same = seconds == value
        part = rounds[same].sum()
        error = 4 * math.sqrt(part * (1 - part) / COHORTS) + 1e-9
        assert np.mean(slowest == value) == pytest.approx(part, abs=error)
        assert rounds[same] == pytest.approx(part * shares[same] / shares[same].sum())
    assert slowest.mean() == pytest.approx((rounds * seconds).sum(), rel=0.02)


def test_expected_times_are_those_of_drawn_rounds_with_and_without_slow_tests():
    tests = with_absurd(200, absurd=2)
    found = slow_tests(tests)
    seconds = tests.links.exchange_s(5_000_000)
    draw = np.random.default_rng(1)
    for times, expected in (
        (seconds, found.expected_s[LARGE]),
        (seconds[tests.up_bits_per_s > 1e4], found.expected_without_s[LARGE]),
    ):
        slowest = times[draw.integers(times.size, size=(COHORTS, 50))].max(axis=1)
        error = 4 * slowest.std() / math.sqrt(COHORTS)
        assert slowest.mean() == pytest.approx(expected, abs=error)
