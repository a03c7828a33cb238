"""Which pair of learning rates is clearly better, by the errors of binomial accuracies."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from planner.plans.rate_test import RatePair, RateTest, better_rates

OWN = (0.05, 0.005)


def pair(client_lr: float, server_lr: float, accuracy: float | None) -> RatePair:
    return RatePair(client_lr=client_lr, server_lr=server_lr, accuracy=accuracy)


@pytest.mark.parametrize("own", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("examples", [100, 400])
def test_a_pair_is_better_from_two_errors_of_the_difference_on(own: float, examples: int):
    for above in (1.9, 2.1):
        gain = above * math.sqrt(2 * own * (1 - own) / examples)  # first guess: p of the own pair
        for _ in range(50):  # fixed point: the error is that at the mean of both accuracies
            middle = own + gain / 2
            gain = above * math.sqrt(2 * middle * (1 - middle) / examples)
        mine, other = pair(*OWN, own), pair(0.05, 0.015, own + gain)
        assert better_rates(mine, (mine, other), examples) == (other if above > 2 else None)


def test_of_pairs_within_one_error_of_the_best_the_nearest_is_taken():
    mine, near = pair(*OWN, 0.2), pair(0.05, 0.015, 0.795)
    far, worse = pair(0.15, 0.015, 0.8), pair(0.15, 0.005, 0.6)
    assert better_rates(mine, (mine, near, far, worse), 350) == near
    assert better_rates(mine, (mine, near, far, worse), 350_000) == far


def test_whatever_learns_is_better_than_a_pair_that_diverges():
    mine, other, worse = pair(*OWN, None), pair(0.05, 0.0015, 0.3), pair(0.15, 0.005, None)
    assert better_rates(mine, (mine, other, worse), 350) == other
    assert better_rates(mine, (mine, worse), 350) is None
    assert better_rates(other, (mine, other, worse), 350) is None


def made(**changes: Any) -> dict[str, Any]:
    tested = (pair(*OWN, 0.2), pair(0.05, 0.015, 0.8), pair(0.15, 0.005, 0.05))
    plain = {"rank": 16, "rounds": 20, "examples": 350, "client_lr": 0.05, "server_lr": 0.005,
             "tested": [one.model_dump() for one in tested], "better": tested[1].model_dump(),
             "tuned": False, "trained_now_rounds": 40}  # fmt: skip
    return plain | changes


def test_a_rate_that_no_longer_learns_at_three_times_is_named():
    test = RateTest.model_validate(made())
    assert test.collapsing == ("client",)
    alone = made(tested=[test.own.model_dump(), test.tested[2].model_dump()], better=None)
    assert (
        "the learning rate of the client does not learn" in RateTest.model_validate(alone).warning
    )
    assert "client 0.05, server 0.015 reaches 0.800 in 20 rounds" in test.warning
    assert not RateTest.model_validate(made(tuned=True)).warning
    assert RateTest.model_validate(test.to_json()) == test


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"better": None}, "better: it is not the pair"),
        ({"better": {"client_lr": 0.05, "server_lr": 0.015, "accuracy": 0.7}}, "better: it is not"),
        ({"client_lr": 0.06}, "tested: the task's own rates are missing"),
        ({"tested": [pair(*OWN, 0.2).model_dump()], "better": None, "tuned": True}, "tuned: no"),
        ({"trained_now_rounds": 61}, "trained_now_rounds: more than all"),
        ({"server_lr": 0.0}, "greater than 0"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(changes: dict[str, Any], says: str):
    with pytest.raises(ValidationError, match=says):
        RateTest.model_validate(made(**changes))
