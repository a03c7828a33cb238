from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floss_sim.vectors.density import kept_count
from floss_sim.vectors.top_k import top_k_mask

FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 1e-45, -1e-45, float("inf"), -float("inf")])
ANY = st.floats(width=32, allow_nan=False)
VECTORS = st.one_of(st.lists(FEW, min_size=1, max_size=40), st.lists(ANY, min_size=1, max_size=40))


def slowly(values: list[float], count: int) -> set[int]:
    """Sort by magnitude, then by index, and take the first: the rule as it is written."""
    return set(sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:count])


@given(VECTORS)
def test_every_count_selects_what_a_sort_selects(values: list[float]):
    vector = np.array(values, np.float32)
    for count in range(1, len(values) + 1):
        mask = top_k_mask(vector, count)
        assert mask.dtype == np.bool_
        assert mask.sum() == count
        assert set(np.flatnonzero(mask).tolist()) == slowly(vector.tolist(), count)


@given(VECTORS)
def test_a_smaller_selection_lies_within_a_larger_one(values: list[float]):
    vector = np.array(values, np.float32)
    masks = [top_k_mask(vector, count) for count in range(1, len(values) + 1)]
    for smaller, larger in itertools.pairwise(masks):
        assert not (smaller & ~larger).any()


@given(VECTORS, st.data())
def test_signs_do_not_matter(values: list[float], data):
    vector = np.array(values, np.float32)
    signs = np.array(data.draw(st.lists(st.sampled_from([1, -1]), min_size=40, max_size=40)))
    flipped = vector * signs[: vector.size].astype(np.float32)
    count = data.draw(st.integers(1, len(values)))
    assert np.array_equal(top_k_mask(vector, count), top_k_mask(flipped, count))


@given(st.lists(st.one_of(FEW, ANY), max_size=20), st.data())
def test_a_nan_is_refused_at_every_count(others: list[float], data):
    place = data.draw(st.integers(0, len(others)))
    vector = np.array([*others[:place], float("nan"), *others[place:]], np.float32)
    for count in range(1, vector.size + 1):
        with pytest.raises(ValueError, match="NaN"):
            top_k_mask(vector, count)


@given(st.integers(1, 10**7), st.integers(1, 2**20))
def test_the_kept_count_of_a_dyadic_density_is_the_exact_floor(entries: int, numerator: int):
    assert kept_count(entries, numerator / 2**20) == max(1, entries * numerator // 2**20)


@given(st.integers(1, 10**7), st.floats(0, 1, exclude_min=True))
def test_the_kept_count_is_one_that_top_k_can_keep(entries: int, density: float):
    assert 1 <= kept_count(entries, density) <= entries
