"""Budgets of money, energy and battery: closed forms, counts over a record, and refusals."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest

from floss_sim import RunConfig, load_profile, size_only
from floss_sim.analysis.costs import account
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError
from floss_sim.network import NetworkProfile
from floss_sim.network.profile import EnergySection, PricesSection
from floss_sim.network.transport import Transport
from planner.plans.usage_section import UsageSection
from planner.question.budget import Limit
from planner.question.cost import price, resolve_limit
from planner.question.request import Request

ENERGY = EnergySection(joules_per_mb_down=3.0, joules_per_mb_up=7.0, compute_watts=2.0)
PRICES = PricesSection(currency="EUR", per_gb_down=1.0, per_gb_up=5.0, per_joule=1e-4)
TRANSPORT = Transport(framing="grpc", tls=True, headers="ipv4", connection="new")


def priced(name: str, **changes: Any) -> NetworkProfile:
    update = {"energy": ENERGY, "prices": PRICES} | changes
    return load_profile(name).model_copy(update=update)


NETWORKS = [
    priced("paper-200-20"),
    priced("lte", first_download=200_000),
    priced("mobile-mixed", transport=TRANSPORT),
]


def limit_of(text: str, profile: NetworkProfile) -> Limit:
    return resolve_limit(Request.of("digits", profile, budget=text))


@pytest.mark.parametrize("profile", NETWORKS, ids=lambda profile: profile.name)
def test_costs_are_those_of_the_rows_of_the_record(
    profile: NetworkProfile, sparse_digits: RunConfig
):
    """By one pass over the transfers, and by the account of the record."""
    record = size_only(sparse_digits, profile, 8)
    links = profile.links(50)
    joules, device, money = [0.0] * 8, Counter(), 0.0
    for row in record.transfers.to_pylist():
        up, mb = row["direction"] == "up", row["wire_bytes"] / 1e6
        spent = mb * (7 if up else 3)
        if up:
            seconds = links[row["client"]].compute_s_per_example * row["examples"]
            spent += 2 * seconds
        joules[row["round"] - 1] += spent
        device[row["client"]] += spent
        money += mb / 1e3 * (5 if up else 1) + spent * 1e-4
    made = account(record, profile).total()
    found = limit_of("1kJ", profile).spending(record)
    assert found == pytest.approx([sum(joules[: r + 1]) for r in range(8)], rel=1e-12)
    assert found[-1] == pytest.approx(made["energy_j"], rel=1e-9)
    found = limit_of("1EUR", profile).spending(record)
    assert found[-1] == pytest.approx(money, rel=1e-12) == pytest.approx(made["money"], rel=1e-9)
    found = limit_of("5%battery@15Wh", profile).spending(record)
    assert found[-1] == pytest.approx(max(device.values()), rel=1e-12)
    told = UsageSection.of(Traffic.of(record), limit_of("1EUR", profile))
    assert (told.energy_j, told.money, told.currency) == pytest.approx((sum(joules), money, "EUR"))
    assert told.busiest_device_j == pytest.approx(max(device.values()), rel=1e-12)


@pytest.mark.parametrize("name", ["paper-200-20", "lte", "mobile-mixed"])
def test_a_budget_of_each_kind_affords_the_rounds_of_a_closed_form(digits: RunConfig, name: str):
    """Messages of 1 MB down and 0.5 MB up, no compute, so that each of 5 clients takes the same."""
    profile = priced(name, energy=ENERGY.model_copy(update={"compute_watts": 0.0}))
    traffic = Traffic.predict(digits, 40).with_sizes(1_000_000, 500_000)
    a_device_j = 1.0 * 3 + 0.5 * 7
    a_round_j, a_round_money = 5 * a_device_j, 5 * (0.001 * 1 + 0.0005 * 5 + a_device_j * 1e-4)
    assert limit_of(f"{11.5 * a_round_j}J", profile).rounds(traffic) == 11
    assert limit_of(f"{7.5 * a_round_money:.5f}EUR", profile).rounds(traffic) == 7
    most = Counter()
    counts = []
    for cohort in traffic.clients.tolist():
        most.update(cohort)
        counts.append(max(most.values()))
    made = limit_of("10%battery@0.05Wh", profile)
    assert made.amount == pytest.approx(0.1 * 0.05 * 3600)
    assert 0 < made.rounds(traffic) == sum(n * a_device_j <= 18 for n in counts) < 40
    made = limit_of("4.5MB/device", profile)
    assert 0 < made.rounds(traffic) == sum(n * 1.5 <= 4.5 for n in counts) < 40
    assert limit_of("20MB/client", profile).rounds(traffic) == 13
    assert limit_of("100MB", profile).rounds(traffic) == 13


@pytest.mark.parametrize("name", ["paper-200-20", "lte", "mobile-mixed"])
def test_a_month_counts_the_busiest_device_of_any_30_days(digits: RunConfig, name: str):
    """Of 1.5 MB a participation, with 7 rounds in 30 days."""
    traffic = Traffic.predict(digits, 40).with_sizes(1_000_000, 500_000)
    cohorts = traffic.clients.tolist()
    most, within = 0, 0
    for last in range(40):
        window = Counter(chain.from_iterable(cohorts[max(0, last - 6) : last + 1]))
        most = max(most, *window.values())
        within += most * 1.5 <= 4.5
    made = limit_of("4.5MB/month@0.23333/day", load_profile(name))
    assert made.budget.month_rounds == 7
    assert 0 < made.rounds(traffic) == within


@pytest.mark.parametrize("name", ["paper-200-20", "lte", "mobile-mixed"])
def test_seconds_and_dense_rounds_are_those_of_the_links(digits: RunConfig, name: str):
    """A round takes as long as its slowest client; link time adds up clients' bytes over rates."""
    profile, clients = load_profile(name), 50
    traffic = Traffic.predict(digits, 40).with_sizes(1_000_000, 500_000)
    cohorts, examples = traffic.clients.tolist(), traffic.examples.tolist()
    closed_s = []
    for seed in range(40):
        links = profile.model_copy(update={"seed": seed}).links(clients)
        rounds_s = [
            max(
                links[c].rtt_s + 8e6 / links[c].down_bits_per_s + 4e6 / links[c].up_bits_per_s
                + links[c].compute_s_per_example * n
                for c, n in zip(*pair, strict=True)
            )
            for pair in zip(cohorts, examples, strict=True)
        ]  # fmt: skip
        closed_s.append(np.cumsum(rounds_s))
    median_s = np.median(closed_s, axis=0)
    for affords in (3, 17):
        text = f"{median_s[affords - 1] * 1.0001:.6f}s"
        assert limit_of(text, profile).rounds(traffic) == affords
    links = profile.links(clients)
    request = Request.of("digits", profile, budget="9-dense-rounds")
    plain = 4 * request.reference().layout.entries + 28  # bytes of values and of a frame
    amount_s = sum(
        8 * plain * (1 / links[c].down_bits_per_s + 1 / links[c].up_bits_per_s)
        for cohort in Traffic.predict(request.reference(), 9).clients.tolist()
        for c in cohort
    )
    limit = resolve_limit(request)
    assert limit.amount == pytest.approx(amount_s, rel=1e-9)
    assert limit.rounds(traffic.with_sizes(plain, plain)) == 9


def test_the_battery_may_be_a_key_of_the_profile():
    profile = priced("lte", energy=ENERGY.model_copy(update={"battery": 54_000.0}))
    assert limit_of("5%battery", profile).amount == 2700
    assert limit_of("5%battery@20Wh", profile).amount == 3600
    said = limit_of("5%battery", profile).describe()
    assert said == "5 % of a battery = 2.7 kJ of the device that takes most"


@pytest.mark.parametrize(
    ("text", "profile", "said"),
    [
        (
            "50EUR",
            load_profile("lte"),
            r'needs prices, which lte lacks; add \[prices\] with .*"EUR"',
        ),
        ("50USD", priced("lte"), "the prices of lte are in EUR, not in USD"),
        ("50EUR", priced("lte", energy=EnergySection()), "has a price per_joule, but no energy"),
        (
            "500kJ",
            load_profile("lte"),
            r"needs energy, which lte lacks; add \[energy\] with joules",
        ),
        ("5%battery@15Wh", load_profile("lte"), "needs energy, which lte lacks"),
        ("5%battery", priced("lte"), "lacks the battery's size; give --battery 15Wh, or battery ="),
        (
            "5kJ",
            priced("paper-200-20", energy=EnergySection(compute_watts=2.0)),
            "a round costs nothing on paper-200-20",
        ),
        ("1J", priced("lte"), "affords no round of any candidate; a round of the cheapest"),
        (
            "100B/device",
            priced("lte"),
            "affords no round of any candidate; a round of the cheapest",
        ),
    ],
)
def test_what_a_network_does_not_state_is_refused(text: str, profile: NetworkProfile, said: str):
    with pytest.raises(BudgetError, match=said) as error:
        price(Request.of("digits", profile, budget=text, max_rounds=20))
    assert "\n" not in str(error.value)


def test_costs_that_a_network_does_not_state_are_unknown(digits: RunConfig):
    plain, traffic = load_profile("lte"), Traffic.predict(digits, 3)
    told = UsageSection.of(traffic, limit_of("1GB", plain))
    assert told.energy_j is told.busiest_device_j is told.money is told.currency is None
    half = priced("lte", energy=EnergySection())  # its prices need the joules
    assert UsageSection.of(traffic, limit_of("1GB", half)).money is None
    free = half.model_copy(update={"prices": PricesSection(currency="EUR", per_gb_up=5.0)})
    told = UsageSection.of(traffic, limit_of("1GB", free))
    assert told.energy_j is None
    assert told.money == pytest.approx(5 * traffic.up.sum() / 1e9)
