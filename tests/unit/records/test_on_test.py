"""Results on the test split as they stand in a run folder, with a bit for each prediction."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim.records.on_test import ModelOnTest, read_model

RIGHT = np.array([True] * 9 + [False, True])
MADE = ModelOnTest(10 / 11, 0.25, RIGHT)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 350])
def test_every_prediction_comes_back(count: int):
    right = np.random.default_rng(count).random(count) < 0.8
    made = ModelOnTest(float(right.mean()), 0.5, right)
    read = read_model(made.to_json())
    assert read is not None
    assert (read.accuracy, read.loss) == (made.accuracy, made.loss)
    assert np.array_equal(read.right, right)
    assert len(made.to_json()["right"]) <= 4 * (count // 24 + 1) + 4  # six bits a letter


def test_a_result_of_an_earlier_version_has_no_single_predictions():
    assert read_model({"accuracy": 0.5, "loss": 1.0}) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"right": "?"}, "no base64"),
        ({"right": "/w=="}, "does not hold 11 predictions"),
        ({"predictions": 0}, "does not hold 0 predictions"),
        ({"accuracy": 0.5}, "the accuracy 0.5 is not the share of right predictions"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(change, said: str):
    with pytest.raises(ValueError, match=said):
        read_model({**MADE.to_json(), **change})
