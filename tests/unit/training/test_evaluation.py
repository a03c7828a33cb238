"""Single predictions on a split: in the order of the split, whatever the batches."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from floss_sim.analysis.on_test import HitsOnTest, predictions_by_example
from floss_sim.families import NEXT_TOKEN
from floss_sim.records.on_test import ModelOnTest
from floss_sim.training.evaluation import measure, predictions
from floss_sim.training.models.dropout import DropoutStreams
from floss_sim.training.models.frozen_prefix import FrozenPrefix
from floss_sim.training.models.inputs import NextTokenReader

WORDS = 11


class NextWord:
    """A model that always predicts the following number as the next token."""

    base = np.zeros(1, np.float32)
    device = torch.device("cpu")

    def __init__(self, rows: int) -> None:
        self.inputs = NextTokenReader(0, WORDS, 8, rows=rows)
        streams = DropoutStreams(self.device)
        self.prefix = FrozenPrefix(nn.Identity(), (), self.inputs, streams, device=self.device)

    def load(self, vector_N: Any) -> None:
        pass

    def set_training(self, on: bool) -> None:
        pass

    def outputs(self, x: torch.Tensor, y: torch.Tensor):
        tokens = self.inputs.read(x)["input_ids"]
        logits = torch.nn.functional.one_hot((tokens + 1) % WORDS, WORDS).float()
        return self.inputs.targets(logits, x, y)


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_right_tokens_are_counted_for_each_text(rows: int):
    texts = [[1, 2, 3, 9], [4, -1, -1, -1], [5, 6, -1, -1], [7, 1, 2, -1], [3, 4, 5, 6]]
    x, y = torch.tensor(texts, dtype=torch.int32), torch.zeros(5, dtype=torch.int64)
    model = NextWord(rows)
    made = predictions(model, np.zeros(1, np.float32), x, y)
    expected = [[b == a + 1 for a, b in pairwise(t) if b >= 0] for t in texts]
    assert made.right.tolist() == [one for text in expected for one in text]
    accuracy, whole_loss = measure(model, np.zeros(1, np.float32), x, y)
    assert made.right.mean() == pytest.approx(accuracy)
    assert (made.accuracy, made.loss) == (accuracy, whole_loss)
    assert made.losses.mean() == pytest.approx(whole_loss)
    split = SimpleNamespace(test=(x.numpy(), y.numpy()))
    counts_E = predictions_by_example(SimpleNamespace(kind=NEXT_TOKEN, content=split))
    assert counts_E.tolist() == [3, 0, 1, 2, 3]
    hits = HitsOnTest.of([ModelOnTest(accuracy, made.loss, made.right)], counts_E)
    assert hits.right.tolist() == [sum(text) for text in expected]
