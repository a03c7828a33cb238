"""How ``experiments/validation_split`` measures panels and chooses a split."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from places import EXPERIMENTS, load_study

from floss_sim.tasks import load_task

FOLDER = EXPERIMENTS / "validation_split"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return load_study("validation_split/study.py")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "difficulty.csv")


def test_every_image_was_classified_by_models_that_had_not_seen_it(study, table):
    from sklearn.datasets import load_digits

    assert np.array_equal(table["class"], load_digits().target)
    for name in study.difficulties(table):
        assert table[f"models {name}"].min() >= 30
        assert (table[f"errors {name}"] <= table[f"models {name}"]).all()


def test_difficulty_is_the_share_of_models_that_are_wrong_in_percent(study):
    table = pd.DataFrame({"class": [0, 1], "models 60 to 80": [4, 8], "errors 60 to 80": [1, 8]})
    assert study.difficulties(table)["60 to 80"].tolist() == [25, 100]


def test_groups_that_tell_the_value_explain_all_of_it_and_others_nothing(study):
    values = np.tile([0.0, 1.0], 500)
    assert study.explained(values, np.tile([3, 7], 500)) == 1
    assert study.explained(values, np.repeat([0, 1], 500)) == pytest.approx(-1 / 998)


def test_the_kind_class_keeps_the_classes_equal(study):
    labels = np.repeat([0, 1, 2], 40)
    for part in study.panels(labels, "class", 3, size=30):
        assert np.bincount(labels[part]).tolist() == [10, 10, 10]


def test_images_that_are_all_alike_leave_the_first_split(study):
    labels = np.arange(1000) % 10
    assert study.first_equal(labels, {"all": np.ones(1000)}) == "split_seed 0"


def test_the_split_of_digits_is_the_first_equal_one(study, table):
    data = load_task("digits").data
    found = study.first_equal(table["class"].to_numpy(), study.difficulties(table))
    assert found == f"split_seed {data.split_seed}"
    assert (data.split, data.split_seed) == study.SPLITS[-1]
