"""Plans with budgets of money, energy and battery: their figures against the stored records."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from floss_sim import load_profile, retime
from floss_sim.analysis.costs import account
from floss_sim.network.profile import EnergySection, PricesSection
from planner import Request, plan
from planner.candidates import Candidate
from planner.execution.curve_store import CurveStore
from planner.plans.plan_file import plan_of

ENERGY = EnergySection(joules_per_mb_down=3.0, joules_per_mb_up=7.0, compute_watts=2.0)
PRICES = PricesSection(currency="EUR", per_gb_down=1.0, per_gb_up=5.0, per_joule=1e-4)
BUDGETS = {
    "1EUR": lambda usage: usage.money,
    "1kJ": lambda usage: usage.energy_j,
    "50%battery@15Wh": lambda usage: usage.busiest_device_j,
    "10MB/device": lambda usage: usage.busiest_device_bytes,
    "10MB/month@1/day": lambda usage: usage.busiest_device_bytes,  # a run of less than a month
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("budget", BUDGETS)
def test_what_a_plan_takes_is_what_its_record_took(budget: str, store: Path):
    profile = load_profile("lte").model_copy(update={"energy": ENERGY, "prices": PRICES})
    request = Request.of(
        "digits", profile, budget=budget, max_rounds=3, effort=1.0, reference_rank=1,
        candidates=[Candidate(1, 1.0, 1.0), Candidate(1, 1.0, 1 / 4)],
    )  # fmt: skip
    made = plan(request, store=store, workers=1)
    best = made.recommendation
    folder = CurveStore(store, "cpu").folder(request.config(best.candidate))
    record = retime(folder.record(), profile)
    rows = [row for row in record.transfers.to_pylist() if row["round"] <= best.rounds]
    nbytes = Counter()
    for row in rows:
        nbytes[row["client"]] += row["nbytes"]
    assert best.usage.busiest_device_bytes == max(nbytes.values())
    assert best.usage.mean_device_bytes == pytest.approx(sum(nbytes.values()) / 50)
    costs = account(record, profile).table().to_pandas().query("round <= @best.rounds")
    assert best.usage.energy_j == pytest.approx(costs.energy_j.sum(), rel=1e-9)
    assert best.usage.money == pytest.approx(costs.money.sum(), rel=1e-9)
    by_device = costs.groupby("client").energy_j.sum()
    assert best.usage.busiest_device_j == pytest.approx(by_device.max(), rel=1e-9)
    spent = best.spent * made.limit.amount
    assert BUDGETS[budget](best.usage) == pytest.approx(spent, rel=1e-9)
    read = plan_of(json.loads(json.dumps(made.to_json())), "here")
    assert read.recommendation.usage == best.usage
