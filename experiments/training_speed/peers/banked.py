"""The task's model in our bank: every layer is a linear layer for each client.

Our learners train backbones of the model library. An MLP that trains whole is, to the bank, three
heads in a row: the code that stacks the clients' heads (``BankHead``), trains a cohort
(``train_together``) and runs rounds (``BankLearner``, ``run``) is the product's own, unchanged.
What is said here is only which layers there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import task
import torch
from torch import nn

from floss_sim.training.bank.layers import BankHead, BatchSegments
from floss_sim.training.bank.model import Bank, BankModel
from floss_sim.training.models.dropout import DropoutStreams
from floss_sim.training.models.inputs import ImageReader
from floss_sim.vectors.layout import (
    HEAD_BIAS,
    HEAD_WEIGHT,
    Layout,
    TensorSpec,
)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Vectors(ImageReader):
    """Examples that are read as they are."""

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the MLP's argument."""
        return {"x": x}


class BankMLP(nn.Module):
    """The MLP, its weights those of several clients."""

    def __init__(self, batch: BatchSegments) -> None:
        super().__init__()
        self.layers = nn.ModuleList(BankHead(batch) for _ in task.WIDTHS[1:])

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        """Return logits (E, K) of (E, 128), as the model library does."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return SimpleNamespace(logits=self.layers[-1](x))


def layout() -> Layout:
    """Return the MLP's layout; names sort by layer, the bias first."""
    tensors = []
    for number, (fan_in, fan_out) in enumerate(pairwise(task.WIDTHS)):
        tensors.append(TensorSpec(f"layer.{number}.bias", (fan_out,), HEAD_BIAS))
        tensors.append(TensorSpec(f"layer.{number}.weight", (fan_out, fan_in), HEAD_WEIGHT))
    return Layout(tuple(tensors))


def bank_model() -> BankModel:
    """Return the MLP as the learner's model."""
    batch = BatchSegments()
    model = BankMLP(batch)
    places = {f"layer.{number}": layer for number, layer in enumerate(model.layers)}
    inputs = Vectors(None, None, None, (1, 1, task.WIDTHS[0]))
    bank = Bank(model, places, batch, DropoutStreams(CPU), inputs, {}, device=CPU)
    chosen = layout()
    return BankModel(bank, chosen, 1.0, {}, np.zeros(chosen.entries, dtype=np.float32))


def first_vector() -> np.ndarray:
    """Return what every peer begins with, in the layout's order."""
    parts = iter(task.first_weights())
    return np.concatenate([p.ravel() for weight in parts for p in (next(parts), weight)])


def weights_of(vector_N: np.ndarray) -> task.Weights:
    """Return a vector's weights in the order of the task."""
    of = {t.name: vector_N[layout().slices[t.name]].reshape(t.shape) for t in layout().tensors}
    names = [f"layer.{n}.{kind}" for n in range(3) for kind in ("weight", "bias")]
    return [of[name] for name in names]
