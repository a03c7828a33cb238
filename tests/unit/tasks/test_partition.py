from __future__ import annotations

import math

import numpy as np
import pytest

from floss_sim.errors import ConfigError
from floss_sim.tasks import partition

EVEN = np.repeat(np.arange(2), 20)  # 20 examples of each of two classes


@pytest.mark.parametrize("law", ["iid", "dirichlet"])
def test_the_first_clients_get_the_extra_examples(law: str):
    sizes = [part.size for part in partition(np.zeros(11, np.int64), 4, law, 1.0, 0)]
    assert sorted(sizes, reverse=True) == [3, 3, 3, 2]
    assert sizes == [3, 3, 3, 2]


def test_the_parts_follow_the_seed_and_the_law():
    labels = np.repeat(np.arange(10), 20)
    seen = {
        tuple(map(tuple, partition(labels, 8, law, 1.0, seed)))
        for law in ("iid", "dirichlet")
        for seed in range(5)
    }
    assert len(seen) == 10


def test_an_unknown_law_is_refused_with_the_valid_ones():
    with pytest.raises(
        ConfigError, match="unknown partition 'shards'; valid: iid, dirichlet, column"
    ):
        partition(EVEN, 4, "shards", 1.0, 0)


@pytest.mark.parametrize("law", ["iid", "dirichlet"])
@pytest.mark.parametrize("alpha", [0.0, -1.0, math.inf, math.nan])
def test_an_alpha_that_is_not_positive_and_finite_is_refused(law: str, alpha: float):
    with pytest.raises(ConfigError, match="alpha"):
        partition(EVEN, 4, law, alpha, 0)


@pytest.mark.parametrize("clients", [-1, 0, 41])
def test_a_number_of_clients_that_leaves_one_without_examples_is_refused(clients: int):
    with pytest.raises(ConfigError, match="valid: 1 to 40"):
        partition(EVEN, clients, "iid", 1.0, 0)


def test_classes_without_examples_are_never_dealt():
    labels = np.array([3, 9, 3, 9, 9])
    parts = partition(labels, 2, "dirichlet", 0.1, 0)
    assert sorted(i for part in parts for i in part.tolist()) == [0, 1, 2, 3, 4]


def test_every_example_goes_to_every_client_equally_often_under_iid():
    """Binomial(seeds, 1/clients) for each of 120 pairs; |z| stays below 4.5."""
    seeds, clients = 1000, 4
    owners = np.zeros((30, clients))
    for seed in range(seeds):
        for client, part in enumerate(partition(np.zeros(30, np.int64), clients, "iid", 1.0, seed)):
            owners[part, client] += 1
    sizes = np.array([8, 8, 7, 7])
    share = sizes / 30
    z = (owners - seeds * share) / np.sqrt(seeds * share * (1 - share))
    assert np.abs(z).max() < 4.5


def counts_of_class_one(alpha: float, seeds: int) -> np.ndarray:
    """Return how many of the first client's 20 examples are of class 1, for many seeds.

    Neither class can run out before the first client is served, so the count has the
    beta-binomial law of two Dirichlet shares.
    """
    parts = (partition(EVEN, 2, "dirichlet", alpha, seed)[0] for seed in range(seeds))
    return np.array([int(EVEN[part].sum()) for part in parts])


def test_alpha_one_for_each_of_two_classes_makes_every_mixture_equally_likely():
    """Beta(1, 1) shares: the count is uniform on 0 .. 20; |z| of the chi-square is below 4."""
    seeds = 1050
    observed = np.bincount(counts_of_class_one(1.0, seeds), minlength=21)
    chi_square = ((observed - seeds / 21) ** 2 / (seeds / 21)).sum()
    assert abs(chi_square - 20) / math.sqrt(2 * 20) < 4


@pytest.mark.parametrize("alpha", [0.05, 0.3, 5.0])
def test_the_spread_of_a_clients_mixture_is_that_of_the_beta_binomial(alpha: float):
    """Of m draws with two shares: m (m + 2a) / (4 (1 + 2a)); |z| of the mean square below 4."""
    m = 20
    squares = (counts_of_class_one(alpha, 500) - m / 2) ** 2
    expected = m * (m + 2 * alpha) / (4 * (1 + 2 * alpha))
    z = (squares.mean() - expected) / (squares.std() / math.sqrt(squares.size))
    assert abs(z) < 4


def test_a_huge_alpha_deals_as_a_fair_coin_would():
    squares = (counts_of_class_one(1e308, 500) - 10) ** 2
    assert abs(squares.mean() - 5) / (squares.std() / math.sqrt(500)) < 4


@pytest.mark.parametrize("alpha", [1e-5, 1e-6, 1e-12, 5e-324])
def test_a_tiny_alpha_deals_a_single_class_to_the_first_client(alpha: float):
    """The two largest of ten shares lie exp(Exp(1) / 9 alpha) apart, so a mixture of the 20
    examples has a chance below 1e-3 a seed; the class itself is uniform over the ten.
    """
    labels = np.repeat(np.arange(10), 20)
    first = [partition(labels, 10, "dirichlet", alpha, seed)[0] for seed in range(30)]
    classes = [set(labels[part].tolist()) for part in first]
    assert all(len(found) == 1 for found in classes)
    assert len(set.union(*classes)) > 5


def test_examples_of_a_class_are_dealt_in_random_order():
    """Example 0 of 40 is the first client's half the time; |z| below 4 over 500 seeds."""
    seeds = 500
    found = sum(
        int(0 in partition(np.zeros(40, np.int64), 2, "dirichlet", 1.0, seed)[0])
        for seed in range(seeds)
    )
    assert abs(found - seeds / 2) / math.sqrt(seeds / 4) < 4


# by column


def test_every_group_is_drawn_equally_often():
    """Binomial(seeds, 2/6) for each group; |z| stays below 4."""
    groups, seeds = np.arange(30) % 6, 900
    drawn = np.zeros(6)
    for seed in range(seeds):
        for part in partition(np.zeros(30, np.int64), 2, "column", 1.0, seed, groups):
            drawn[groups[part[0]]] += 1
    z = (drawn - seeds / 3) / math.sqrt(seeds * (1 / 3) * (2 / 3))
    assert np.abs(z).max() < 4


def test_a_law_by_column_without_groups_is_refused():
    with pytest.raises(ConfigError, match=r"data\.group"):
        partition(EVEN, 2, "column", 1.0, 0)


def test_more_clients_than_examples_leave_one_without_data():
    with pytest.raises(ConfigError, match="a client without data cannot train"):
        partition(EVEN, 41, "iid", 1.0, 0)
