from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from floss_sim import RunConfig, load_profile, size_only
from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError
from floss_sim.network import NetworkProfile
from planner.question.budget import Limit, parse_budget


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("50-dense-rounds", "dense-rounds", 50),
        ("1-dense-round", "dense-rounds", 1),
        ("2GB", "bytes", 2e9),
        ("1.5 MiB", "bytes", 1.5 * 2**20),
        ("500MB/client", "client-bytes", 5e8),
        ("10MB/device", "device-bytes", 1e7),
        ("2GB/month@24/day", "month-bytes", 2e9),
        ("50EUR", "money", 50),
        ("0.25 €", "money", 0.25),
        ("500kJ", "energy", 5e5),
        ("2 kWh", "energy", 7.2e6),
        ("5%battery", "battery", 0.05),
        ("5 % battery@15Wh", "battery", 0.05),
        ("90s", "seconds", 90),
        ("36h", "seconds", 129600),
        ("2 min", "seconds", 120),
    ],
)
def test_budgets_are_read(text: str, kind: str, amount: float):
    budget = parse_budget(text)
    assert (budget.kind, budget.amount, budget.confidence) == (kind, amount, 0.5)


def test_a_budget_of_seconds_holds_in_half_of_the_fleets_or_in_a_named_share():
    assert replace(parse_budget("90s"), text="90s@50%") == parse_budget("90s@50%")
    assert parse_budget("90s@95%").confidence == 0.95


@pytest.mark.parametrize(
    "text",
    ["", "50", "0-dense-rounds", "-5-dense-rounds", "1.5-dense-rounds", "2 parsecs", "0s", "-1h",
     "0GB", "2GB/fleet", "50MB/client/round", "nan s", "infs", "50-dense-rounds!",
     "50euro", "0EUR", "-5EUR", "50 EUR/month", "0J", "-5kJ", "500k",
     "2GB/month", "2GB/month@0/day", "2GB/month@24", "2GB/month@x/day", "0GB/month@1/day",
     "0%battery", "101%battery", "5%battery@15", "5%battery@0Wh", "5%battery@"],
)  # fmt: skip
def test_what_is_no_budget_is_refused(text: str):
    with pytest.raises(BudgetError, match="budget"):
        parse_budget(text)


def limit(text: str, amount: float, profile: NetworkProfile) -> Limit:
    return Limit(parse_budget(text), amount, profile.links(50), 5, fleets=Fleets.of(profile, 50))


def test_link_seconds_sum_each_clients_own_rates(sparse_digits: RunConfig):
    profile = load_profile("lte")
    record = size_only(sparse_digits, profile, 7)
    links, total = profile.links(50), 0.0
    expected = []
    rows = record.transfers.to_pylist()
    for number in range(1, 8):
        for row in rows:
            if row["round"] == number:
                link = links[row["client"]]
                down = row["direction"] == "down"
                total += 8 * row["nbytes"] / (link.down_bits_per_s if down else link.up_bits_per_s)
        expected.append(total)
    assert limit("9-dense-rounds", 1, profile).spending(record) == pytest.approx(
        expected, rel=1e-12
    )


def test_bytes_are_counted_over_all_clients_or_a_slot(digits: RunConfig, paper: NetworkProfile):
    record = size_only(digits, paper, 4)
    nbytes = sum(record.transfers["nbytes"].to_pylist())
    assert limit("1GB", 1, paper).spending(record)[-1] == nbytes
    assert limit("1GB/client", 1, paper).spending(record)[-1] == nbytes / 5


def test_bytes_of_a_device_are_those_of_the_busiest_client(digits: RunConfig):
    """By a count over the rows of the record, on three networks, one with a first download."""
    profiles = [load_profile(name) for name in ("paper-200-20", "lte", "mobile-mixed")]
    profiles[1] = profiles[1].model_copy(update={"first_download": 300_000})
    for profile in profiles:
        record = size_only(digits, profile, 9)
        so_far, most = Counter(), []
        for number in range(1, 10):
            for row in record.transfers.to_pylist():
                so_far[row["client"]] += row["nbytes"] if row["round"] == number else 0
            most.append(max(so_far.values()))
        made = limit("1MB/device", most[5], profile)
        assert made.spending(record).tolist() == most
        assert made.rounds(record) == sum(nbytes <= most[5] for nbytes in most) >= 6
        assert replace(made, amount=most[5] - 1).rounds(record) < 6


def test_bytes_of_a_month_are_those_of_the_busiest_client_in_30_days(digits: RunConfig):
    """By the days of the rounds and a count over the rows of the record, on three networks."""
    budget = parse_budget("1MB/month@0.15/day")  # a round every 6 2/3 days: 5 in 30 days
    assert budget.month_rounds == 5
    for name in ("paper-200-20", "lte", "mobile-mixed"):
        profile = load_profile(name).model_copy(update={"first_download": 9_000})
        record = size_only(digits, profile, 24)
        rows = record.transfers.to_pylist()
        expected = []
        for last in range(1, 25):
            sums = Counter()
            for row in rows:
                days_before = (last - row["round"]) / 0.15
                if 0 <= days_before < 30:
                    sums[row["client"]] += row["nbytes"]
            expected.append(max([*sums.values(), *expected[-1:]]))
        made = Limit(budget, expected[9], profile.links(50), 5)
        assert made.spending(record).tolist() == expected
        assert made.rounds(record) == sum(nbytes <= expected[9] for nbytes in expected)
        assert expected[-1] < limit("1MB/device", 1, profile).spending(record)[-1]


def test_a_run_within_a_month_spends_what_it_spends_of_a_device(digits: RunConfig):
    """Three networks, messages of a megabyte: a closed form from the cohorts alone."""
    for name in ("paper-200-20", "lte", "mobile-mixed"):
        links = load_profile(name).links(50)
        traffic = Traffic.predict(digits, 60).with_sizes(600_000, 400_000)
        budget = parse_budget("3MB/month@1/day")
        made = Limit(budget, budget.amount, links, 5)
        device = Limit(parse_budget("3MB/device"), 3e6, links, 5)
        spent = made.spending(traffic)
        assert np.array_equal(spent[:30], device.spending(traffic)[:30])
        seen = [
            max(Counter(traffic.clients[max(0, r - 29) : r + 1].ravel().tolist()).values())
            for r in range(60)
        ]
        assert spent.tolist() == [1e6 * max(seen[: r + 1]) for r in range(60)]
        assert made.rounds(traffic) >= device.rounds(traffic)


def test_seconds_are_the_simulated_clock(digits: RunConfig, paper: NetworkProfile):
    record = size_only(digits, paper, 4)
    assert np.array_equal(limit("9s", 9, paper).spending(record), record.rounds["closed_at_s"])


def test_seconds_are_the_median_of_the_fleets_that_a_network_draws(digits: RunConfig):
    profile = load_profile("lte")
    fleets = [profile.model_copy(update={"seed": profile.seed + n}) for n in range(40)]
    records = [size_only(digits, fleet, 4) for fleet in fleets]
    closed_FR = np.array([record.rounds["closed_at_s"] for record in records])
    found_R = limit("9s", 9, profile).spending(records[0])
    assert found_R == pytest.approx(np.median(closed_FR, axis=0), rel=1e-12)
    assert not np.allclose(found_R, closed_FR[0], rtol=0.01)


def test_a_budget_affords_the_rounds_that_fit_and_no_more(digits: RunConfig, paper: NetworkProfile):
    record = size_only(digits, paper, 10)
    of_round = np.bincount(record.transfers["round"], record.transfers["nbytes"])[1:]
    of_four = of_round[:4].sum()
    assert limit("1GB", of_four, paper).rounds(record) == 4
    assert limit("1GB", of_four - 1, paper).rounds(record) == 3
    assert limit("1GB", of_round[0] / 2, paper).rounds(record) == 0
