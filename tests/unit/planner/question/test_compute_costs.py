"""Costs of candidates on clients with devices: operations decide how many rounds a time affords."""

from __future__ import annotations

import pytest

from floss_sim import load_profile
from planner import Request
from planner.candidates import Candidate
from planner.question.cost import price

PHONE = load_profile("phone-wifi")


def rounds(budget: str, *candidates: Candidate) -> list[int]:
    request = Request.of("digits", PHONE, budget=budget, candidates=candidates, max_rounds=2000)
    costs = price(request)
    return [costs.of[candidate].horizon for candidate in candidates]


def test_fewer_layers_and_lower_ranks_afford_more_rounds_and_compression_does_not():
    dense, last, low, sparse = rounds(
        "3min",
        Candidate(16, 1.0, 1.0),
        Candidate(16, 1.0, 1.0, depth=1),
        Candidate(1, 1.0, 1.0),
        Candidate(16, 1 / 64, 1 / 64),
    )
    assert last > 1.4 * dense
    assert low > dense
    assert sparse == pytest.approx(dense, rel=0.02)


def test_a_round_takes_its_steps_over_the_rate():
    request = Request.of("digits", PHONE, budget="3min", candidates=[Candidate(4, 1.0, 1.0)])
    cost = price(request).of[Candidate(4, 1.0, 1.0)]
    config = request.config(Candidate(4, 1.0, 1.0))
    link, most = PHONE.links(1)[0], max(config.client_examples())
    traffic_s = link.transfer_s("down", cost.down_bytes) + link.transfer_s("up", cost.up_bytes)
    assert cost.round_s == pytest.approx(link.compute_s(most, config.work) + traffic_s, rel=0.05)


def test_a_budget_of_bytes_does_not_know_compute():
    made = rounds("20MB", Candidate(4, 1.0, 1.0), Candidate(4, 1.0, 1 / 4))
    request = Request.of("digits", "wifi", budget="20MB", candidates=[Candidate(4, 1.0, 1.0)],
                         max_rounds=2000)  # fmt: skip
    assert price(request).of[Candidate(4, 1.0, 1.0)].horizon == made[0] < made[1]
