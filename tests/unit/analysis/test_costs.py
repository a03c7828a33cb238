"""Accounts: every second, byte, joule and coin of a run, against sums made by hand."""

from __future__ import annotations

import pytest
from stand_in_learners import CountingLearner

from floss_sim import RunConfig, load_profile, run
from floss_sim.analysis.costs import BYTES, COSTS, SECONDS, account
from floss_sim.network import NetworkProfile
from floss_sim.network.profile import EnergySection, PricesSection
from floss_sim.simulator import buffered, first_k


@pytest.fixture(scope="module")
def priced() -> NetworkProfile:
    """LTE with a shared pipe, energy and prices."""
    energy = EnergySection(joules_per_mb_down=3.0, joules_per_mb_up=7.0, compute_watts=2.0)
    prices = PricesSection(currency="EUR", per_gb_down=1.0, per_gb_up=5.0, per_joule=1e-4)
    shared = load_profile("lte").with_changes("shared", ingress=20_000.0)
    return shared.model_copy(update={"energy": energy, "prices": prices})


def test_a_participation_is_download_compute_upload_and_waiting(
    sparse_digits: RunConfig, priced: NetworkProfile
):
    record = run(sparse_digits, priced, CountingLearner(), rounds=6)
    made = account(record, priced)
    rounds = {row["round"]: row for row in record.rounds.to_pylist()}
    for row in made.table().to_pylist():
        parts = sum(row[name] for name in ("download_s", "compute_s", "upload_s", "waiting_s"))
        whole = rounds[row["round"]]
        assert parts == pytest.approx(whole["closed_at_s"] - whole["opened_at_s"], rel=1e-9)
        assert row["queueing_s"] <= row["download_s"] + row["upload_s"]
    assert made.total()["queueing_s"] > 0


def test_nothing_queues_where_nothing_is_shared(sparse_digits: RunConfig):
    lte = load_profile("lte")
    assert account(run(sparse_digits, lte, CountingLearner(), rounds=6), lte).total()[
        "queueing_s"
    ] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("policy", [first_k(2), first_k(2, "finish"), buffered(2)], ids=str)
def test_useful_and_wasted_bytes_are_those_of_the_rounds(
    sparse_digits: RunConfig, priced: NetworkProfile, policy
):
    record = run(sparse_digits, priced, CountingLearner(), rounds=9, policy=policy)
    made = account(record, priced)
    rounds = {row["round"]: row for row in made.sums_by("round").to_pylist()}
    for row in record.rounds.to_pylist():
        mine = rounds[row["round"]]
        assert mine["wasted_bytes"] == row["wasted_bytes"]
        assert mine["useful_bytes"] + mine["wasted_bytes"] == row["down_bytes"] + row["up_bytes"]
        assert mine["wire_down_bytes"] + mine["wire_up_bytes"] == row["wire_bytes"]
    late = made.columns["fate"] != "aggregated"
    assert late.any() == (policy.name == "first-k")
    assert not made.columns["useful_bytes"][late].any()


def test_clients_and_rounds_add_up_to_the_run(sparse_digits: RunConfig, priced: NetworkProfile):
    made = account(run(sparse_digits, priced, CountingLearner(), rounds=7), priced)
    for key in ("round", "client"):
        sums = made.sums_by(key)
        assert sum(sums["participations"].to_pylist()) == 35
        for name in (*SECONDS, *BYTES, *COSTS):
            assert sum(sums[name].to_pylist()) == pytest.approx(made.total()[name])


def test_energy_and_money_follow_the_profile(sparse_digits: RunConfig, priced: NetworkProfile):
    made = account(run(sparse_digits, priced, CountingLearner(), rounds=3), priced)
    total = made.total()
    joules = 3 * total["wire_down_bytes"] / 1e6 + 7 * total["wire_up_bytes"] / 1e6
    joules += 2 * total["compute_s"]
    money = total["wire_down_bytes"] / 1e9 + 5 * total["wire_up_bytes"] / 1e9 + 1e-4 * joules
    assert total["energy_j"] == pytest.approx(joules)
    assert total["money"] == pytest.approx(money)
    assert made.currency == "EUR"
    free = account(run(sparse_digits, priced, CountingLearner(), rounds=3), load_profile("lte"))
    assert free.total()["energy_j"] is free.total()["money"] is None


def test_a_client_alone_behind_a_slow_server_does_not_queue(sparse_digits: RunConfig):
    slow = load_profile("lte").with_changes("slow", ingress=10_000.0)
    alone = run(sparse_digits.with_(server={"cohort": 1}), slow, CountingLearner(), rounds=4)
    assert account(alone, slow).total()["queueing_s"] == 0
    five = account(run(sparse_digits, slow, CountingLearner(), rounds=4), slow).total()
    assert five["queueing_s"] > 0.5 * five["upload_s"]


def test_a_first_download_is_counted_once_for_each_client(sparse_digits: RunConfig):
    plain = load_profile("lte")
    heavy = plain.with_changes("first download 1MB", first_download=10**6)
    small = sparse_digits.with_(fleet={"clients": 8})
    before, after = (run(small, p, CountingLearner(), rounds=10) for p in (plain, heavy))
    firsts = after.transfers.to_pandas().query("direction == 'first'")
    assert sorted(firsts.client) == sorted(set(before.transfers["client"].to_pylist()))
    down = [sum(record.rounds["down_bytes"].to_pylist()) for record in (before, after)]
    assert down[1] - down[0] == 10**6 * len(firsts)
    assert after.rounds["closed_at_s"][0].as_py() > before.rounds["closed_at_s"][0].as_py() + 0.1
    assert after.rounds["accuracy"].equals(before.rounds["accuracy"])
