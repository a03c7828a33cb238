from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floss_sim.errors import ConfigError
from floss_sim.tasks import partition

LABELS = st.lists(st.integers(0, 7), min_size=1, max_size=60)
EVEN_LAWS = ("iid", "dirichlet")
LAWS = st.sampled_from(EVEN_LAWS)
ALPHAS = st.floats(0, exclude_min=True, allow_infinity=False)
SEEDS = st.integers(0, 2**63)


@given(LABELS, LAWS, ALPHAS, SEEDS, st.data())
def test_every_example_belongs_to_exactly_one_client(labels, law, alpha, seed, data):
    clients = data.draw(st.integers(1, len(labels)))
    parts = partition(np.array(labels), clients, law, alpha, seed)
    assert len(parts) == clients
    assert sorted(i for part in parts for i in part.tolist()) == list(range(len(labels)))


@given(LABELS, LAWS, ALPHAS, SEEDS, st.data())
def test_sizes_differ_by_at_most_one_and_each_part_is_sorted(labels, law, alpha, seed, data):
    clients = data.draw(st.integers(1, len(labels)))
    parts = partition(np.array(labels), clients, law, alpha, seed)
    least = len(labels) // clients
    assert {part.size for part in parts} <= {least, least + 1}
    for part in parts:
        assert part.tolist() == sorted(part.tolist())
        assert part.dtype == np.int64


@given(LABELS, LAWS, st.floats(0.01, 100), SEEDS, st.data())
def test_the_same_arguments_deal_the_same_parts(labels, law, alpha, seed, data):
    clients = data.draw(st.integers(1, len(labels)))
    one, other = (partition(np.array(labels), clients, law, alpha, seed) for _ in range(2))
    assert [part.tolist() for part in one] == [part.tolist() for part in other]


@given(LABELS, SEEDS)
@example([0, 7, 7, 0], 0)
def test_a_lone_client_has_everything(labels, seed):
    for law in EVEN_LAWS:
        (part,) = partition(np.array(labels), 1, law, 0.1, seed)
        assert part.tolist() == list(range(len(labels)))


@given(LABELS, SEEDS)
def test_the_labels_do_not_shape_the_iid_law(labels, seed):
    clients = max(1, len(labels) // 3)
    one = partition(np.array(labels), clients, "iid", 1.0, seed)
    other = partition(np.zeros(len(labels), np.int64), clients, "iid", 1.0, seed)
    assert [part.tolist() for part in one] == [part.tolist() for part in other]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=60), st.integers(1, 4), SEEDS, st.data())
def test_by_column_each_client_is_one_whole_group_with_enough_examples(names, least, seed, data):
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    able = np.flatnonzero(np.bincount(groups) >= least)
    clients = data.draw(st.integers(1, max(1, able.size)))
    labels = np.zeros(len(names), np.int64)
    arguments = (labels, clients, "column", 1.0, seed)
    if able.size < clients:
        with pytest.raises(ConfigError, match=f"{able.size} groups have at least {least}"):
            partition(*arguments, groups=groups, min_examples=least)
        return
    parts = partition(*arguments, groups=groups, min_examples=least)
    owners = [set(groups[part].tolist()) for part in parts]
    assert all(len(owner) == 1 for owner in owners)
    chosen = sorted(owner.pop() for owner in owners)
    assert len(set(chosen)) == clients
    assert set(chosen) <= set(able.tolist())
    for part in parts:
        assert part.tolist() == np.flatnonzero(groups == groups[part[0]]).tolist()
