from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from floss_sim.errors import ConfigError, DensityError
from floss_sim.layout import Layout, TensorSpec
from floss_sim.methods import Everything, TopK, dense, floss, method_from_name

VALUES = np.array([0.0, -3.0, 1.0, 2.0, -1.0, 0.5, 0.25, -4.0], np.float32)
DRAW = np.random.default_rng(0)


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
