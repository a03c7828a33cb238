"""Classes of clients: which clients they are, and how their links spread."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from floss_sim.network import NetworkProfile

MANY = 1_000_000


def profile(*classes: dict[str, object], **keys: object) -> NetworkProfile:
    """Return a profile of classes; class i downloads at i + 1 Mbit/s unless it says otherwise."""
    groups = [
        {"down": f"{i + 1} Mbit/s", "up": "1 Mbit/s", "rtt": "10 ms", "compute_per_example": "1 ms"}
        | group
        for i, group in enumerate(classes)
    ]
    head = {"name": "n", "source": "s", "date": "d"}
    return NetworkProfile.model_validate({**head, **keys, "clients": groups})


def of_shares(*shares: float, **keys: object) -> NetworkProfile:
    return profile(*({"share": share} for share in shares), **keys)


def downs(network: NetworkProfile, clients: int) -> list[float]:
    return [link.down_bits_per_s / 1e6 for link in network.links(clients)]


# which client is of which class


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1,) * 10, (0.05, 0.15, 0.8), (1 / 3,) * 3])
@pytest.mark.parametrize("clients", [1, 2, 7, 33, 50, 1025])
def test_a_drawn_fleet_has_as_many_clients_of_each_class_as_one_by_number(
    shares: tuple[float, ...], clients: int
):
    by_number = Counter(downs(of_shares(*shares, class_order="by-number"), clients))
    for seed in range(5):
        assert Counter(downs(of_shares(*shares, seed=seed), clients)) == by_number


def test_the_seed_draws_the_classes_and_a_client_keeps_its_own():
    drawn = [downs(of_shares(0.25, 0.75, seed=seed), 200) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    links = of_shares(0.25, 0.75).links(200)
    assert [links[client].down_bits_per_s / 1e6 for client in (199, 3, 77, 3)] == [
        drawn[0][client] for client in (199, 3, 77, 3)
    ]


def test_every_client_is_of_a_class_as_often_as_its_share():
    clients, seeds, share = 20, 2000, 0.3
    first = [downs(of_shares(share, 1 - share, seed=seed), clients) for seed in range(seeds)]
    times_N = (np.array(first) == 1).sum(axis=0)
    z_N = (times_N - share * seeds) / math.sqrt(seeds * share * (1 - share))
    assert abs(z_N).max() < 4
    both = np.mean([fleet[0] == fleet[1] == 1 for fleet in first])  # 6 of 20, without replacement
    expected = 6 / 20 * 5 / 19
    assert abs(both - expected) < 4 * math.sqrt(expected * (1 - expected) / seeds)


def test_by_number_the_classes_follow_each_other_for_every_seed():
    for seed in (0, 1):
        network = of_shares(0.2, 0.5, 0.3, class_order="by-number", seed=seed)
        assert downs(network, 10) == [1, 1, 2, 2, 2, 2, 2, 3, 3, 3]


def test_cells_follow_the_clients_numbers_whatever_their_class():
    links = of_shares(0.5, 0.5, cells={"count": 3}).links(50)
    assert [link.cell for link in links] == [client % 3 for client in range(50)]


def test_a_drawn_fleet_of_a_million_takes_a_byte_a_client_and_a_moment():
    network = of_shares(0.2, 0.3, 0.5)
    tracemalloc.start()
    fleet = network.links(MANY)
    assert tracemalloc.get_traced_memory()[1] < 1e5
    began_s = time.process_time()
    found = {fleet[client].down_bits_per_s for client in range(0, MANY, 10_007)}
    assert time.process_time() - began_s < 1  # measured: 0.03 s
    assert tracemalloc.get_traced_memory()[1] < 2 * MANY
    tracemalloc.stop()
    assert found == {1e6, 2e6, 3e6}


def test_more_classes_than_a_byte_counts():
    network = of_shares(*[1 / 500] * 500)
    assert sorted(downs(network, 1000)) == sorted([i + 1 for i in range(500)] * 2)


# classes with a spread

SPREAD = {
    "down": {"median": "20 Mbit/s", "sigma": 0.7},
    "up": {"median": "4 Mbit/s", "sigma": 0.5},
    "rtt": {"median": "60 ms", "sigma": 0.4},
    "compute_per_example": {"median": "3 ms", "sigma": 0.2},
    "correlation": 0.6,
}


def logs(network: NetworkProfile, clients: int) -> np.ndarray:
    """Return the logarithms of down, up, round trip and compute time (4 x clients)."""
    links = network.links(clients)
    figures = [
        (k.down_bits_per_s, k.up_bits_per_s, k.rtt_s, k.compute_s_per_example) for k in links
    ]
    return np.log(figures).T


def test_the_links_of_a_class_are_drawn_from_its_law():
    clients = 20_000
    plain = {"share": 0.5, "down": "900 Mbit/s"}
    log_4N = logs(profile(plain, {"share": 0.5} | SPREAD), clients)
    others_4N = log_4N[:, log_4N[0] != math.log(900e6)]
    size = others_4N.shape[1]
    assert size == clients // 2
    for values_N, (median, sigma) in zip(
        others_4N, [(20e6, 0.7), (4e6, 0.5), (0.060, 0.4), (0.003, 0.2)], strict=True
    ):
        assert stats.kstest(values_N, stats.norm(math.log(median), sigma).cdf).pvalue > 1e-3
    found = np.corrcoef(others_4N)
    z = (np.arctanh(found[0, 1]) - math.atanh(0.6)) * math.sqrt(size - 3)  # Fisher's
    assert abs(z) < 4
    for a, b in ((0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        assert abs(found[a, b]) < 4 / math.sqrt(size)


def test_quantiles_of_a_mixture_are_those_of_its_law():
    """The distribution function of a mixture is the mean of those of its classes, by shares."""
    slow = {"share": 0.2, "down": {"median": "2 Mbit/s", "sigma": 1.0}}
    fast = {"share": 0.8, "down": {"median": "50 Mbit/s", "sigma": 0.3}}
    clients = 20_000
    values_N = logs(profile(slow, fast), clients)[0]
    laws = [(0.2, stats.norm(math.log(2e6), 1.0)), (0.8, stats.norm(math.log(50e6), 0.3))]
    for q in (0.01, 0.05, 0.5, 0.95, 0.99):
        at = np.quantile(values_N, q)
        there = sum(share * law.cdf(at) for share, law in laws)
        assert abs(there - q) < 4 * math.sqrt(q * (1 - q) / clients)


def test_a_class_without_a_spread_in_a_mixture_has_its_figures():
    plain = {"share": 0.5, "down": "900 Mbit/s"}
    links = profile(plain, {"share": 0.5} | SPREAD).links(100)
    exact = {k for k in links if k.down_bits_per_s == 900e6}
    assert {(k.up_bits_per_s, k.rtt_s, k.compute_s_per_example) for k in exact} == {
        (1e6, 0.01, 0.001)
    }
    assert len({k.down_bits_per_s for k in links}) == 51


def test_one_class_with_a_spread_is_the_lognormal_law():
    law = {"law": "lognormal", **SPREAD, "jitter": "2 ms"}
    head = {"name": "n", "source": "s", "date": "d", "seed": 3}
    fleet = NetworkProfile.model_validate(head | {"fleet": law})
    one = profile({"share": 1.0, "jitter": "2 ms"} | SPREAD, seed=3)
    assert list(one.links(1500)) == list(fleet.links(1500))
    assert one.links(10)[:] == one.links(5000)[:10]


def test_a_drawn_link_is_stable_and_changes_with_the_seed():
    groups = ({"share": 0.5} | SPREAD, {"share": 0.5, **SPREAD, "rtt": "1 s"})
    network = profile(*groups)
    in_order = list(network.links(2500))
    fleet = network.links(2500)
    backwards = [fleet[client] for client in reversed(range(2500))]
    assert backwards[::-1] == in_order
    other = list(profile(*groups, seed=1).links(2500))
    assert all(a.down_bits_per_s != b.down_bits_per_s for a, b in zip(in_order, other, strict=True))


def test_the_normal_numbers_of_a_client_do_not_depend_on_its_class():
    """Two fleets that differ in a median differ in that figure only: common random numbers."""
    slow, fast = (
        profile({"share": 1.0, **SPREAD, "down": {"median": rate, "sigma": 0.7}})
        for rate in ("5 Mbit/s", "20 Mbit/s")
    )
    log_a, log_b = logs(slow, 500), logs(fast, 500)
    assert log_b[0] - log_a[0] == pytest.approx(np.full(500, math.log(4)))
    assert np.array_equal(log_a[1:], log_b[1:])


def test_a_spread_class_with_a_trace_draws_the_rest(tmp_path):
    (tmp_path / "t.csv").write_text("seconds,Mbit/s\n0,1\n10,3\n", encoding="utf-8")
    group = {"share": 1.0, **SPREAD, "down": None, "down_trace": {"file": "t.csv"}}
    head = {"name": "n", "source": "s", "date": "d"}

    def loaded(group):
        return NetworkProfile.model_validate(
            head | {"clients": [group]}, context={"folder": tmp_path}
        )

    links = loaded(group | {"correlation": 0.0}).links(50)
    assert {link.down_bits_per_s for link in links} == {2e6}
    assert len({link.up_bits_per_s for link in links}) == 50
    with pytest.raises(ValueError, match="correlation: not with down_trace; valid: with two rates"):
        loaded(group)


# rates of a profile


def test_mean_rates_are_the_expected_rates_of_the_clients():
    network = profile({"share": 0.25} | SPREAD, {"share": 0.75})
    down = 0.25 * 20e6 * math.exp(0.7**2 / 2) + 0.75 * 2e6
    up = 0.25 * 4e6 * math.exp(0.5**2 / 2) + 0.75 * 1e6
    assert network.mean_rates(50) == pytest.approx((down, up))
    assert network.with_upload_ratio(4).mean_rates(50) == pytest.approx((down, down / 4))
    clients = 40_000
    links = network.links(clients)
    mean = np.mean([link.down_bits_per_s for link in links])
    spread = np.std([link.down_bits_per_s for link in links])
    assert abs(mean - down) < 4 * spread / math.sqrt(clients)


def test_the_settings_see_the_order_and_every_spread():
    plain = ({"share": 0.5}, {"share": 0.5})
    found = [
        profile(*plain).settings(),
        profile(*plain, class_order="by-number").settings(),
        profile({"share": 0.5} | SPREAD, {"share": 0.5}).settings(),
        profile({"share": 0.5, **SPREAD, "correlation": 0.5}, {"share": 0.5}).settings(),
        profile({"share": 0.5, **SPREAD, "rtt": "60 ms"}, {"share": 0.5}).settings(),
        profile({"share": 0.5} | SPREAD, {"share": 0.5}).with_changes("x", down=20e6).settings(),
    ]
    assert all(a != b for i, a in enumerate(found) for b in found[:i])


def test_the_settings_of_equal_classes_do_not_see_the_order():
    alike = ({"share": 0.5, "down": "1 Mbit/s"}, {"share": 0.5, "down": "1 Mbit/s"})
    orders = [profile(*alike, class_order=order).settings() for order in ("drawn", "by-number")]
    assert orders[0] == orders[1]


def test_splitting_a_class_moves_no_client():
    whole = of_shares(0.2, 0.8)
    halves = profile({"share": 0.2}, *[{"share": 0.4, "down": "2 Mbit/s"}] * 2)
    assert downs(whole, 333) == downs(halves, 333)
    assert len([1 for a, b in pairwise(downs(whole, 333)) if a != b]) > 50  # shuffled indeed
