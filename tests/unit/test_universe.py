"""Cells against what the words say, found entry by entry."""

from __future__ import annotations

import numpy as np
import pytest
from wire_messages import adapters, flat, seeded

from floss_sim.layout import Layout, TensorSpec
from floss_sim.wire.universe import Cells, Universe

LAYOUTS = {
    "one tensor": flat(11),
    "adapters": adapters(2, 3, 5, 4, classes=3),
    "only A": Layout((TensorSpec("a", (2, 5), "lora_A"), TensorSpec("b", (3,), "bias"))),
    "one entry": flat(1),
}
EVERY = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def names_of(layout: Layout, partition: str) -> list[object]:
    """Return what the cell of each entry stands for, cells in their order."""
    names: list[object] = []
    for tensor in layout.tensors:
        for flat_place in range(tensor.size):
            place = np.unravel_index(flat_place, tensor.shape)
            row = {"lora_A": 0, "head_weight": 0, "lora_B": 1}.get(tensor.kind)
            whole = partition == "tensors" or row is None
            names.append((tensor.name, 0 if whole else int(place[row])))
    return names


def masks(layout: Layout) -> list[np.ndarray]:
    entries = layout.entries
    return [
        np.ones(entries, bool),
        np.arange(entries) == entries - 1,
        np.zeros(entries, bool),
        seeded(1).random(entries) < 0.5,
        seeded(2).random(entries) < 0.9,
    ]


def test_without_an_order_places_are_entries():
    cells = Cells(np.array([2, 3]))
    some = np.array([0, 3, 4])
    assert cells.starts.tolist() == [0, 2]
    assert cells.places(some).tolist() == cells.positions(some).tolist() == some.tolist()


def test_places_and_entries_are_each_others_inverse_in_increasing_order():
    cells = Cells(np.array([3, 2]), np.array([4, 0, 2, 1, 3]))
    assert cells.starts.tolist() == [0, 3]
    assert cells.places(np.array([0, 3, 4])).tolist() == [0, 1, 4]
    assert cells.positions(np.array([0, 1, 4])).tolist() == [0, 3, 4]


@EVERY
@pytest.mark.parametrize("partition", ["tensors", "rows"])
def test_cells_divide_all_entries_by_tensor_and_row(layout: Layout, partition: str):
    names = names_of(layout, partition)
    cells = Universe(layout).cells(partition)
    in_order = range(layout.entries) if cells.order is None else cells.order
    of_places = [names[entry] for entry in in_order]
    ends = cells.starts + cells.sizes
    groups = [of_places[a:b] for a, b in zip(cells.starts, ends, strict=True)]
    assert [len(set(group)) for group in groups] == [1] * len(groups)
    assert [group[0] for group in groups] == sorted(set(names))
    assert sum(map(len, groups)) == layout.entries


@EVERY
@pytest.mark.parametrize("partition", ["tensors", "rows"])
def test_a_known_mask_leaves_its_entries_in_their_cells(layout: Layout, partition: str):
    """Cells keep their number and order, even where the mask leaves nothing of them."""
    names = names_of(layout, partition)
    for known in masks(layout):
        universe = Universe(layout, known)
        cells = universe.cells(partition)
        left = [names[entry] for entry in np.flatnonzero(known)]
        assert cells.sizes.tolist() == [left.count(name) for name in sorted(set(names))]
        in_order = range(universe.size) if cells.order is None else cells.order
        assert [left[entry] for entry in in_order] == sorted(left)
        assert universe.size == cells.sizes.sum() == known.sum()


@EVERY
def test_a_held_mask_makes_two_cells_its_entries_first(layout: Layout):
    for held in masks(layout):
        cells = Universe(layout, held=held).cells("held")
        assert cells.sizes.tolist() == [held.sum(), (~held).sum()]
        in_order = [*np.flatnonzero(held), *np.flatnonzero(~held)]
        assert cells.order is not None
        assert cells.order.tolist() == in_order


@EVERY
def test_of_a_held_mask_what_is_known_counts(layout: Layout):
    for known in masks(layout):
        for held in masks(layout):
            cells = Universe(layout, known, held).cells("held")
            inside = held[known]
            assert cells.sizes.tolist() == [inside.sum(), (~inside).sum()]
            assert cells.order is not None
            assert cells.order.tolist() == [*np.flatnonzero(inside), *np.flatnonzero(~inside)]


@EVERY
@pytest.mark.parametrize("partition", ["tensors", "rows", "held"])
def test_positions_go_to_places_and_back(layout: Layout, partition: str):
    for known in (None, *masks(layout)):
        universe = Universe(layout, known, seeded(3).random(layout.entries) < 0.3)
        cells = universe.cells(partition)
        positions = np.flatnonzero(seeded(4).random(universe.size) < 0.5)
        places = cells.places(positions)
        assert (np.diff(places) > 0).all()
        assert cells.positions(places).tolist() == positions.tolist()


def test_without_a_held_mask_there_are_no_cells_of_it():
    with pytest.raises(ValueError, match="no mask that both ends hold"):
        Universe(flat(4)).cells("held")


def test_a_universe_is_all_entries_or_those_that_are_known():
    assert Universe(flat(9)).size == 9
    assert Universe(flat(9), np.arange(9) < 4).size == 4
    assert Universe(flat(9), held=np.arange(9) < 4).size == 9
