from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import floss_sim.tasks
from floss_sim import (
    AdapterSettings,
    Deployment,
    backbone_model,
    estimate,
    load_profile,
    load_task,
    run,
    size_only,
)
from floss_sim.errors import BudgetError, ConfigError, LayoutError
from floss_sim.network import NetworkProfile
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.wire import plain_nbytes
from planner.candidates import Candidate, grid
from planner.question.budget import parse_budget
from planner.question.cost import price
from planner.question.request import Request


def request(profile: NetworkProfile, budget: str = "50-dense-rounds", **changes) -> Request:
    candidates = changes.pop("candidates", grid([1, 4], [1.0, 0.25], [1.0, 1 / 16]))
    settings = {"reference_rank": 4, "max_rounds": 200, "effort": 0.5, "seed": 0} | changes
    return Request(load_task("digits"), parse_budget(budget), profile, candidates, **settings)


ENTRIES = 8 * 4 * 128 + 650  # rank 4 on q and v of four layers, and the head


def weighted_bytes(asked: Request, candidate: Candidate, ratio: float) -> np.ndarray:
    """Return download bytes plus ``ratio`` times upload bytes of a client, after each round."""
    sizes = asked.config(candidate).sizes
    down_R, up_R = (sizes.messages(way, 0, 1, asked.max_rounds)[0] for way in ("down", "up"))
    return np.cumsum(down_R + ratio * up_R)


def test_the_dense_reference_affords_its_dense_rounds_and_what_the_wire_saves(
    paper: NetworkProfile,
):
    for budget, rounds in (
        ("1-dense-round", 1),
        ("50-dense-rounds", 50),
        ("120-dense-rounds", 120),
    ):
        asked = request(paper.with_upload_ratio(16), budget)
        horizon = price(asked).of[Candidate(4, 1.0, 1.0)].horizon
        taken = weighted_bytes(asked, Candidate(4, 1.0, 1.0), 16)
        assert horizon == np.count_nonzero(taken <= rounds * 17 * plain_nbytes(ENTRIES))
        assert rounds <= horizon < 1.3 * rounds


@pytest.mark.parametrize("network", ["paper-200-20", "lte"])
def test_costs_are_those_of_an_estimate_that_knows_no_task(network: str):
    """An estimate has the layout from the model's config, and as many examples at every client."""
    profile = load_profile(network)
    instant = load_profile("paper-200-20").clients[0].compute_per_example
    rows = [row.model_copy(update={"compute_per_example": instant}) for row in profile.clients]
    profile = profile.model_copy(update={"clients": tuple(rows)})
    asked = request(profile, "2GB", max_rounds=100)
    partition, server = asked.task.partition, asked.task.server
    backbone = Path(floss_sim.tasks.__file__).parent / "digits_backbone"
    model = backbone_model(str(backbone), kind="image-classification", labels=10)
    for candidate, cost in price(asked).of.items():
        made = estimate(
            Deployment(
                model,
                AdapterSettings(rank=candidate.rank, targets=("q", "v")),
                asked.config(candidate).method,
                profile,
                clients=partition.clients,
                cohort=server.cohort,
                rounds=cost.horizon,
            )
        )
        assert made.trained.entries == asked.config(candidate).layout.entries
        messages = cost.horizon * server.cohort
        for way in ("down", "up"):
            told = getattr(cost, f"{way}_bytes")
            assert told == pytest.approx(getattr(made.traffic, way).sum() / messages, abs=0.51)
        assert cost.round_s == pytest.approx(made.time.median_s / cost.horizon, rel=1e-9)


def test_a_horizon_is_the_budget_over_the_cost_of_a_round(paper: NetworkProfile):
    ratio = 16
    asked = request(paper.with_upload_ratio(ratio), max_rounds=10**3)
    costs = price(asked)
    dense = (1 + ratio) * plain_nbytes(ENTRIES)
    for down, up in ((1.0, 1 / 16), (0.25, 1.0), (0.25, 1 / 16)):
        cost = costs.of[Candidate(4, down, up)]
        taken = weighted_bytes(asked, Candidate(4, down, up), ratio)
        assert cost.horizon == np.count_nonzero(taken <= 50 * dense)
        mean = taken[cost.horizon - 1] / cost.horizon
        assert cost.down_bytes + ratio * cost.up_bytes == pytest.approx(mean, abs=ratio)


def test_the_cap_limits_the_horizon(paper: NetworkProfile):
    costs = price(request(paper, max_rounds=30))
    assert {cost.horizon for cost in costs.of.values()} == {30}
    assert costs.grid_rounds == 8 * 30


def test_predicted_bytes_are_those_that_a_size_only_run_shows(paper: NetworkProfile):
    asked = request(paper, max_rounds=2)
    costs = price(asked)
    for candidate in asked.candidates:
        config = asked.config(candidate)
        learner = SizeOnlyLearner(config.sizes, config.client_examples())
        record = run(config, paper, learner, rounds=2)
        for way in ("down", "up"):
            mean = sum(record.rounds[f"{way}_bytes"].to_pylist()) / 10
            assert getattr(costs.of[candidate], f"{way}_bytes") == round(mean)


def test_a_budget_that_no_candidate_meets_says_what_the_cheapest_takes(paper: NetworkProfile):
    with pytest.raises(BudgetError, match=r"affords no round .*cheapest \(rank 1, down 1/4"):
        price(request(paper, "100B"))


def test_candidates_that_afford_no_round_are_left_out(paper: NetworkProfile):
    costs = price(request(paper, "20kB"))
    assert 0 < len(costs.searched) < 8
    assert all(costs.of[candidate].horizon >= 1 for candidate in costs.searched)


def median_round_s(asked: Request, candidate: Candidate, rounds: int) -> float:
    """Return the median over 40 fleets of the mean round, by the simulator."""
    config, ends_s = asked.config(candidate), []
    for seed in range(asked.profile.seed, asked.profile.seed + 40):
        fleet = asked.profile.model_copy(update={"seed": seed})
        ends_s.append(size_only(config, fleet, rounds).rounds["closed_at_s"][-1].as_py())
    return float(np.median(ends_s)) / rounds


def test_limits_of_seconds_hold_in_the_median_of_fleets_for_every_budget():
    rounds, lte = 4, load_profile("lte")
    every = {budget: price(request(lte, budget, max_rounds=rounds)) for budget in ("1GB", "1h")}
    sure = price(request(lte, "1h@90%", max_rounds=rounds))
    asked = request(lte, max_rounds=rounds)
    for candidate in asked.candidates[:2]:
        median_s = median_round_s(asked, candidate, rounds)
        for costs in every.values():
            assert costs.of[candidate].round_s == pytest.approx(median_s, rel=1e-9)
        assert sure.of[candidate].round_s > median_s
    limits = {"max_round_s": median_s * 1.001, "candidates": [candidate]}
    assert price(request(lte, "1GB", max_rounds=rounds, **limits)).searched == (candidate,)
    with pytest.raises(BudgetError, match="a mean round takes more than"):
        price(request(lte, "1h@90%", max_rounds=rounds, **limits))


def test_the_thesis_rule_divides_a_quarter_by_the_ratio(paper: NetworkProfile):
    rule = request(paper.with_upload_ratio(16)).baselines()["thesis_rule"]
    assert rule == Candidate(4, 1 / 4, 1 / 64)
    assert request(paper.with_upload_ratio(1 / 8)).baselines()["thesis_rule"].up_density == 1.0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"effort": -0.1}, ConfigError),
        ({"effort": 1.5}, ConfigError),
        ({"max_rounds": 0}, ConfigError),
        ({"candidates": []}, ConfigError),
        ({"candidates": [Candidate(65, 1.0, 1.0)]}, LayoutError),
        ({"reference_rank": 0}, LayoutError),
    ],
)
def test_impossible_requests_are_refused(paper: NetworkProfile, changes: dict, error: type):
    with pytest.raises(error):
        request(paper, **changes).checked()
