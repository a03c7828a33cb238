"""Server step on products and norms of partners, against whole products in float64."""

from __future__ import annotations

import numpy as np

from floss_sim.methods import Contribution, ProductStep
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
        found_N, moving_N = ProductStep().gradient(LAYOUT, server_N, parts, version, lazy_stream(0))
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
    whole_N, _ = ProductStep().gradient(LAYOUT, server_N, parts, 0, lazy_stream(0))
    draws = [
        ProductStep(1 / 2).gradient(LAYOUT, server_N, parts, 0, lazy_stream(0, "draw", n))
        for n in range(400)
    ]
    assert {int(moving_N[B].sum()) for _, moving_N in draws} == {4}
    assert all(np.array_equal(g[moving_N][3:], 2 * whole_N[moving_N][3:]) for g, moving_N in draws)
    error_N = np.mean([g for g, _ in draws], axis=0) - whole_N
    assert np.abs(error_N[B] / whole_N[B]).max() < 5 / np.sqrt(400)


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
