"""Server step on products and norms of partners, against whole products in float64."""

from __future__ import annotations

import numpy as np

from floss_sim.methods import (
    Contribution,
    CorrectedMeanStep,
    Gradient,
    MeanProductStep,
    OneFactorStep,
    RebasingStep,
)
from floss_sim.methods.factored_products import leading_factors
from floss_sim.methods.kurtosis_selectors import shares_within
from floss_sim.methods.partner_norms import partner_norms
from floss_sim.rng import lazy_stream
from floss_sim.vectors.layout import Layout, TensorSpec

LAYOUT = Layout(
    (
        TensorSpec("head.bias", (3,), "head_bias"),
        TensorSpec("x.lora_A", (2, 5), "lora_A"),
        TensorSpec("x.lora_B", (4, 2), "lora_B"),
    )
)
A, B = LAYOUT.slices["x.lora_A"], LAYOUT.slices["x.lora_B"]
rng = np.random.default_rng(0)


def normal() -> np.ndarray:
    return rng.standard_normal(LAYOUT.entries).astype(np.float32)


def product(vector_N: np.ndarray) -> np.ndarray:
    return vector_N[B].reshape(4, 2).astype(float) @ vector_N[A].reshape(2, 5).astype(float)


def mean_of(parts: list[Contribution]) -> Gradient:
    return Gradient(sum(np.float32(w) * update_N for w, _, update_N in parts))


def test_a_turn_takes_the_change_of_one_factor_that_comes_closest_to_the_mean_product():
    """No other change of the factor comes closer; the other factor stays."""
    server_N, starts = normal(), [normal(), normal()]
    updates = [0.3 * normal(), 0.3 * normal()]
    mean = sum(
        w * (product(s) - product(s - u))
        for w, s, u in zip((0.25, 0.75), starts, updates, strict=True)
    )
    parts = [Contribution(w, s, u) for w, s, u in zip((0.25, 0.75), starts, updates, strict=True)]
    for version, (moves, stays) in enumerate(((B, A), (A, B))):
        found_N, moving_N = OneFactorStep().gradient(
            LAYOUT, server_N, mean_of(parts), parts, version, lazy_stream(0)
        )
        assert not found_N[stays].any()
        assert not moving_N[stays].any()
        assert moving_N[moves].all()
        assert np.allclose(found_N[:3], 0.25 * updates[0][:3] + 0.75 * updates[1][:3])

        def miss(change_N: np.ndarray) -> float:
            return np.linalg.norm(product(server_N) - product(server_N - change_N) - mean)

        change_N = np.where(np.arange(LAYOUT.entries) < 3, 0, found_N).astype(float)
        for _ in range(20):
            other_N = change_N.copy()
            other_N[moves] += 0.05 * rng.standard_normal(other_N[moves].size)
            assert miss(change_N) < miss(other_N)


def test_a_random_part_has_the_whole_change_as_its_mean():
    server_N, parts = normal(), [Contribution(1.0, normal(), normal())]
    mean = mean_of(parts)
    whole_N, _ = OneFactorStep().gradient(LAYOUT, server_N, mean, parts, 0, lazy_stream(0))
    draws = [
        OneFactorStep(1 / 2).gradient(LAYOUT, server_N, mean, parts, 0, lazy_stream(0, "draw", n))
        for n in range(400)
    ]
    assert {int(moving_N[B].sum()) for _, moving_N in draws} == {4}
    assert all(np.array_equal(g[moving_N][3:], 2 * whole_N[moving_N][3:]) for g, moving_N in draws)
    error_N = np.mean([g for g, _ in draws], axis=0) - whole_N
    assert np.abs(error_N[B] / whole_N[B]).max() < 5 / np.sqrt(400)


def test_leading_factors_are_the_best_approximation_of_a_product():
    left, right, old_a = (rng.standard_normal(shape) for shape in ((7, 4), (4, 5), (2, 5)))
    a, b = leading_factors(left, right, old_a)
    u, s, v = np.linalg.svd(left @ right)
    assert np.allclose(b @ a, u[:, :2] * s[:2] @ v[:2])
    assert np.allclose(np.linalg.norm(b, axis=0), s[:2])
    assert np.allclose(a @ a.T, np.eye(2))
    assert all(row[np.abs(row).argmax()] > 0 for row in a)


def test_a_rank_without_a_singular_value_keeps_a_direction_of_the_old_a():
    """B's column is zero there, and A's row a unit vector of the old A's span."""
    old_a = rng.standard_normal((3, 6))
    left, right = rng.standard_normal((5, 1)), rng.standard_normal((1, 3)) @ old_a
    a, b = leading_factors(left, right, old_a)
    assert np.allclose(b @ a, left @ right)
    assert not b[:, 1:].any()
    assert np.allclose(a @ a.T, np.eye(3))
    assert np.allclose(a @ np.linalg.pinv(old_a) @ old_a, a)


def test_a_product_of_zero_leaves_a_as_it_is():
    old_a = rng.standard_normal((2, 5))
    a, b = leading_factors(np.zeros((4, 2)), old_a, old_a)
    assert np.array_equal(a, old_a)
    assert not b.any()


def test_a_mean_product_weighs_the_clients_and_the_old_product():
    """Of one client at rate 1 nothing else is left; weights below 1 leave the rest to the old."""
    server_N, start_N, update_N = normal(), normal(), normal()
    old, own = product(server_N), product(start_N - update_N)
    for rate, weight in ((1.0, 1.0), (0.5, 1.0), (0.5, 0.5)):
        step, parts = MeanProductStep(rate), [Contribution(weight, start_N, update_N)]
        found_N, bases = step.refactor(LAYOUT, server_N, parts, 1)
        u, s, v = np.linalg.svd((1 - rate * weight) * old + rate * weight * own)
        assert np.allclose(product(found_N), u[:, :2] * s[:2] @ v[:2], atol=1e-5)
        assert np.array_equal(found_N[:3], server_N[:3])
        assert not bases
        _, moving_N = step.gradient(LAYOUT, server_N, mean_of(parts), parts, 0, lazy_stream(0))
        assert moving_N.nonzero()[0].tolist() == [0, 1, 2]


def test_a_correction_comes_closest_to_the_mean_product_under_its_penalty():
    """At server rate 1 no other B has a smaller sum of the distance and the penalty."""
    server_N = normal()
    parts = [Contribution(w, server_N, 0.5 * normal()) for w in (0.25, 0.75)]
    mean = mean_of(parts)
    wanted = sum(w * product(start_N - update_N) for w, start_N, update_N in parts)
    for penalty in (0.01, 3.0):
        step = CorrectedMeanStep(penalty)
        found = step.gradient(LAYOUT, server_N, mean, parts, 0, lazy_stream(0))
        assert np.array_equal(found.values[: B.start], mean.values[: B.start])
        new_N = server_N - found.values

        def cost(vector_N: np.ndarray, penalty: float = penalty) -> float:
            correction = vector_N[B] - (server_N - mean.values)[B]
            return np.sum((product(vector_N) - wanted) ** 2) + penalty * np.sum(correction**2)

        assert cost(new_N) < cost(server_N - mean.values)
        for _ in range(20):
            other_N = new_N.copy()
            other_N[B] += 0.05 * rng.standard_normal(other_N[B].size)
            assert cost(new_N) < cost(other_N)


def test_a_new_basis_leaves_the_product_and_turns_b():
    server_N = normal()
    found_N, bases = RebasingStep(2).refactor(LAYOUT, server_N, [], 4)
    assert RebasingStep(2).refactor(LAYOUT, server_N, [], 3) is None
    assert np.allclose(product(found_N), product(server_N), atol=1e-5)
    a = found_N[A].reshape(2, 5)
    assert np.allclose(a @ a.T, np.eye(2), atol=1e-6)
    turned = server_N[B].reshape(4, 2) @ bases["x.lora_B"]
    assert np.allclose(turned, found_N[B].reshape(4, 2), atol=1e-5)


def test_an_update_of_another_basis_has_its_effect_in_the_servers():
    """A client that trained before a change of the basis changes the same product."""
    earlier_N, update_N = normal(), normal()
    update_N[A] = 0  # B trains alone
    server_N, _ = RebasingStep().refactor(LAYOUT, earlier_N, [], 1)
    parts = [Contribution(1.0, earlier_N, update_N)]
    found = RebasingStep().gradient(LAYOUT, server_N, mean_of(parts), parts, 1, lazy_stream(0))
    change = product(server_N) - product(server_N - found.values)
    assert np.allclose(change, product(earlier_N) - product(earlier_N - update_N), atol=1e-5)
    same = [Contribution(1.0, server_N, update_N)]
    mean = mean_of(same)
    found = RebasingStep().gradient(LAYOUT, server_N, mean, same, 1, lazy_stream(0))
    assert np.array_equal(found.values, mean.values)


def test_the_norm_of_a_partner_is_that_of_the_changed_product():
    """One entry changes alone; the other factor is the old A for B, and the new B for A."""
    start_N, update_N = normal(), normal()
    norms_N = partner_norms(LAYOUT, start_N, update_N)
    for entry in range(3, LAYOUT.entries):
        before_N = start_N.copy()
        if entry < B.start:
            before_N[B] -= update_N[B]
        after_N = before_N.copy()
        after_N[entry] += 0.5
        change = np.linalg.norm(product(after_N) - product(before_N))
        assert np.isclose(change, 0.5 * norms_N[entry], rtol=1e-4)
    assert norms_N[:3].tolist() == [1, 1, 1]


def test_shares_keep_their_total_and_their_bounds():
    most = np.array([10, 640, 128, 128])
    shares = shares_within(300, np.array([500.0, 100, 50, 150]), most)
    assert shares.tolist() == [10, 108, 54, 128]  # 10 and 128 are full; 162 are left for 2 to 1
    assert shares_within(906, np.ones(4), most).tolist() == most.tolist()
    assert shares_within(2, np.ones(4), most).tolist() == [1, 1, 0, 0]
