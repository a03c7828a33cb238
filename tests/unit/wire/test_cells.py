"""Cells against what the words say, found entry by entry."""

from __future__ import annotations

import numpy as np
import pytest
from wire_messages import adapters, flat, seeded

from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.wire.cells import Cells, Universe

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


def both(cells: Cells, positions: list[int]) -> tuple[list[int], list[int]]:
    """Return the counts of cells and the bytes of entries, which must be read back."""
    counts, packed = cells.counts_and_bytes(np.array(positions, dtype=np.int64))
    assert cells.positions(packed()).tolist() == positions
    return counts.tolist(), packed().tolist()


def test_bits_are_in_the_order_of_entries_each_cell_from_a_byte_of_its_own_on():
    cells = Cells(np.array([2, 9]))
    assert (cells.starts.tolist(), cells.lengths.tolist()) == ([0, 2], [1, 2])
    assert both(cells, [0, 3, 4, 10]) == ([1, 3], [0b01, 0b0000_0110, 0b1])
    assert (cells.is_padded, cells.full_bytes.tolist()) == (True, [0b11, 255, 0b1])


def test_cells_of_whole_bytes_are_a_bitmap():
    cells = Cells(np.array([8, 16]))
    assert both(cells, [0, 7, 9]) == ([2, 1], [0b1000_0001, 0b10, 0])
    assert (cells.is_padded, cells.full_bytes.tolist()) == (False, [255] * 3)


def test_an_order_says_which_entry_is_at_each_place():
    cells = Cells(np.array([3, 2]), np.array([4, 0, 2, 1, 3]))
    assert both(cells, [0, 3, 4]) == ([2, 1], [0b011, 0b10])


def test_empty_cells_have_no_bytes_wherever_they_are():
    order = np.array([4, 0, 2, 1, 3])
    for sizes in ([0, 3, 0, 0, 2, 0], [0, 0, 5], [5, 0, 0]):
        for cells in (Cells(np.array(sizes)), Cells(np.array(sizes), order)):
            assert cells.full_bytes.size == sum(size > 0 for size in sizes)
            assert both(cells, [0, 1, 2, 3, 4])[0] == sizes
    nothing = Cells(np.array([0, 0]), np.zeros(0, np.int64))
    assert both(nothing, []) == ([0, 0], [])


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
def test_positions_go_to_bytes_by_cells_and_back(layout: Layout, partition: str):
    for known in (None, *masks(layout)):
        universe = Universe(layout, known, seeded(3).random(layout.entries) < 0.3)
        cells = universe.cells(partition)
        chosen = seeded(4).random(universe.size) < 0.5
        counts, packed = both(cells, np.flatnonzero(chosen).tolist())
        in_places = chosen if cells.order is None else chosen[cells.order]
        parts = np.split(in_places, np.cumsum(cells.sizes)[:-1])
        assert counts == [part.sum() for part in parts]
        by_hand = [np.packbits(part, bitorder="little") for part in parts]
        assert packed == np.concatenate(by_hand).tolist()


def test_without_a_held_mask_there_are_no_cells_of_it():
    with pytest.raises(ValueError, match="needs a held mask; this universe has none"):
        Universe(flat(4)).cells("held")


def test_a_universe_is_all_entries_or_those_that_are_known():
    assert Universe(flat(9)).size == 9
    assert Universe(flat(9), np.arange(9) < 4).size == 4
    assert Universe(flat(9), held=np.arange(9) < 4).size == 9
