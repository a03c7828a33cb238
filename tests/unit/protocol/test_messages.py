from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from floss_sim.errors import ConfigError
from floss_sim.protocol import Dispatch, Upload
from floss_sim.protocol.sampling import Cohort, draw_cohort


@pytest.mark.parametrize(("fleet", "size"), [(1, 1), (50, 1), (50, 5), (50, 50)])
def test_a_cohort_is_distinct_clients_of_the_fleet(fleet: int, size: int):
    for round_ in range(1, 30):
        cohort = draw_cohort(0, round_, fleet, size)
        assert cohort.round == round_
        assert len(cohort.clients) == len(set(cohort.clients)) == size
        assert set(cohort.clients) <= set(range(fleet))
        assert all(type(client) is int for client in cohort.clients)


def test_a_cohort_is_the_same_whenever_it_is_drawn():
    late_first = [draw_cohort.__wrapped__(4, round_, 50, 5) for round_ in (9, 2, 5)]
    in_order = [draw_cohort(4, round_, 50, 5) for round_ in (2, 5, 9)]
    assert sorted(late_first, key=lambda cohort: cohort.round) == in_order


def test_cohorts_differ_between_rounds_and_seeds():
    drawn = {draw_cohort(seed, round_, 50, 5).clients for seed in range(10) for round_ in range(10)}
    assert len(drawn) == 100


@pytest.mark.parametrize(("fleet", "size"), [(5, 6), (5, 0), (5, -1), (0, 0), (0, 1)])
def test_a_cohort_that_the_fleet_cannot_fill_is_refused(fleet: int, size: int):
    with pytest.raises(ConfigError, match=f"cohort of {size} clients; valid: 1 to .* {fleet}"):
        draw_cohort(0, 1, fleet, size)


def test_every_client_is_drawn_equally_often():
    """Binomial(rounds, 5/50) for each of 50 clients; |z| stays below 4.5."""
    rounds, fleet, size = 4000, 50, 5
    seen = np.zeros(fleet)
    for round_ in range(rounds):
        seen[list(draw_cohort(1, round_, fleet, size).clients)] += 1
    p = size / fleet
    z = (seen - rounds * p) / math.sqrt(rounds * p * (1 - p))
    assert np.abs(z).max() < 4.5
    # The counts add up to rounds * size, which leaves 49 degrees of freedom.
    chi_square = (z**2).sum() * (fleet - 1) / fleet
    assert abs(chi_square - 49) / math.sqrt(2 * 49) < 4


def test_every_client_is_equally_likely_to_be_drawn_first():
    """Chi-square of 4,000 rounds over 10 clients; |z| stays below 4."""
    first = [draw_cohort(2, round_, 10, 3).clients[0] for round_ in range(4000)]
    chi_square = ((np.bincount(first, minlength=10) - 400) ** 2 / 400).sum()
    assert abs(chi_square - 9) / math.sqrt(2 * 9) < 4


def test_successive_cohorts_overlap_as_independent_draws_do():
    """Hypergeometric with mean 5 * 5/50 and variance 5 * 0.1 * 0.9 * 45/49; |z| below 4."""
    rounds = 4000
    cohorts = [set(draw_cohort(3, round_, 50, 5).clients) for round_ in range(rounds + 1)]
    overlaps = [len(one & two) for one, two in itertools.pairwise(cohorts)]
    deviation = math.sqrt(5 * 0.1 * 0.9 * 45 / 49 / rounds)
    assert abs(np.mean(overlaps) - 0.5) / deviation < 4


def test_cohorts_of_two_seeds_overlap_as_independent_draws_do():
    rounds = 4000
    overlaps = [
        len({*draw_cohort(3, r, 50, 5).clients} & {*draw_cohort(4, r, 50, 5).clients})
        for r in range(rounds)
    ]
    deviation = math.sqrt(5 * 0.1 * 0.9 * 45 / 49 / rounds)
    assert abs(np.mean(overlaps) - 0.5) / deviation < 4


def test_messages_are_equal_by_value_and_cannot_be_changed():
    assert Cohort(1, (3, 2)) == Cohort(1, (3, 2)) != Cohort(1, (2, 3))
    dispatch = Dispatch(0, 3, 0, 1000, 250, b"blob")
    assert dispatch == Dispatch(0, 3, 0, 1000, 250, b"blob") != Dispatch(0, 3, 0, 1000, 250)
    with pytest.raises(AttributeError):
        dispatch.nbytes = 1  # type: ignore[misc]


def test_a_printed_message_leaves_out_its_bytes():
    assert "blob" not in repr(Dispatch(0, 3, 0, 1000, 250, bytes(1000)))
    assert len(repr(Upload(0, 3, 1000, 250, 16, bytes(1000)))) < 120
