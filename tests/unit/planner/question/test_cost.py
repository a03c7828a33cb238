from __future__ import annotations

import pytest

from floss_sim import load_task, run
from floss_sim.errors import BudgetError, ConfigError, LayoutError
from floss_sim.network import NetworkProfile
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.wire import plain_nbytes, predict_nbytes
from planner.candidates import Candidate, grid
from planner.question.budget import parse_budget
from planner.question.cost import price
from planner.question.request import Request


def request(profile: NetworkProfile, budget: str = "50-dense-rounds", **changes) -> Request:
    candidates = changes.pop("candidates", grid([1, 4], [1.0, 0.25], [1.0, 1 / 16]))
    settings = {"reference_rank": 4, "max_rounds": 200, "effort": 0.5, "seed": 0} | changes
    return Request(load_task("digits"), parse_budget(budget), profile, candidates, **settings)


ENTRIES = 8 * 4 * 128 + 650  # rank 4 on q and v of four layers, and the head


def test_the_dense_reference_affords_its_dense_rounds_and_what_the_wire_saves(
    paper: NetworkProfile,
):
    saved = plain_nbytes(ENTRIES) / predict_nbytes(ENTRIES, ENTRIES)
    assert 1 < saved < 1.3
    for budget, rounds in (
        ("1-dense-round", 1),
        ("50-dense-rounds", 50),
        ("120-dense-rounds", 120),
    ):
        costs = price(request(paper.with_upload_ratio(16), budget))
        assert costs.of[Candidate(4, 1.0, 1.0)].horizon == int(rounds * saved)


def test_a_horizon_is_the_budget_over_the_cost_of_a_round(paper: NetworkProfile):
    ratio = 16
    costs = price(request(paper.with_upload_ratio(ratio), max_rounds=10**3))
    dense = (1 + ratio) * plain_nbytes(ENTRIES)
    for down, up in ((1.0, 1 / 16), (0.25, 1.0), (0.25, 1 / 16)):
        cost = costs.of[Candidate(4, down, up)]
        down_bytes = predict_nbytes(ENTRIES, int(down * ENTRIES))
        up_bytes = predict_nbytes(ENTRIES, int(up * ENTRIES))
        assert (cost.down_bytes, cost.up_bytes) == (down_bytes, up_bytes)
        assert cost.horizon == min(10**3, int(50 * dense / (down_bytes + ratio * up_bytes)))


def test_the_cap_limits_the_horizon(paper: NetworkProfile):
    costs = price(request(paper, max_rounds=30))
    assert {cost.horizon for cost in costs.of.values()} == {30}
    assert costs.grid_rounds == 8 * 30


def test_predicted_bytes_are_those_that_a_size_only_run_shows(paper: NetworkProfile):
    asked = request(paper)
    costs = price(asked)
    for candidate in asked.candidates:
        config = asked.config(candidate)
        learner = SizeOnlyLearner(config.layout, config.method, config.client_examples())
        record = run(config, paper, learner, rounds=2)
        assert record.rounds["down_bytes"][0].as_py() == 5 * costs.of[candidate].down_bytes
        assert record.rounds["up_bytes"][0].as_py() == 5 * costs.of[candidate].up_bytes


def test_a_budget_that_no_candidate_meets_says_what_the_cheapest_takes(paper: NetworkProfile):
    with pytest.raises(BudgetError, match=r"affords no round .*cheapest \(rank 1, down 1/4"):
        price(request(paper, "100B"))


def test_candidates_that_afford_no_round_are_left_out(paper: NetworkProfile):
    costs = price(request(paper, "20kB"))
    assert 0 < len(costs.searched) < 8
    assert all(costs.of[candidate].horizon >= 1 for candidate in costs.searched)


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
