"""The prior over tasks against the linear mixed model written out, and its weight on curves."""

from __future__ import annotations

import numpy as np
import pytest

from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.forecasts.forecast import log_odds_at, prior_weight
from planner.forecasts.prior_terms import TERMS, term_values
from planner.forecasts.task_prior import GridEvidence, GridPrior, LeftOut, TaskPrior

SPACE = grid([1, 4, 16], [1.0, 1 / 4, 1 / 16], [1.0, 1 / 4, 1 / 16])
POINTS = [(c, rounds) for c in SPACE for rounds in (2, 10, 50)]
COUNT = len(TERMS)


def evidence(name: str, backbone: str, coefficients: np.ndarray, noise: float) -> GridEvidence:
    """The grid of a task with these coefficients, with independent errors and a little of a term
    that no other depends on, so that its precision has full rank."""
    terms = term_values(POINTS, 4)
    precision = terms.T @ terms / noise + 1e-6 * np.eye(COUNT)
    mark = name.encode().hex().rjust(16, "0")
    return GridEvidence(name, mark, backbone, len(SPACE), precision, precision @ coefficients)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=COUNT) / 3


@pytest.fixture
def prior() -> GridPrior:
    grids = tuple(evidence(n, 16 * n, drawn(ord(n)), 0.1) for n in "abc")
    common, between = np.full(COUNT, 2.0), np.full(COUNT, 0.3)
    replays = (LeftOut(0.0, 2.0, 8.0), LeftOut(0.02, 1.0, 4.0))
    return GridPrior(grids, common, between, 0.1, 0.5, replays)


def test_coefficients_are_those_of_the_mixed_model(prior: GridPrior):
    """All tasks' coefficients and the common mean, jointly normal, conditioned on the grids."""
    eye, zero = np.eye(COUNT), np.zeros(COUNT)
    tasks = len(prior.grids)
    shared = np.kron(np.ones((tasks + 1, tasks + 1)), 2.0 * eye)
    joint = shared + np.kron(np.eye(tasks + 1), 0.3 * eye)  # of three tasks and a new one
    noise = np.zeros_like(joint[:-COUNT, :-COUNT])
    for n, one in enumerate(prior.grids):
        part = slice(n * COUNT, (n + 1) * COUNT)
        noise[part, part] = np.linalg.inv(one.precision)
    seen = np.concatenate([np.linalg.solve(one.precision, one.pull) for one in prior.grids])
    gain = joint[-COUNT:, :-COUNT] @ np.linalg.inv(joint[:-COUNT, :-COUNT] + noise)
    mean, covariance = prior.coefficients
    np.testing.assert_allclose(mean, zero + gain @ seen, atol=1e-6)
    np.testing.assert_allclose(
        covariance, joint[-COUNT:, -COUNT:] - gain @ joint[:-COUNT, -COUNT:], atol=1e-6
    )


def test_grids_of_one_family_count_as_one_and_a_tasks_own_do_not(prior: GridPrior):
    twice = GridPrior((*prior.grids, prior.grids[0]), prior.common, prior.between, 0.1, 0.5)
    np.testing.assert_allclose(twice.coefficients[0], prior.coefficients[0], atol=1e-9)
    assert twice.families == 3
    told = prior.for_task(16 * "a", 0.1, 4)
    assert told is not None
    assert told.names == ("b", "c")
    only = GridPrior(prior.grids[:1], prior.common, prior.between, 0.1, 0.5)
    assert only.for_task(16 * "a", 0.1, 4) is None


def test_the_favourite_has_the_highest_lower_end(prior: GridPrior):
    told = prior.for_task("none", 0.1, 4)
    assert told is not None
    asked = dict.fromkeys(SPACE, 40)
    ends = {c: told.interval((c, 40), 0.9)[0] for c in SPACE}
    assert told.order(asked)[0] == max(ends, key=ends.__getitem__)
    assert prior.regret_at(0.01) == (1.5, 6.0)


def curves(told: TaskPrior, sign: float) -> dict[Candidate, Curve]:
    """Curves that differ between candidates as a prior expects (sign 1), or the other way."""
    rounds = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30)
    made = {}
    for c in SPACE[::2]:
        apart = sign * told.differences([(c, n) for n in rounds])
        accuracies = 1 / (1 + np.exp(-(apart - 2 + np.log(rounds))))
        made[c] = Curve(rounds, tuple(accuracies.tolist()), 30)
    return made


def test_the_weight_follows_the_curves(prior: GridPrior):
    told = prior.for_task("none", 0.1, 4)
    assert told is not None
    assert prior_weight({}, 500, 30, told) == 1.0
    agreed, contrary = (prior_weight(curves(told, sign), 500, 30, told) for sign in (1.0, -1.0))
    assert agreed > 0.8
    assert contrary < 0.3
    unseen = [(c, 30) for c in SPACE[1::2]]
    wrong = told.differences(unseen)
    made = np.array(log_odds_at(curves(told, -1.0), unseen, 500, 30, prior=told), dtype=float)
    assert np.corrcoef(made[:, 0], -wrong)[0, 1] > 0.7  # the curves outweigh the prior
