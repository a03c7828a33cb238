"""Fixed split of a data set's rows into training, validation and test.

The split depends on the data and on the split's own seed, never on a run's seed.

``random``
    The last rows of one permutation.
``stratified``
    Systematic samples: the rows of each class, in the order of the data, are sampled at equal
    distances from a random start. Test rows are sampled first, validation rows from the rest. Each
    class, and each stretch of a class, has its share of both parts. Data often lie in the order of
    their origin (writers, days, users), so that each origin has about its share too. Source:
    systematic sampling of an ordered list, Cochran, Sampling Techniques (1977), chapter 8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RANDOM, STRATIFIED = "random", "stratified"
SPLITS = (RANDOM, STRATIFIED)
RowNumbers = NDArray[np.int64]


def split_rows(
    labels_E: NDArray[np.int64], validation: int, test: int, kind: str = RANDOM, seed: int = 0
) -> tuple[RowNumbers, RowNumbers, RowNumbers]:
    """Return the row numbers of training, validation and test, each in shuffled order.

    The test rows do not depend on the number of validation rows.

    Args:
        labels_E: Class, 0 or more, of each of E rows, in the order of the data; zeros for data
            without classes. Ignored by the kind ``random``.
        validation: Number of validation rows.
        test: Number of test rows, 0 or more; with ``validation`` fewer than E.
        kind: One of ``SPLITS``.
        seed: The split's seed.

    Example:
        >>> import numpy as np
        >>> from floss_sim.tasks.fixed_split import split_rows
        >>> labels = np.repeat([0, 1], 20)
        >>> [np.bincount(labels[part]).tolist() for part in split_rows(labels, 4, 4, "stratified")]
        [[16, 16], [2, 2], [2, 2]]
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(labels_E.size)
    if kind == RANDOM:
        rest, tested = np.split(order, [labels_E.size - test])
        return rest[: rest.size - validation], rest[rest.size - validation :], tested
    part_E = _systematic_parts(labels_E, validation, test, draw)[order]
    return order[part_E == 0], order[part_E == 1], order[part_E == 2]


def _systematic_parts(
    labels_E: NDArray[np.int64], validation: int, test: int, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Return the part of each row: 0 training, 1 validation, 2 test."""
    part_E = np.zeros(labels_E.size, dtype=np.int64)
    sizes_C = np.bincount(labels_E)
    starts_test_C, starts_validation_C = draw.random((2, sizes_C.size))
    tested_C = _proportional_counts(test, sizes_C, sizes_C)
    part_E[_systematic_rows(labels_E, tested_C, starts_test_C)] = 2
    left = np.flatnonzero(part_E == 0)
    checked_C = _proportional_counts(validation, sizes_C, sizes_C - tested_C)
    part_E[left[_systematic_rows(labels_E[left], checked_C, starts_validation_C)]] = 1
    return part_E


def _proportional_counts(
    total: int, sizes_C: NDArray[np.int64], room_C: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return counts of classes in proportion to their sizes, by the largest remainder.

    Counts of equal totals are equal, unless a class lacks the room for it. Ties go to the lower
    class number.
    """
    counts_C, remainder_C = np.divmod(total * sizes_C, sizes_C.sum())
    while lacking := total - int(counts_C.sum()):
        open_C = np.flatnonzero(counts_C < room_C)
        largest = open_C[np.argsort(-remainder_C[open_C], kind="stable")]
        counts_C[largest[:lacking]] += 1
    return counts_C


def _systematic_rows(
    labels_E: NDArray[np.int64], counts_C: NDArray[np.int64], starts_C: NDArray[np.float64]
) -> RowNumbers:
    """Return rows at equal distances within each class, ``counts_C[c]`` of class c.

    Row r of n rows of a class is taken if the whole part of (r * count + offset) / n changes from r
    to r + 1. The offset, 0 to n - 1, is n times the class's start, 0 to 1.
    """
    sizes_C = np.bincount(labels_E, minlength=counts_C.size)
    offsets_C = (starts_C * sizes_C).astype(np.int64)
    order = np.argsort(labels_E, kind="stable")
    of = labels_E[order]
    rank_E = np.arange(labels_E.size) - (np.cumsum(sizes_C) - sizes_C)[of]
    at_E = rank_E * counts_C[of] + offsets_C[of]
    return order[(at_E + counts_C[of]) // sizes_C[of] > at_E // sizes_C[of]]
