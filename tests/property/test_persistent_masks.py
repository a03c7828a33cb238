"""Persistent masks over random server vectors: nested, remembered, and paid for once."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floss_sim.errors import ConfigError
from floss_sim.methods import (
    Exchange,
    FrozenMask,
    MaskHistory,
    MaskLedger,
    Method,
    TopK,
    method_from_name,
)
from floss_sim.protocol import NO_STATE
from floss_sim.vectors.layout import (
    HEAD_BIAS,
    LORA_A,
    LORA_B,
    Layout,
    TensorSpec,
)
from floss_sim.wire import sent_entries
from floss_sim.wire.framing import fields

LAYOUT = Layout(
    (
        TensorSpec("head.bias", (5,), HEAD_BIAS),
        TensorSpec("x.lora_A", (2, 17), LORA_A),
        TensorSpec("x.lora_B", (19, 2), LORA_B),
    )
)
N = LAYOUT.entries
PICKS = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(["global", "tensor"]),
        "pick": st.sampled_from(["largest", "random"]),
        "dense_head": st.booleans(),
    }
)
DENSITIES = st.floats(0.01, 1)
METHODS = st.one_of(
    st.builds(lambda d, o: method_from_name("sparse-adapter", density=d, **o), DENSITIES, PICKS),
    st.builds(lambda d, o: method_from_name("adapter-lth", factor=d, **o), DENSITIES, PICKS),
)


def vectors(seed: int, ties: bool) -> list[np.ndarray]:
    """Six random vectors, with ties and exact zeros or without."""
    draw = np.random.default_rng(seed)
    drawn = draw.integers(-2, 3, (6, N)) if ties else draw.standard_normal((6, N))
    return [vector_N.astype(np.float32) for vector_N in drawn]


def pruned(method: Method, drawn: list[np.ndarray]) -> tuple[Exchange, MaskHistory, list]:
    """Prune as a server does after each step; return the masks of versions 0, 1, 2 ..."""
    exchange, history = Exchange(method, LAYOUT, 0), MaskHistory(N)
    masks = [history.alive_mask()]
    for version, vector_N in enumerate(drawn, start=1):
        masks.append(exchange.prune(vector_N * masks[-1], history, version))
    return exchange, history, masks


@given(METHODS, st.integers(0, 2**32 - 1), st.booleans())
def test_masks_are_nested_and_hold_what_the_schedule_says(method: Method, seed: int, ties: bool):
    _, _, masks = pruned(method, vectors(seed, ties))
    assert masks[0].all()
    for earlier_N, later_N in itertools.pairwise(masks):
        assert not (later_N & ~earlier_N).any()
    for version, mask_N in enumerate(masks):
        assert mask_N.sum() == method.persistent.at(version).count(LAYOUT)


@given(METHODS, st.integers(0, 2**32 - 1), st.booleans())
def test_the_history_gives_back_every_earlier_mask(method: Method, seed: int, ties: bool):
    _, history, masks = pruned(method, vectors(seed, ties))
    for version, mask_N in enumerate(masks):
        assert np.array_equal(history.alive_mask(version), mask_N)
    assert np.array_equal(history.alive_mask(), masks[-1])


@given(METHODS, st.integers(0, 2**32 - 1))
def test_a_frozen_mask_is_dense_before_and_the_same_ever_after(method: Method, seed: int):
    if not isinstance(method.persistent, FrozenMask):
        return
    _, _, masks = pruned(method, vectors(seed, ties=False))
    assert all(np.array_equal(mask_N, masks[1]) for mask_N in masks[2:])


def test_a_mask_is_frozen_after_the_version_that_it_names():
    method = Method("late", method_from_name("dense").tiers, persistent=FrozenMask(TopK(1 / 4), 3))
    _, _, masks = pruned(method, vectors(0, ties=False))
    assert [int(mask_N.sum()) for mask_N in masks] == [N] * 3 + [N // 4] * 4


@pytest.mark.parametrize("after", [0, -1])
def test_a_mask_that_is_frozen_before_the_first_step_is_refused(after: int):
    with pytest.raises(ConfigError, match="valid: 1 or later"):
        FrozenMask(TopK(1 / 4), after)


@settings(max_examples=60)
@given(METHODS, st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 6), st.integers(0, 6))
def test_every_client_decodes_the_mask_whatever_it_held(
    method: Method, seed: int, ties: bool, held: int, version: int
):
    """From nothing but the message and the mask that it holds; as many entries as predicted."""
    held = min(held, version)
    drawn = vectors(seed, ties)
    exchange, history, masks = pruned(method, drawn[:version])
    vector_N = (drawn[0] if version == 0 else drawn[version - 1]) * masks[-1]
    known_N = exchange.known_download_mask(history, 0, version, held)
    blob = exchange.download(vector_N, masks[-1], 0, version, known_N)
    got_N, trained_N = exchange.decode_download(blob, 0, version, known_N)
    assert np.array_equal(got_N, vector_N)
    assert np.array_equal(np.ones(N, bool) if trained_N is None else trained_N, masks[-1])
    size = method.download_size(LAYOUT, 0, version, held)
    assert size.universe == (N if known_N is None else known_N.sum())
    learned = size.count < N and not method.download_selector(0, version).shared  # from the message
    assert sent_entries(blob) == (size.count if learned else np.count_nonzero(got_N))


# what is paid for the mask


def positions(method: Method, version: int, held: int) -> int:
    """Return the bytes that a message of this version pays for positions."""
    exchange, history, masks = pruned(method, vectors(1, ties=False)[:version])
    known_N = exchange.known_download_mask(history, 0, version, held)
    vector_N = vectors(1, ties=False)[version - 1] * masks[-1]
    frame, _ = fields(exchange.download(vector_N, masks[-1], 0, version, known_N))
    assert frame.count == masks[-1].sum()
    return len(frame.index)


def floor_bytes(universe: int, count: int) -> float:
    return math.log2(math.comb(universe, count)) / 8


def test_a_frozen_mask_is_paid_for_by_those_who_do_not_hold_it():
    method = method_from_name("sparse-adapter", density=1 / 4, mask_ledger=True)
    for version in (1, 2, 5):
        floor = floor_bytes(N, N // 4)
        assert floor - 1 <= positions(method, version, held=0) <= floor + 8
    for held in (1, 3, 4):
        assert positions(method, 5, held) == 0


def test_a_shrinking_mask_is_written_within_the_one_that_is_held():
    method = method_from_name("adapter-lth", factor=1 / 2, mask_ledger=True)
    kept = [int(N / 2**version) for version in range(6)]
    for held, version in ((1, 2), (1, 3), (2, 3)):
        paid = positions(method, version, held)
        assert paid <= floor_bytes(kept[held], kept[version]) + 8
        assert paid < positions(method, version, held=0)
    assert positions(method, 3, held=3) == 0


def test_a_mask_drawn_from_a_shared_seed_is_never_paid_for():
    method = method_from_name("adapter-lth", factor=1 / 2, pick="random")
    for version in (1, 3):
        assert positions(method, version, held=0) == 0


@given(METHODS, st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_uploads_carry_values_alone(method: Method, seed: int, version: int):
    exchange, _, masks = pruned(method, vectors(seed, ties=False)[:version])
    trained_N = None if masks[-1].all() else masks[-1]
    update_N = vectors(seed + 1, ties=False)[0]
    reply = exchange.upload(update_N, 0, 3, 4, trained_N, NO_STATE)
    count = int(masks[-1].sum())
    assert not fields(reply.blob)[0].index
    assert reply.entries == count
    decoded_N = exchange.decode_upload(reply.blob, exchange.known_upload_mask(0, 3, 4, trained_N))
    assert np.array_equal(decoded_N, np.where(masks[-1], update_N, 0))


def test_the_ledger_remembers_what_was_confirmed():
    ledger = MaskLedger(3)
    ledger.confirm(1, 7)
    assert [ledger.held_version(client) for client in range(3)] == [0, 7, 0]
