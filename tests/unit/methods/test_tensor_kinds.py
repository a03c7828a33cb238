"""Selection by kind of tensor and in turns, against counts by hand and a published table."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim.families.packaged import packaged_backbone
from floss_sim.methods import (
    Method,
    Moment,
    OfKinds,
    RandomK,
    SizePredictor,
    Tier,
    TopK,
    Turns,
    rolora,
)
from floss_sim.rng import lazy_stream
from floss_sim.vectors.layout import Layout, TensorSpec, build_layout

SMALL = Layout(
    (
        TensorSpec("head.bias", (2,), "head_bias"),
        TensorSpec("x.lora_A", (2, 3), "lora_A"),
        TensorSpec("x.lora_B", (4, 2), "lora_B"),
    )
)
DRAW = lazy_stream(0, "test")
MIB = 2**20


def test_the_largest_of_a_kind_are_ranked_among_themselves():
    """The head has entries 0 and 1, A 2 to 7, B 8 to 15; three of ten are kept."""
    values_N = np.array([9, 1, 5, 6, 7, 8, 9, 10, 0, 2, 3, 0, 0, 4, 0, 0], np.float32)
    selector = OfKinds(TopK(0.3), ("lora_B", "head_bias"))
    mask_N = selector.mask(SMALL, values_N, DRAW)
    assert np.flatnonzero(mask_N).tolist() == [0, 10, 13]
    assert selector.count(SMALL) == 3
    assert np.flatnonzero(selector.bounds(SMALL)).tolist() == [0, 1, *range(8, 16)]


@pytest.mark.parametrize(("pick", "shared"), [(TopK(1), True), (TopK(0.5), False)])
def test_both_ends_know_all_of_a_kind_but_not_its_largest(pick: TopK, shared: bool):
    assert OfKinds(pick, ("lora_A",)).shared is shared
    assert OfKinds(RandomK(0.5), ("lora_A",)).shared


def test_turns_begin_with_b_and_repeat():
    kinds = [rolora().trained_selector(0, version).settings()["kinds"][0] for version in range(4)]
    assert kinds == ["lora_B", "lora_A", "lora_B", "lora_A"]
    sizes = [rolora().upload_size(SMALL, 0, version).count for version in range(2)]
    assert sizes == [2 + 8, 2 + 6]


def test_bytes_are_those_of_a_published_table():
    """TinyLlama, rank 16, q, k, v and o, fp32: 22 layers of width 2048, keys and values of 256.

    A has 4 matrices of 16 x 2048 a layer; B of 2048, 256, 256 and 2048 x 16. 15 rounds of 5
    clients; A stops after 9 uploads and after 8 downloads.
    """
    a, b = 22 * 16 * 4 * 2048, 22 * 16 * (2048 + 256 + 256 + 2048)
    backbone = packaged_backbone("tinyllama-1.1b").config
    layout = build_layout(backbone, trains="lora", targets=["q", "k", "v", "o"], rank=16, labels=0)
    both, only_b = ("lora_A", "lora_B"), ("lora_B",)

    def mib(full: int) -> tuple[float, float]:
        turns = Turns(TopK(1.0), (both,) * full + (only_b,) * (15 - full))
        method = Method("stops", (Tier(1.0, turns, turns, turns),))
        sizes = [method.upload_size(layout, 0, version).count for version in range(15)]
        assert sizes == [method.download_size(layout, 0, version).count for version in range(15)]
        assert sizes == [a + b] * full + [b] * (15 - full)
        return 4 * sizes[0] / MIB, 5 * 4 * sum(sizes) / MIB

    assert mib(15) == (17.1875, 1289.0625)
    assert mib(9) == (17.1875, 959.0625)
    assert mib(8) == (17.1875, 904.0625)


def test_predicted_messages_of_many_rounds_follow_the_turns():
    predictor = SizePredictor(rolora(up_density=1 / 2), SMALL, 5)
    nbytes_R, counts_R = predictor.messages("up", 0, 1, 5)
    assert counts_R.tolist() == [5, 4, 5, 4, 5]
    downs = predictor.messages("down", 0, 1, 5)[1].tolist()
    assert downs[0] == 6 < downs[1] == downs[2] <= downs[3] == downs[4] <= 16  # A, then more of B
    assert [predictor.message("up", 0, v) for v in range(5)] == list(
        zip(nbytes_R.tolist(), counts_R.tolist(), strict=True)
    )


def test_the_selector_of_a_moment_depends_on_nothing_else():
    turns = Turns(TopK(1.0))
    assert turns.at(Moment(2, 7)) == turns.at(Moment(4, 9)) != turns.at(Moment(3, 7))
