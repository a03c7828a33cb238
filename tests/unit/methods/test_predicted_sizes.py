"""Predicted sizes beside encoded messages of real runs, and what holds of every prediction."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from floss_sim import RunConfig, floss, load_profile, load_task, method_from_name, open_learner, run
from floss_sim.analysis.traffic import Traffic
from floss_sim.methods import WAYS, SizePredictor
from floss_sim.wire import VALUE_CODES, framing, plain_nbytes

ROUNDS = 12


def config(down: float, up: float, rank: int = 16, **options) -> RunConfig:
    method = method_from_name("floss", down_density=down, up_density=up, **options)
    return RunConfig.of(load_task("digits"), method, rank=rank)


@lru_cache(maxsize=8)
def recorded(down: float, up: float, values: str) -> Traffic:
    made = config(down, up, down_values=values, up_values=values)
    learner = open_learner(made, "cpu")
    return Traffic.of(run(made, load_profile("paper-200-20"), learner, rounds=ROUNDS))


@pytest.mark.parametrize("values", ["fp32", "int8", "tail"])
@pytest.mark.parametrize(("down", "up"), [(1, 1 / 16), (1 / 4, 1 / 16)])
def test_a_short_run_of_digits_is_within_the_stated_error(down: float, up: float, values: str):
    """Of a seed and a length that the fit has not seen; twice the error, as a run is one of ten."""
    real = recorded(down, up, values)
    sizes = config(down, up, down_values=values, up_values=values).sizes
    for way in WAYS:
        nbytes_R, _ = sizes.messages(way, 0, 1, ROUNDS)
        assert nbytes_R.mean() == pytest.approx(
            getattr(real, way).mean(), rel=2 * max(0.05, sizes.error(way, ROUNDS))
        )


def test_the_first_download_has_exactly_what_does_not_start_at_zero():
    made = config(1, 1 / 16)
    layout = made.layout
    nonzero = int(np.count_nonzero(layout.initial_vector(0)))
    assert made.sizes.message("down", 0, 0)[1] == nonzero < layout.entries


def test_downloads_grow_as_uploads_touch_more():
    nbytes_R, counts_R = config(1, 1 / 64).sizes.messages("down", 0, 1, 400)
    assert (np.diff(counts_R) >= 0).all()
    assert counts_R[0] < counts_R[-1] < config(1, 1).layout.entries
    denser_R = config(1, 1 / 4).sizes.messages("down", 0, 1, 400)[1]
    assert (denser_R[1:] > counts_R[1:]).all()
    assert nbytes_R[-1] > nbytes_R[1]


def test_a_message_does_not_depend_on_how_many_are_asked_for():
    sizes = config(1, 1 / 16).sizes
    for way in WAYS:
        nbytes_R, counts_R = sizes.messages(way, 0, 1, 400)
        for number in (1, 7, 33, 400):
            found = (int(nbytes_R[number - 1]), int(counts_R[number - 1]))
            assert sizes.message(way, 0, number - 1) == found


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize(("down", "up"), [(1, 1), (1, 1 / 64), (1 / 4, 1), (0.6, 0.001)])
def test_no_message_is_larger_than_a_plain_one(down: float, up: float, values: str):
    for rank in (1, 64):
        made = config(down, up, rank, down_values=values, up_values=values)
        for way in WAYS:
            nbytes_R, counts_R = made.sizes.messages(way, 0, 1, 50)
            code, most = VALUE_CODES[values], int(counts_R.max())
            plain = 4 * code.scales(most) + most * code.bits / 8 + made.layout.entries / 8
            assert (nbytes_R > framing.OVERHEAD_BYTES).all()
            assert (nbytes_R <= framing.OVERHEAD_BYTES + np.ceil(plain)).all()
            assert (nbytes_R <= plain_nbytes(made.layout.entries) + 64).all()


def test_a_method_without_statistics_keeps_its_simple_sizes_once_nothing_is_zero():
    method = method_from_name("sparse-adapter", density=1 / 4)
    made = RunConfig.of(load_task("digits"), method, rank=4)
    for version in (1, 5):
        size = method.download_size(made.layout, 0, version)
        predicted = made.sizes.message("down", 0, version)
        assert predicted == (size.nbytes("fp32"), size.count)


def test_errors_are_those_of_the_band_and_of_the_worst_tier():
    tiers = method_from_name("floss-tiers", tiers="1:1:1,1:1/4:1/64")
    made = RunConfig.of(load_task("digits"), tiers, rank=16)
    ends = [config(1, 1).sizes, config(1 / 4, 1 / 64).sizes]
    for way in WAYS:
        assert made.sizes.error(way, 50) == max(sizes.error(way, 50) for sizes in ends)
        assert 0 < made.sizes.error(way, 50) < 1


def test_a_dense_method_and_floss_at_density_one_are_alike():
    layout = config(1, 1).layout
    dense, same = (
        SizePredictor(method, layout, 5) for method in (method_from_name("dense"), floss(1, 1))
    )
    for way in WAYS:
        assert (dense.messages(way, 0, 1, 9)[0] == same.messages(way, 0, 1, 9)[0]).all()
