from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floss_sim.errors import TaskError
from floss_sim.tasks import load_task
from floss_sim.tasks.fixed_split import RANDOM, SPLITS, STRATIFIED, split_rows

LABELS = st.lists(st.integers(0, 5), min_size=3, max_size=80).map(np.array)
# First image of each of the 14 preprinted forms of 130 digits that digits was cut from.
FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)


def sizes(data: st.DataObject, rows: int) -> tuple[int, int]:
    validation = data.draw(st.integers(1, rows - 1))
    return validation, data.draw(st.integers(0, rows - 1 - validation))


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().target.astype(np.int64)


# every kind


@given(LABELS, st.sampled_from(SPLITS), st.data())
def test_every_row_is_in_exactly_one_part_and_the_parts_have_their_sizes(labels, kind, data):
    validation, test = sizes(data, labels.size)
    parts = split_rows(labels, validation, test, kind)
    assert [part.size for part in parts[1:]] == [validation, test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(labels.size))


@given(LABELS, st.sampled_from(SPLITS), st.data())
def test_the_test_rows_do_not_depend_on_the_number_of_validation_rows(labels, kind, data):
    validation, test = sizes(data, labels.size)
    one, other = (split_rows(labels, count, test, kind)[2] for count in (1, validation))
    assert one.tolist() == other.tolist()


@given(LABELS, st.sampled_from(SPLITS), st.data())
def test_the_same_rows_are_split_alike(labels, kind, data):
    validation, test = sizes(data, labels.size)
    seed = data.draw(st.integers(0, 2**32 - 1))
    one, other = (split_rows(labels.copy(), validation, test, kind, seed) for _ in range(2))
    assert [part.tolist() for part in one] == [part.tolist() for part in other]


@pytest.mark.parametrize("kind", SPLITS)
def test_another_seed_gives_other_rows_and_every_row_is_tested_by_some_seed(kind):
    labels = np.arange(60) % 3
    tested = [frozenset(split_rows(labels, 6, 12, kind, seed)[2].tolist()) for seed in range(60)]
    assert len(set(tested)) > 30
    assert frozenset().union(*tested) == set(range(60))


@given(LABELS, st.data())
def test_the_random_split_is_the_end_of_one_permutation_whatever_the_classes(labels, data):
    validation, test = sizes(data, labels.size)
    seed = data.draw(st.integers(0, 2**32 - 1))
    order = np.random.default_rng(seed).permutation(labels.size).tolist()
    train = labels.size - validation - test
    expected = [order[:train], order[train : train + validation], order[train + validation :]]
    parts = split_rows(labels, validation, test, RANDOM, seed)
    assert [part.tolist() for part in parts] == expected


# stratified


@given(LABELS, st.data())
def test_each_class_has_its_share_of_the_test_rows_to_within_one_row(labels, data):
    validation, test = sizes(data, labels.size)
    counts = np.bincount(labels)
    found = np.bincount(labels[split_rows(labels, validation, test, STRATIFIED)[2]])
    padded = np.pad(found, (0, counts.size - found.size))
    assert np.all(np.abs(padded - test * counts / labels.size) < 1)


@given(st.integers(3, 12), st.integers(1, 6), st.data())
def test_both_parts_of_one_size_have_the_same_number_of_each_class(each, classes, data):
    """Classes of any sizes that are at least three times their share: room is never short."""
    extra = data.draw(st.lists(st.integers(0, 9), min_size=classes, max_size=classes))
    labels = np.repeat(np.arange(classes), np.array(extra) + 3 * each)
    count = each * classes
    _, checked, tested = split_rows(labels, count, count, STRATIFIED)
    assert np.array_equal(
        np.bincount(labels[checked], minlength=classes),
        np.bincount(labels[tested], minlength=classes),
    )


@given(st.integers(1, 200), st.data())
def test_any_stretch_of_a_class_has_its_share_of_the_test_rows_to_within_one_row(size, data):
    """The law of systematic sampling: rows at equal distances, from a start."""
    test = data.draw(st.integers(1, size))
    first = data.draw(st.integers(0, size))
    last = data.draw(st.integers(first, size))
    tested = split_rows(np.zeros(size + 1, np.int64), 1, test, STRATIFIED)[2]
    inside = np.count_nonzero((tested >= first) & (tested < last))
    assert abs(inside - test * (last - first) / (size + 1)) < 1 + 1e-9


def test_equal_classes_give_whole_shares_and_equal_distances():
    labels = np.tile(np.arange(4), 30)
    train, checked, tested = split_rows(labels, 24, 24, STRATIFIED)
    for part, each in ((train, 18), (checked, 6), (tested, 6)):
        assert np.bincount(labels[part]).tolist() == [each] * 4
    for label in range(4):
        own = np.sort(tested[labels[tested] == label]) // 4
        assert np.all(np.diff(own) == 5)


def test_every_block_of_a_sorted_file_is_in_both_parts_alike():
    """Ten origins of 60 rows each, of three classes: a share of a sixth is ten rows."""
    labels = np.tile([0, 1, 2], 200)
    origins = np.repeat(np.arange(10), 60)
    _, checked, tested = split_rows(labels, 100, 100, STRATIFIED)
    for part in (checked, tested):
        counts = np.bincount(origins[part], minlength=10)
        assert counts.min() >= 9
        assert counts.max() <= 11


def test_a_class_without_room_gives_its_rows_to_others():
    labels = np.array([0] * 20 + [1, 2, 3, 4])
    train, checked, tested = split_rows(labels, 11, 12, STRATIFIED)
    assert (train.size, checked.size, tested.size) == (1, 11, 12)


def test_training_rows_keep_the_shuffled_order_of_the_random_split():
    """``data.limit`` takes the first of them."""
    train = split_rows(np.zeros(500, np.int64), 50, 50, STRATIFIED)[0].tolist()
    order = np.random.default_rng(0).permutation(500).tolist()
    assert train == [row for row in order if row in set(train)]


# digits


def test_stratified_parts_of_digits_have_equal_classes(digits):
    _, checked, tested = split_rows(digits, 350, 350, STRATIFIED)
    expected = [35, 35, 35, 36, 35, 35, 35, 35, 34, 35]
    assert np.bincount(digits[checked]).tolist() == expected
    assert np.bincount(digits[tested]).tolist() == expected


def test_stratified_parts_of_digits_have_about_equal_forms(digits):
    """Forms are the origin of the images; the random split has 16 to 33 of each."""
    form = np.searchsorted(FORMS, np.arange(1797), side="right") - 1
    share = 350 * np.bincount(form) / 1797
    for part in split_rows(digits, 350, 350, STRATIFIED)[1:]:
        assert np.abs(np.bincount(form[part]) - share).max() < 5
    counts = [np.bincount(form[part]) for part in split_rows(digits, 350, 350, RANDOM)[1:]]
    assert max(np.abs(count - share).max() for count in counts) > 7


# tasks


def of_kind(kind: str):
    return load_task("digits", changes={"data.split": kind}).content


def test_a_task_without_the_key_has_the_random_split(write_task):
    path = str(write_task())
    kinds = [None, RANDOM, STRATIFIED]
    changes = [{} if kind is None else {"data.split": kind} for kind in kinds]
    default, random, stratified = (
        load_task(path, changes=change).content.digest for change in changes
    )
    assert default == random
    assert default != stratified


def test_the_split_of_digits_can_be_chosen():
    random, stratified = of_kind(RANDOM), of_kind(STRATIFIED)
    assert [len(y) for _, y in (stratified.train, stratified.validation, stratified.test)] == [
        1097,
        350,
        350,
    ]
    assert sorted(map(bytes, _images(random))) == sorted(map(bytes, _images(stratified)))
    assert random.digest != stratified.digest


def _images(content) -> np.ndarray:
    return np.concatenate([content.train[0], content.validation[0], content.test[0]])


def test_an_unknown_kind_of_split_is_refused(write_task):
    with pytest.raises(TaskError) as caught:
        load_task(str(write_task()), changes={"data.split": "sorted"})
    assert "data.split: unknown kind of split 'sorted'; valid: random, stratified" in str(
        caught.value
    )


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "x"])
def test_an_invalid_seed_of_the_split_is_refused(write_task, seed):
    with pytest.raises(TaskError, match=r"data\.split_seed"):
        load_task(str(write_task()), changes={"data.split_seed": seed})


@pytest.mark.parametrize("kind", SPLITS)
def test_too_few_rows_are_refused_whatever_the_split(write_task, kind: str):
    changes = {"data.split": kind, "data.validation": 50, "data.test": 10}
    task = load_task(str(write_task()), changes=changes)
    with pytest.raises(TaskError, match="60 examples are too few: 50 for validation and 10"):
        _ = task.content
