from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from floss_sim import RunConfig, load_task
from floss_sim.errors import ConfigError, DensityError, LayoutError
from floss_sim.methods import (
    METHODS,
    Everything,
    FrozenMask,
    Method,
    RandomK,
    Ranks,
    SameMask,
    ShrinkingMask,
    Tier,
    TopK,
    dense,
    floss,
    method_from_name,
    options_of,
)
from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import Layout, TensorSpec, build_layout, layout_of_specs

VALUES = np.array([0.0, -3.0, 1.0, 2.0, -1.0, 0.5, 0.25, -4.0], np.float32)


def drawn(seed: int) -> LazyStream:
    return cache(partial(np.random.default_rng, seed))


DRAW = drawn(0)


def layout_of(entries: int) -> Layout:
    return Layout((TensorSpec("t", (entries,), "lora_A"),))


EIGHT = layout_of(8)


def test_everything_selects_every_entry_zeros_included():
    assert Everything().mask(EIGHT, VALUES, DRAW).tolist() == [True] * 8
    assert Everything().count(EIGHT) == 8
    assert Everything().density == 1.0


@pytest.mark.parametrize(
    ("density", "kept"), [(1 / 8, {7}), (1 / 4, {1, 7}), (1 / 2, {1, 2, 3, 7}), (0.01, {7})]
)
def test_top_k_selects_the_largest_magnitudes_of_its_density(density: float, kept: set[int]):
    selector = TopK(density)
    mask = selector.mask(EIGHT, VALUES, DRAW)
    assert set(np.flatnonzero(mask).tolist()) == kept
    assert selector.count(EIGHT) == len(kept) == mask.sum()


def test_top_k_of_density_one_selects_what_everything_does():
    assert np.array_equal(
        TopK(1.0).mask(EIGHT, VALUES, DRAW), Everything().mask(EIGHT, VALUES, DRAW)
    )
    assert TopK(1.0).count(EIGHT) == Everything().count(EIGHT)


@pytest.mark.parametrize("entries", [1, 7, 8970])
@pytest.mark.parametrize("density", [1 / 64, 0.3, 1.0])
def test_the_mask_holds_as_many_entries_as_the_count_promises(entries: int, density: float):
    """The size of a payload is predicted from the count alone."""
    values = np.random.default_rng(0).standard_normal(entries).astype(np.float32)
    layout, selector = layout_of(entries), TopK(density)
    assert selector.mask(layout, values, DRAW).sum() == selector.count(layout)


@pytest.mark.parametrize("density", [0.0, -0.25, 1.01, float("nan"), float("inf")])
def test_a_density_outside_zero_to_one_is_refused(density: float):
    with pytest.raises(DensityError):
        TopK(density)
    for down, up in ((density, 1.0), (1.0, density)):
        with pytest.raises(DensityError):
            floss(down, up)


def test_floss_selects_apart_for_each_direction():
    method = floss(1 / 4, 1 / 2)
    assert method.name == "floss"
    (tier,) = method.tiers
    assert (tier.download.count(EIGHT), tier.upload.count(EIGHT)) == (2, 4)


def test_dense_sends_everything_both_ways():
    method = dense()
    assert method.name == "dense"
    for selector in (method.tiers[0].download, method.tiers[0].upload):
        assert selector.mask(EIGHT, VALUES, DRAW).all()


def test_methods_are_values():
    assert floss(1 / 4, 1 / 16) == floss(0.25, 0.0625)
    assert floss(1 / 4, 1 / 16) != floss(1 / 16, 1 / 4)
    assert len({dense(), dense(), floss(1 / 4, 1 / 16), floss(0.25, 0.0625)}) == 2


def test_the_settings_are_the_two_densities():
    assert floss(1 / 4, 1 / 16).settings() == {"down_density": 0.25, "up_density": 0.0625}


def test_floss_without_sparsity_has_the_settings_of_dense():
    assert floss(1.0, 1.0).settings() == dense().settings()


def written(down, up) -> str:
    return json.dumps(floss(down, up).settings())


def test_equal_densities_make_the_same_text_whatever_their_type():
    """A fingerprint is taken from JSON, where 1 and 1.0 differ."""
    assert written(1, 1) == written(1.0, 1.0) == json.dumps(dense().settings())
    assert written(np.float32(0.25), np.float64(0.5)) == written(0.25, 0.5)
    assert written("1/4", "0.5") == written(0.25, 0.5)


def test_methods_are_made_by_name_with_their_options():
    assert method_from_name("dense") == dense()
    assert method_from_name("floss", down_density=0.25, up_density=0.5) == floss(0.25, 0.5)
    assert method_from_name("floss") == floss(1.0, 1.0)
    int8 = method_from_name("dense", up_values="int8")
    assert int8 == replace(dense(), up_values="int8")


def test_an_unknown_method_is_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match="unknown method 'flasc'; valid: floss, dense"):
        method_from_name("flasc")


def test_dense_with_a_density_is_refused_and_says_what_to_use():
    with pytest.raises(ConfigError, match="use method 'floss'"):
        method_from_name("dense", down_density=0.5)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("dense", {"scope": "tensor"}, "method 'dense' has no option 'scope'"),
        ("floss", {"density": 0.5}, "has no option 'density'; valid: down_density, up_density"),
        ("floss", {"tiers": "1:1:1"}, "has no option 'tiers'"),
        ("sparse-adapter", {"down_density": 0.5}, "has no option 'down_density'; valid: density"),
        ("adapter-lth", {"density": 0.5}, "has no option 'density'; valid: factor"),
        ("hetlora", {"scope": "tensor"}, "has no option 'scope'; valid: tiers, which, divisor"),
        ("floss", {"divisor": "covering"}, "has no option 'divisor'"),
        ("floss", {"persistent": None}, "has no option 'persistent'"),
        ("floss", {"scope": "layer"}, "unknown scope 'layer'; valid: global, tensor"),
        ("floss", {"pick": "smallest"}, "unknown pick 'smallest'; valid: largest, random"),
        ("adapter-lth", {"pick": ""}, "unknown pick ''; valid: largest, random"),
        ("floss", {"up_values": "int2"}, "unknown value code 'int2'; valid: fp32, fp16, bf16"),
        ("dense", {"down_values": "fp8"}, "unknown value code 'fp8'"),
        ("hetlora", {"which": "last"}, "unknown ranks 'last'; valid: first, largest"),
        ("hetlora", {"divisor": "all"}, "unknown divisor 'all'; valid: cohort, covering"),
        ("hetlora", {"tiers": "1:few"}, "ranks 'few' of a tier"),
        ("hetlora", {"tiers": "1:2.5"}, "neither a whole number nor a fraction such as 1/4"),
        ("hetlora", {"tiers": "1:-2"}, "neither a whole number nor a fraction such as 1/4"),
        ("hetlora", {"tiers": "1:\u00b2"}, "neither a whole number nor a fraction such as 1/4"),
        ("hetlora", {"tiers": "1:" + 5000 * "9"}, "neither a whole number"),
        ("hetlora", {"tiers": "1:1:1"}, "cannot read tiers '1:1:1'; valid: share:ranks per tier"),
        *[
            ("floss-tiers", {"tiers": text}, "cannot read tiers")
            for text in ("", "1", "1:1", "1:1:1,", ",", "x:1:1", "0:1:1", "-1:1:1", "nan:1:1",
                         "inf:1:1", "1:1:1:1")
        ],
        ("floss-tiers", {"tiers": "1:2:1"}, "density '2' is outside (0, 1]"),
        ("floss-tiers", {"tiers": "1:1:lots"}, "is not a number or fraction"),
        ("dense", {"mask_ledger": True}, "a mask ledger needs downloads whose mask is sent"),
        ("hetlora", {"mask_ledger": True}, "in method 'hetlora' both ends build the mask"),
        ("sparse-adapter", {"density": 0}, "outside (0, 1]"),
        ("adapter-lth", {"factor": 1.01}, "outside (0, 1]"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_in_one_line(name: str, options: dict, says: str):
    with pytest.raises(ConfigError) as refused:
        method_from_name(name, **options)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_mean_of_those_covering_needs_masks():
    with pytest.raises(ConfigError, match="divisor 'covering' needs clients that train a mask"):
        replace(floss(1 / 4, 1 / 4), divisor="covering")
    assert replace(method_from_name("sparse-adapter"), divisor="covering").divisor == "covering"


def test_shares_that_do_not_add_up_to_one_are_refused():
    (tier,) = dense().tiers
    for shares in ((0.5,), (0.5, 0.6), (1.5, -0.5), (1.0, 0.0)):
        with pytest.raises(ConfigError, match="shares of the tiers add up to"):
            replace(dense(), tiers=tuple(replace(tier, share=share) for share in shares))


@pytest.mark.parametrize("ranks", ["0", "3", "16"])
def test_a_tier_of_more_ranks_than_the_runs_is_refused(digits: RunConfig, ranks: str):
    method = method_from_name("hetlora", tiers=f"1:2,1:{ranks}")
    with pytest.raises(LayoutError, match=f"a tier of {ranks} ranks; valid: 1 to .* rank 2"):
        RunConfig.of(digits.task, method, rank=2)


def test_every_method_has_the_common_options():
    for name in METHODS:
        assert {"down_values", "up_values", "error_feedback", "mask_ledger"} <= {*options_of(name)}
        has_feedback = name not in ("flexlora", "fedsvd", "flora")  # which replace B
        lossy = method_from_name(name, up_values="int8", error_feedback=has_feedback)
        assert (lossy.name, lossy.up_values, lossy.error_feedback) == (name, "int8", has_feedback)


# tiers


def test_shares_are_scaled_to_one_and_dealt_in_the_order_of_clients():
    method = method_from_name("floss-tiers", tiers="2:1:1, 6:1/2:1/4")
    assert [tier.share for tier in method.tiers] == [0.25, 0.75]
    assert [method.tier_of(client, 8) for client in range(8)] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert [method.tier_of(client, 2) for client in range(2)] == [0, 1]


def test_thirds_leave_nobody_without_a_tier():
    method = method_from_name("floss-tiers")
    for fleet in (1, 2, 3, 7, 50, 350):
        tiers = [method.tier_of(client, fleet) for client in range(fleet)]
        assert tiers == sorted(tiers)
        assert max(tiers) <= 2
    assert np.bincount([method.tier_of(client, 300) for client in range(300)]).tolist() == [100] * 3


def test_the_model_is_what_the_widest_tier_downloads():
    method = method_from_name("floss-tiers", tiers="1:1/4:1,1:1/2:1/2,1:1/8:1")
    assert method.widest_tier(layout_of(64)) == 1


# selectors

TWO = Layout(
    (
        TensorSpec("head.bias", (2,), "head_bias"),
        TensorSpec("x.lora_A", (2, 3), "lora_A"),
        TensorSpec("x.lora_B", (4, 2), "lora_B"),
    )
)


def marked(selector, values, within=None) -> list[int]:
    mask = selector.mask(TWO, np.array(values, np.float32), drawn(0), within)
    return np.flatnonzero(mask).tolist()


def test_top_k_of_each_tensor_ranks_each_by_itself():
    """Six entries of A are 2..7, eight of B are 8..15."""
    values = [9, 8, *range(1, 7), *range(100, 108)]
    assert marked(TopK(1 / 2), values) == [8, 9, 10, 11, 12, 13, 14, 15]
    assert marked(TopK(1 / 2, "tensor"), values) == [0, 5, 6, 7, 12, 13, 14, 15]
    assert marked(TopK(1 / 100, "tensor"), values) == [0, 7, 15]
    assert TopK(1 / 100, "tensor").count(TWO) == 3


def test_a_dense_head_is_kept_whole_beside_the_fraction_of_the_rest():
    values = [0, 0, *range(1, 7), *range(100, 108)]
    assert marked(TopK(3 / 14, dense_head=True), values) == [0, 1, 13, 14, 15]
    assert marked(TopK(1 / 4, "tensor", dense_head=True), values) == [0, 1, 7, 14, 15]
    assert TopK(3 / 14, dense_head=True).count(TWO) == 5


@pytest.mark.parametrize("scope", ["global", "tensor"])
@pytest.mark.parametrize("pick", [TopK, RandomK])
def test_a_selection_within_a_mask_stays_inside(pick, scope: str):
    within = np.arange(16) % 3 != 0
    chosen = marked(pick(1 / 2, scope), range(16), within)
    assert set(chosen) <= set(np.flatnonzero(within))
    assert len(chosen) == 8
    nothing = np.zeros(16, bool)
    assert marked(pick(1 / 2, scope), range(16), nothing) == []


def test_random_entries_are_drawn_evenly_and_from_the_stream_alone():
    selector, draws = RandomK(1 / 4), 4000
    seen = sum(
        selector.mask(TWO, np.zeros(16, np.float32), drawn(seed)).astype(int)
        for seed in range(draws)
    )
    z = (seen - draws / 4) / np.sqrt(draws * 3 / 16)
    assert np.abs(z).max() < 4.5
    one, other = (
        selector.mask(TWO, values, drawn(1))
        for values in (np.arange(16, dtype=np.float32), np.zeros(16, np.float32))
    )
    assert np.array_equal(one, other)


def test_the_first_ranks_are_rows_of_a_and_columns_of_b_and_the_head():
    assert marked(Ranks(1), range(16)) == [0, 1, 2, 3, 4, 8, 10, 12, 14]
    assert marked(Ranks(2), range(16)) == list(range(16))
    assert Ranks(1).count(TWO) == 9


def test_the_largest_ranks_have_the_largest_product_of_norms():
    a, b = [9, 9, 9, 1, 1, 1], [1, 100, 1, 100, 1, 100, 1, 100]
    second = [0, 1, 5, 6, 7, 9, 11, 13, 15]
    assert marked(Ranks(1, "largest"), [0, 0, *a, *b]) == second
    # B is zero at first: all products tie, and the lowest ranks are taken.
    assert marked(Ranks(1, "largest"), [0, 0, *a, *np.zeros(8)]) == marked(Ranks(1), range(16))


def test_what_both_ends_can_build_is_said_so():
    shared = [Everything(), RandomK(0.5), Ranks(1), SameMask()]
    assert all(selector.shared for selector in shared)
    assert not any(selector.shared for selector in (TopK(0.5), Ranks(1, "largest")))


# words and fingerprints

KINDS = [
    *[method_from_name(name) for name in ("dense", "floss-tiers", "hetlora")],
    method_from_name("hetlora", which="largest"),
    method_from_name("hetlora", divisor="covering"),
    *[
        method_from_name(name, **{density: 1 / 4}, **options)
        for name, density in (
            ("floss", "down_density"), ("sparse-adapter", "density"), ("adapter-lth", "factor")
        )
        for options in (
            {}, {"scope": "tensor"}, {"pick": "random"}, {"dense_head": True},
            {"up_values": "int8"}, {"down_values": "int8"}, {"error_feedback": True},
        )
    ],
    method_from_name("sparse-adapter", mask_ledger=True),
    replace(dense(), tiers=dense().tiers, persistent=FrozenMask(TopK(1 / 4), after=2)),
    replace(dense(), persistent=ShrinkingMask(TopK(1.0), 0.5)),
]  # fmt: skip


def test_methods_that_differ_have_other_words_and_other_fingerprints():
    """The words name the default run folder."""
    assert len({json.dumps(method.settings(), sort_keys=True) for method in KINDS}) == len(KINDS)
    assert len({method.describe() for method in KINDS}) == len(KINDS)


def test_methods_are_described_in_words():
    assert dense().describe() == "down 1, up 1"
    assert method_from_name("floss", up_density="1/16", pick="random").describe() == (
        "down 1 at random, up 1/16 at random"
    )
    assert method_from_name("adapter-lth", scope="tensor").describe() == (
        "a mask of each tensor that shrinks by 0.98 a round"
    )
    assert method_from_name("hetlora", tiers="1:4,1:1", divisor="covering").describe() == (
        "1/2 of clients: first 4 ranks both ways; 1/2 of clients: first 1 rank both ways, "
        "mean of those covering"
    )


def test_ranks_may_be_fractions_of_the_runs_rank():
    config = load_task("digits").backbone_config
    for rank, kept in ((16, (16, 4, 1)), (4, (4, 1, 1)), (1, (1, 1, 1))):
        layout = build_layout(config, trains="lora", targets=("q",), rank=rank, labels=10)
        counts = [tier.download.count(layout) for tier in method_from_name("hetlora").tiers]
        assert counts == [Ranks(ranks).count(layout) for ranks in kept]
    with pytest.raises(DensityError):
        method_from_name("hetlora", tiers="1:3/2")


def test_tiers_that_train_a_mask_do_not_mix_with_others():
    masked, dense_tier = Tier(0.5, Ranks(2), SameMask()), Tier(0.5, Everything(), Everything())
    for tiers in ((masked, dense_tier), (dense_tier, masked)):
        with pytest.raises(ConfigError, match="some tiers of method 'mixed' train a mask"):
            Method("mixed", tiers)


def test_a_download_of_the_head_is_empty_where_a_model_has_none():
    """FLoRA on next tokens: the adapters are new, and there is no new head."""
    layout = Layout(
        (TensorSpec("q.lora_A", (2, 4), "lora_A"), TensorSpec("q.lora_B", (4, 2), "lora_B"))
    )
    flora = method_from_name("flora")
    assert flora.download_size(layout, 0, 0).count == 0
    mask = flora.tiers[0].download.mask(layout, np.ones(16, np.float32), DRAW)
    assert mask.shape == (16,)
    assert not mask.any()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"fedkseed"}))
def test_methods_with_ranks_or_products_refuse_an_adapter_of_all_experts(name: str):
    """PEFT stores its A by expert and its B by rank: B A is the product of no expert."""
    method = method_from_name(name, **({"tiers": "1:1"} if name == "hetlora" else {}))
    stacked = "hetlora fslora lora-a2 fedsrd flexlora lora-fair fedsvd feddpa flora fedex-lora"
    for module, refused in {
        "layer.000.mlp.experts": name in (*stacked.split(), "fed-sb", "ravan"),
        "layer.000.mlp.experts.000.up": False,
    }.items():
        a = TensorSpec(f"{module}.lora_A", (8, 40), "lora_A")
        b = TensorSpec(f"{module}.lora_B", (40, 8), "lora_B")
        layout = layout_of_specs([a, b], method.trains, method.heads)
        with pytest.raises(LayoutError, match=module) if refused else nullcontext():
            method.check_layout(layout)


@pytest.mark.parametrize(
    ("name", "saved"), [("fed-sb", "adapter"), ("flora", "model"), ("head", "model")]
)
def test_a_model_without_an_adapter_on_its_backbone_is_saved_whole(name: str, saved: str):
    assert method_from_name(name).saved_as == saved
