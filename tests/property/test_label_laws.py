from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from floss_sim.analysis.configuration_labels import labels

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
settings = st.dictionaries(
    st.sampled_from(["rank", "scope", "up_density", "law", "x"]),
    leaves | st.lists(leaves, max_size=2) | st.dictionaries(st.text("ab"), leaves, max_size=2),
)
configurations = st.lists(st.tuples(st.sampled_from(["floss", "dense"]), settings), max_size=6)


@given(configurations)
def test_no_two_labels_are_alike(made):
    names, _ = labels(made)
    assert len(names) == len(made)
    assert len(set(names)) == len(made)
