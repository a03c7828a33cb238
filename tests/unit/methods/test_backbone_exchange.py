"""Changes of the frozen weights: the algebra of their factors, and their messages on both ends."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim.errors import ConfigError, LayoutError, NonFiniteUpdateError, PayloadError
from floss_sim.methods import Contribution, Method, method_from_name
from floss_sim.methods.backbone_changes import ExactResidual, Stacking, TrainedAdapter
from floss_sim.methods.backbone_exchange import BackboneExchange
from floss_sim.methods.change_sizes import change_size
from floss_sim.methods.factor_messages import Bundle, decode_factors, encode_factors
from floss_sim.methods.tensor_kinds import kinds_mask
from floss_sim.vectors.layout import Layout, TensorSpec, layout_of_specs
from floss_sim.vectors.top_k import Vector
from floss_sim.wire import encode, sent_entries

R, OUT, IN, K, SCALE = 2, 24, 40, 3, 4.0
WEIGHTS = (0.5, 0.3, 0.2)


def layout_of(modules: int = 2) -> Layout:
    names = [f"layer.{i:03d}.q" for i in range(modules)]
    a = [TensorSpec(f"{n}.lora_A", (R, IN), "lora_A") for n in names]
    b = [TensorSpec(f"{n}.lora_B", (OUT, R), "lora_B") for n in names]
    head = TensorSpec("head.weight", (3, 8), "head_weight")
    return layout_of_specs([*a, *b, head], "merged")


LAYOUT = layout_of()
ADAPTED = kinds_mask(LAYOUT, ("adapted_weight",))
MAIN = encode(LAYOUT, np.ones(LAYOUT.entries, np.float32), ~ADAPTED, known_N=~ADAPTED)
NOTHING = np.zeros(LAYOUT.entries, dtype=np.float32)


def clients(count: int = K) -> list[TrainedAdapter]:
    draw = np.random.default_rng(0)
    return [
        TrainedAdapter(w, draw.normal(size=(R, IN)), draw.normal(size=(OUT, R)))
        for w in WEIGHTS[:count]
    ]


def exchange_of(name: str, values: str = "fp32", **options: object) -> BackboneExchange:
    change = method_from_name(name, **options).backbone_change
    assert change is not None
    return BackboneExchange(change, LAYOUT, SCALE, values, 0)


def play(exchange: BackboneExchange, rounds: int) -> list[Vector]:
    """Return the server's vector after each of some rounds of random updates, the first one 0."""
    draw = np.random.default_rng(1)
    vectors = [NOTHING]
    for version in range(1, rounds + 1):
        starts, updates = draw.normal(size=(2, K, LAYOUT.entries)).astype(np.float32)
        parts = [Contribution(*part) for part in zip(WEIGHTS, starts, updates, strict=True)]
        vectors.append(vectors[-1] + exchange.step(parts, version))
    return vectors


def test_stacks_are_the_mean_of_the_products():
    left, right = Stacking(rate=2.0).factors(clients())
    assert left.shape[1] == right.shape[0] == K * R
    assert np.allclose(left @ right, 2 * sum(w * b @ a for w, a, b in clients()))


@pytest.mark.parametrize("sum_of_weights", [1.0, 0.7])
def test_a_residual_is_what_the_product_of_means_lacks(sum_of_weights: float):
    """Also where weights, of stale updates, do not add up to one."""
    given = [one._replace(weight=sum_of_weights * one.weight) for one in clients()]
    mean_a, mean_b = (
        sum(w * getattr(c, x) for w, c in zip(WEIGHTS, given, strict=True)) for x in "ab"
    )
    plain = sum_of_weights * (sum(w * b @ a for w, a, b in clients()) - mean_b @ mean_a)
    left, right = ExactResidual().factors(given)
    assert left.shape[1] == (K - 1) * R == ExactResidual().rank(K, R, (OUT, IN))
    assert np.allclose(left @ right, plain)
    assert np.allclose(np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1))


def test_a_truncated_residual_is_the_best_of_its_rank():
    left, right = ExactResidual().factors(clients())
    u, s, v = np.linalg.svd(left @ right)
    left, right = ExactResidual(3).factors(clients())
    assert left.shape[1] == 3 == ExactResidual(3).rank(K, R, (OUT, IN))
    assert np.allclose(left @ right, u[:, :3] * s[:3] @ v[:3])


@pytest.mark.parametrize("step", [ExactResidual(), ExactResidual(0)])
def test_nothing_is_left_of_one_client_or_of_equal_ones(step: ExactResidual):
    alone = step.factors(clients(1))
    same = step.factors([clients(1)[0]] * 3)
    assert alone[0].shape[1] == same[0].shape[1] == 0


@pytest.mark.parametrize("name", ["flora", "fedex-lora"])
def test_every_client_holds_the_servers_weights_to_the_bit(name: str):
    """From whatever version, by factors or by the weights, whichever is smaller."""
    exchange = exchange_of(name)
    vectors = play(exchange, 6)
    forms = set()
    for held in range(7):
        bundle = exchange.download(MAIN, vectors[6], held, 6)
        blob = bundle.pack()
        assert (Bundle.unpack(blob), len(blob)) == (bundle, bundle.nbytes)
        forms.add(bundle.dense)
        assert len(bundle.changes) == (1 if bundle.dense else 6 - held)
        own = (held, vectors[held]) if held else None
        start_N = exchange.start(bundle, NOTHING, own, 6, 0)
        assert np.array_equal(start_N[ADAPTED], vectors[6][ADAPTED])
        # Its own version may be newer than the one that the server knows: a lost upload.
        later = exchange.start(bundle, NOTHING, (6, vectors[6]), 6, 0)
        assert np.array_equal(later[ADAPTED], vectors[6][ADAPTED])
    assert forms == {True, False}


def test_a_client_that_lacks_a_round_is_an_error():
    exchange = exchange_of("fedex-lora")
    vectors = play(exchange, 3)
    bundle = exchange.download(MAIN, vectors[3], 2, 3)
    with pytest.raises(PayloadError, match="a client of version 0 got changes from 3 on"):
        exchange.start(bundle, NOTHING, None, 3, 0)


def test_the_server_keeps_no_more_factors_than_the_weights_take():
    exchange = exchange_of("flora")
    play(exchange, 20)
    kept = exchange.state()
    assert 1 < len(kept) < 6
    assert sum(blob.size for blob in kept.values()) <= 4 * ADAPTED.sum()
    other = exchange_of("flora")
    other.restore(kept)
    assert {n: b.tobytes() for n, b in other.state().items()} == {
        n: b.tobytes() for n, b in kept.items()
    }


def test_stacks_larger_than_the_weights_are_never_kept():
    exchange, draw = exchange_of("flora"), np.random.default_rng(3)
    values = draw.normal(size=(10, 2, LAYOUT.entries)).astype(np.float32)
    vector_N = exchange.step([Contribution(0.1, *pair) for pair in values], 1)
    assert not exchange.state()
    bundle = exchange.download(MAIN, vector_N, 0, 1)
    assert bundle.dense
    start_N = exchange.start(bundle, NOTHING, None, 1, 0)
    assert np.array_equal(start_N[ADAPTED], vector_N[ADAPTED])


def test_new_adapters_differ_between_dispatches_and_start_without_a_product():
    exchange = exchange_of("flora")
    one, again, other = (exchange.adapters_at_start(n, NOTHING) for n in (3, 3, 4))
    assert np.array_equal(one, again)
    a, b = (kinds_mask(LAYOUT, (kind,)) for kind in ("lora_A", "lora_B"))
    assert (one[a] != other[a]).mean() > 0.99
    assert not one[b].any()
    assert np.abs(one[a]).max() <= 1 / np.sqrt(IN)
    assert exchange_of("fedex-lora").adapters_at_start(3, one) is one


@pytest.mark.parametrize("values", ["bf16", "int8"])
def test_the_server_applies_what_it_sends(values: str):
    """A lossy value code costs accuracy on both ends alike."""
    exchange = exchange_of("fedex-lora", values)
    vectors = play(exchange, 1)
    bundle = exchange.download(MAIN, vectors[1], 0, 1)
    assert not bundle.dense
    assert np.array_equal(exchange.start(bundle, NOTHING, None, 1, 0), vectors[1])
    exact = play(exchange_of("fedex-lora"), 1)[1]
    assert 0 < np.abs(vectors[1] - exact).max() < 0.1 * np.abs(exact).max()


def test_an_overflowing_change_names_its_round():
    exchange = exchange_of("flora", merge_rate=1e308)
    parts = [Contribution(1.0, NOTHING, np.full(LAYOUT.entries, 1e30, dtype=np.float32))]
    with (
        np.errstate(over="ignore"),
        pytest.raises(NonFiniteUpdateError, match="not finite after round 7"),
    ):
        exchange.step(parts, 7)


@pytest.mark.parametrize("name", ["flora", "fedex-lora"])
@pytest.mark.parametrize("missed", [0, 1, 2, 6])
def test_predicted_sizes_are_those_of_the_encoded_messages(name: str, missed: int):
    exchange, method = exchange_of(name), method_from_name(name)
    vectors = play(exchange, 6)
    bundle = exchange.download(MAIN, vectors[6], 6 - missed, 6)
    nbytes, entries = change_size(method, LAYOUT, K, missed)
    assert bundle.entries(LAYOUT) - sent_entries(MAIN) == entries
    assert bundle.nbytes - len(MAIN) == pytest.approx(nbytes, rel=0.04)


def test_factor_messages_of_different_ranks_come_back_and_damaged_ones_are_refused():
    draw = np.random.default_rng(2)
    factors = [
        (
            draw.normal(size=(OUT, q)).astype(np.float32),
            draw.normal(size=(q, IN)).astype(np.float32),
        )
        for q in (0, 3)
    ]
    blob = encode_factors(LAYOUT, factors)
    for pair, given in zip(decode_factors(LAYOUT, blob), factors, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(pair, given, strict=True))
    assert decode_factors(LAYOUT, encode_factors(LAYOUT, [factors[0]] * 2))[1][0].shape == (OUT, 0)
    for bad in (blob[:3], blob[:4], b"\0\0" + blob[2:-1], b"\1" + blob[1:], blob[:4] + b"\0" * 40):
        with pytest.raises(PayloadError):
            decode_factors(LAYOUT, bad)


def test_damaged_bundles_are_refused():
    blob = Bundle(b"main", (b"one", b"")).pack()
    assert Bundle.unpack(blob) == Bundle(b"main", (b"one", b""))
    for bad in (
        b"",
        blob[:4],
        blob[:9],
        blob[:-1],
        blob + b"x",
        b"\1" + blob[1:],
        b"\2" + blob[1:],
    ):
        with pytest.raises(PayloadError):
            Bundle.unpack(bad)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("flora", {"merge_rate": 0.0}, "merge rate 0.0; valid: above 0"),
        ("flora", {"merge_rate": float("nan")}, "merge rate nan"),
        ("fedex-lora", {"residual_rank": -1}, "residual rank -1; valid: whole numbers from 0"),
        ("flora", {"error_feedback": True}, "'flora' starts from new adapters"),
        ("fedex-lora", {"change_ledger": True}, "valid: no other ledger"),
        ("fedex-lora", {"mask_ledger": True}, "a mask ledger needs downloads whose mask is sent"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        method_from_name(name, **options)


def test_a_residual_has_at_most_the_rank_of_the_weights_smaller_side():
    ExactResidual(OUT).check_layout(LAYOUT)
    with pytest.raises(LayoutError, match=f"rank {OUT + 1}; valid: 0 to {OUT}, the smaller"):
        ExactResidual(OUT + 1).check_layout(LAYOUT)


def test_a_change_needs_the_layout_that_holds_the_weights():
    made = method_from_name("flora")
    with pytest.raises(ConfigError, match="layout 'merged'"):
        Method("mine", made.tiers, backbone_change=made.backbone_change)
