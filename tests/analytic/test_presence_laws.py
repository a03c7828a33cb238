"""Clients' presence against closed forms: z-scores over many clients with fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from floss_sim.network.availability import Availability, Presence

HOUR_S = 3600.0
Z = 4.0  # one false alarm in 16,000, and seeds are fixed


def z_score(sample: npt.NDArray[np.float64], mean: float, deviation: float) -> float:
    """Return how many standard errors a sample's mean lies from what it should be."""
    return float((sample.mean() - mean) / (deviation / math.sqrt(sample.size)))


@pytest.mark.parametrize("at_s", [0.0, 400.0, 20_000.0])
def test_without_a_swing_the_part_that_is_on_is_stationary(at_s: float):
    presence = Presence(Availability(on_s=300, off_s=900), seed=5)
    on = np.array([presence.is_on(client, at_s) for client in range(4000)], float)
    assert abs(z_score(on, 0.25, math.sqrt(0.25 * 0.75))) < Z


def test_without_a_swing_durations_are_exponential():
    presence = Presence(Availability(on_s=300, off_s=900), seed=6)
    durations_s: dict[bool, list[float]] = {True: [], False: []}
    for client in range(1000):
        at_s = presence.until(client, 0.0)
        for _ in range(4):
            ends_s = presence.until(client, at_s)
            durations_s[presence.is_on(client, at_s)].append(ends_s - at_s)
            at_s = ends_s
    for on, mean_s in ((True, 300.0), (False, 900.0)):
        sample = np.array(durations_s[on])
        assert sample.size == 2000
        assert abs(z_score(sample, mean_s, mean_s)) < Z
        assert abs(z_score(sample**2, 2 * mean_s**2, math.sqrt(20) * mean_s**2)) < Z


def expected_switches(law: Availability, on: bool, a_s: float, b_s: float) -> float:
    """Return the hazard integrated from ``a_s`` to ``b_s`` (a closed form)."""
    turn_per_s = 2 * math.pi / (24 * HOUR_S)
    lag = 2 * math.pi * (law.start_hour - law.peak_hour) / 24
    waves_s = (math.sin(turn_per_s * b_s + lag) - math.sin(turn_per_s * a_s + lag)) / turn_per_s
    if on:
        return (b_s - a_s - law.swing * waves_s) / law.on_s
    return (b_s - a_s + law.swing * waves_s) / law.off_s


@pytest.mark.parametrize("start_hour", [0.0, 17.5])
def test_thinning_draws_from_the_hazard(start_hour: float):
    """Measured by its own integrated hazard, every duration is exponential with mean 1."""
    law = Availability(5 * HOUR_S, 9 * HOUR_S, swing=0.9, peak_hour=20, start_hour=start_hour)
    presence = Presence(law, seed=7)
    passed: dict[bool, list[float]] = {True: [], False: []}
    for client in range(1000):
        at_s = 0.0
        for _ in range(6):
            on, ends_s = presence.is_on(client, at_s), presence.until(client, at_s)
            passed[on].append(expected_switches(law, on, at_s, ends_s))
            at_s = ends_s
    for sample in map(np.array, passed.values()):
        assert sample.size > 2000
        assert abs(z_score(sample, 1, 1)) < Z
        assert abs(z_score(sample**2, 2, math.sqrt(20))) < Z
        for decile in np.arange(1, 10) / 10:
            below = (sample < -math.log(1 - decile)).astype(float)
            assert abs(z_score(below, decile, math.sqrt(decile * (1 - decile)))) < Z


def test_presence_follows_the_day():
    """With equal means m the part on is 1/2 + q, where q' = swing cos(wt + lag) / m - 2 q / m."""
    mean_s, swing, peak_hour, start_hour = 2 * HOUR_S, 0.8, 20.0, 3.0
    presence = Presence(Availability(mean_s, mean_s, swing, peak_hour, start_hour), seed=8)
    turn_per_s, pull_per_s = 2 * math.pi / (24 * HOUR_S), 2 / mean_s
    lag = np.exp(2j * math.pi * (start_hour - peak_hour) / 24)
    expected = {}
    for hour in (0, 2, 6, 12, 18, 30, 42):  # 18 and 42: just after the peak
        at_s = hour * HOUR_S
        waves = np.exp(1j * turn_per_s * at_s) - np.exp(-pull_per_s * at_s)
        expected[hour] = 0.5 + swing / mean_s * (lag * waves / (pull_per_s + 1j * turn_per_s)).real
    clients = range(1500)
    for hour, part in expected.items():
        on = np.array([presence.is_on(client, hour * HOUR_S) for client in clients], float)
        assert abs(z_score(on, part, math.sqrt(part * (1 - part)))) < Z
    assert expected[0] == 0.5
    assert expected[18] - expected[30] > 0.6  # so that the z-scores can tell a peak from a trough
