"""Intervals of test accuracies and differences: made-up examples and seeds whose truth is known."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from floss_sim.analysis.on_test import (
    AccuracyOnTest,
    HitsOnTest,
    accuracy_on_test,
    difference_on_test,
)
from floss_sim.records.on_test import ModelOnTest

ONES = np.ones(350, np.int64)
MODELS = 6
LUCK = 0.3  # log-odds: standard deviation over seeds


def shares(draw: np.random.Generator, ahead: float, hard_E, luck_S) -> list[HitsOnTest]:
    """Return the hits of each seed: ``ahead`` in log-odds, less the hardness of the examples."""
    runs = []
    for luck in luck_S:
        p_E = 1 / (1 + np.exp(-(ahead + luck - hard_E)))
        # the models of one run are alike: most examples are right for all of them or for none
        sure_E = draw.random(len(hard_E)) < p_E
        again_RE = draw.random((MODELS, len(hard_E))) < p_E
        moved_RE = draw.random((MODELS, len(hard_E))) < 0.2
        right_RE = np.where(moved_RE, again_RE, sure_E)
        runs.append(HitsOnTest(right_RE.mean(axis=0), MODELS))
    return runs


def truth(ahead: float) -> float:
    """Return the mean accuracy over all examples and seeds, by quadrature."""
    grid = np.linspace(-6, 6, 201)
    weight = np.exp(-(grid**2) / 2)
    weight /= weight.sum()
    hard, luck = 2 * grid, LUCK * grid
    p = 1 / (1 + np.exp(-(ahead + luck[:, None] - hard)))
    return float(weight @ p @ weight)


@pytest.mark.parametrize(("seeds", "known"), [(1, True), (2, True), (2, False), (5, False)])
def test_nine_of_ten_intervals_hold_the_accuracy_over_examples_and_seeds(seeds: int, known: bool):
    draw, held, ahead = np.random.default_rng(seeds + 10 * known), [], 5.0
    slope = truth(5.0) * (1 - truth(5.0))
    # what luck in log-odds of an example moves the accuracy over all of them by
    spread = (truth(5.0 + 0.01) - truth(5.0 - 0.01)) / 0.02 * LUCK / slope
    for _ in range(400):
        hard_E = 2 * draw.standard_normal(350)
        runs = shares(draw, ahead, hard_E, LUCK * draw.standard_normal(seeds))
        made = accuracy_on_test(runs, ONES, spread if known else None)
        held.append(made.low <= truth(ahead) <= made.high)
    assert 0.86 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(
    ("seeds", "known", "fewer"),
    [(1, True, 0), (2, True, 0), (3, True, 2), (3, False, 0), (5, False, 0)],
)
def test_nine_of_ten_intervals_hold_the_difference(seeds: int, known: bool, fewer: int):
    """One of the two configurations may have ``fewer`` seeds, if their variation is known."""
    draw, held = np.random.default_rng(100 + seeds + 10 * known), []
    one, other = 5.0, 4.5
    real = truth(one) - truth(other)
    spread = (truth(5.0 + 0.01) - truth(5.0 - 0.01)) / 0.02 * LUCK / (truth(5.0) * truth(-5.0))
    for _ in range(400):
        hard_E = 2 * draw.standard_normal(350)
        ours = shares(draw, one, hard_E, LUCK * draw.standard_normal(seeds - fewer))
        theirs = shares(draw, other, hard_E, LUCK * draw.standard_normal(seeds))
        made = difference_on_test(ours, theirs, ONES, spread if known else None)
        held.append(made.low <= real <= made.high)
    assert 0.86 <= np.mean(held) <= 0.98


def test_one_seed_alone_speaks_of_its_own_run():
    """Over test sets, the interval holds what this run would reach on all examples."""
    draw, held = np.random.default_rng(5), []
    for _ in range(400):
        hard_E = 2 * draw.standard_normal(350)
        made = accuracy_on_test(shares(draw, 5.0, hard_E, [LUCK]), ONES)
        held.append(made.low <= truth_of(LUCK) <= made.high)
    assert 0.86 <= np.mean(held) <= 0.95


def truth_of(luck: float) -> float:
    grid = np.linspace(-6, 6, 2001)
    weight = np.exp(-(grid**2) / 2) / np.exp(-(grid**2) / 2).sum()
    return float(weight @ (1 / (1 + np.exp(-(5.0 + luck - 2 * grid)))))


def test_a_paired_difference_is_that_of_counting_by_hand():
    """Of ten images, ours has six right in all models, theirs five, three of them in common."""
    ours = HitsOnTest(np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0.0]), 2)
    theirs = HitsOnTest(np.array([1, 1, 1, 0, 0, 0, 1, 0.5, 0.5, 0]), 2)
    made = difference_on_test([ours], [theirs], np.ones(10, np.int64))
    differences = [0, 0, 0, 1, 1, 1, -1, -0.5, -0.5, 0]
    assert made.mean == pytest.approx(0.1) == pytest.approx(np.mean(differences))
    error = np.std(differences, ddof=1) / math.sqrt(10)
    assert made.high - made.mean == pytest.approx(1.6448536 * error)
    assert made.mean - made.low == pytest.approx(1.6448536 * error)
    assert (made.examples, made.seeds) == (10, 1)


def test_pairing_takes_away_what_both_have_in_common():
    """Hard images are hard for both: the paired interval is narrower than two single ones."""
    draw = np.random.default_rng(3)
    hard_E = 3 * draw.standard_normal(350)
    ours, theirs = (shares(draw, ahead, hard_E, [0.0]) for ahead in (5.0, 4.8))
    made = difference_on_test(ours, theirs, ONES)
    singles = [accuracy_on_test(runs, ONES) for runs in (ours, theirs)]
    apart = math.hypot(*((one.high - one.low) / 2 for one in singles))
    assert made.high - made.mean < 0.95 * apart
    same = difference_on_test(ours, ours, ONES)
    assert (same.mean, same.high) == (0.0, pytest.approx(1.645 * 0.5 / 350, rel=1e-3))


def test_the_variance_of_a_crossed_layout_is_that_of_its_mean_squares():
    """Two seeds and four examples, whose sums of squares are counted by hand."""
    runs = [HitsOnTest(np.array(right), 1) for right in ([1.0, 1, 1, 0], [1.0, 0, 1, 0])]
    made = accuracy_on_test(runs, np.ones(4, np.int64))
    assert made.mean == 5 / 8
    means_E, means_S, mean = np.array([1, 0.5, 1, 0]), np.array([0.75, 0.5]), 0.625
    of_examples = 2 * ((means_E - mean) ** 2).sum() / 3
    of_seeds = 4 * ((means_S - mean) ** 2).sum() / 1
    grid = np.array([run.right for run in runs])
    rest = sum(
        (grid[s, e] - means_E[e] - means_S[s] + mean) ** 2 for s, e in product(range(2), range(4))
    ) / 3  # fmt: skip
    assert (of_seeds, rest) == pytest.approx((1 / 8, 1 / 8))
    error = math.sqrt(of_examples / 8)
    slope = mean * (1 - mean)
    logit = math.log(mean / (1 - mean))
    half = math.log(made.high / (1 - made.high)) - logit
    assert half * slope / error > 1.645  # Student's t has wider tails
    assert half * slope / error < 6.32  # and more than one degree of freedom


def test_texts_are_the_examples_of_next_tokens():
    """A text's tokens are right or wrong together, so that texts count and not tokens."""
    counts = np.array([4, 1, 0, 3])
    right = np.array([1, 1, 1, 1, 0, 1, 0, 0], bool)
    hits = HitsOnTest.of([ModelOnTest(5 / 8, 1.0, right)] * 3, counts)
    assert hits.right.tolist() == [4, 0, 0, 1]
    assert hits.models == 3
    made = accuracy_on_test([hits], counts)
    assert made.mean == pytest.approx(5 / 8)
    assert made.examples == 4
    one_each = accuracy_on_test(
        [HitsOnTest.of([ModelOnTest(5 / 8, 1.0, right)], np.ones(8, np.int64))],
        np.ones(8, np.int64),
    )
    assert made.high - made.low > one_each.high - one_each.low


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_perfect_score_has_an_interval(share: float):
    made = accuracy_on_test([HitsOnTest(np.full(350, share), 6)], ONES)
    assert made.mean == share
    assert 0 <= made.low <= share <= made.high <= 1
    assert 1e-3 < made.high - made.low < 1e-2
    assert made.to_json()["seeds"] == 1
    assert isinstance(made, AccuracyOnTest)
