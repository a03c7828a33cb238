"""Evaluation: accuracy and loss of a model vector on a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from floss_sim.errors import TaskError
from floss_sim.training.models.frozen_prefix import FrozenPrefix
from floss_sim.training.models.inputs import Reader, Tensors
from floss_sim.vectors.top_k import Vector

Sums = tuple[int, int, float]  # number of targets, correct predictions, mean loss in nats


@dataclass(frozen=True)
class Predictions:
    """Predictions of a model on a split.

    Attributes:
        accuracy: Fraction of right predictions, 0 to 1.
        loss: Mean cross-entropy, nats.
        right: Whether each prediction is right, bool of shape (M,), M targets.
        losses: Cross-entropy of each prediction, nats, float32 of shape (M,).
    """

    accuracy: float
    loss: float
    right: NDArray[np.bool_]
    losses: NDArray[np.float32]


class EvaluableModel(Protocol):
    """Interface of a model that loads a vector of its layout and computes logits."""

    base: Vector
    inputs: Reader

    @property
    def prefix(self) -> FrozenPrefix:
        """Activations below the first trained layer."""

    @property
    def device(self) -> torch.device:
        """Device of the model's parameters."""

    def load(self, vector_N: Vector) -> None:
        """Load values (base + offsets), float32 of shape (N,)."""

    def set_training(self, on: bool) -> None:
        """Switch dropout on or off."""

    def outputs(self, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return (logits, targets) of a batch."""


def measure(
    model: EvaluableModel, vector_N: Vector, x: torch.Tensor, y: torch.Tensor
) -> tuple[float, float]:
    """Return (accuracy 0 to 1, mean cross-entropy in nats) of a vector on a split.

    Both are means over the split's targets. A target is an example; in next-token prediction it
    is every token but the first of each text.

    Args:
        model: A model of the vector's layout; its current vector is overwritten.
        vector_N: Offsets from the model's base, float32 of shape (N,).
        x: Inputs (examples, ...), on the model's device.
        y: Classes of the inputs, shape (examples,), on the model's device.

    Raises:
        TaskError: The backbone cannot read the inputs, or the split has no target.
    """
    model.load(model.base + vector_N)
    model.set_training(False)
    with torch.no_grad():
        return mean_metrics([batch_sums(*outputs) for outputs in split_outputs(model, x, y)])


def predictions(
    model: EvaluableModel,
    vector_N: Vector,
    x: torch.Tensor,
    y: torch.Tensor,
    examples: torch.Tensor | None = None,
) -> Predictions:
    """Return accuracy and loss of a vector on a split, and of each target.

    Other arguments and errors are those of :func:`measure`, whose values are the same to the bit.

    Args:
        model: A model of the vector's layout; its current vector is overwritten.
        vector_N: Offsets from the model's base, float32 of shape (N,).
        x: Inputs (examples, ...), on the model's device.
        y: Classes of the inputs, shape (examples,), on the model's device.
        examples: Numbers of the examples to measure, at least one, ascending; None: all.
    """
    model.load(model.base + vector_N)
    model.set_training(False)
    sums, right, losses = [], [], []
    with torch.no_grad():
        for logits, targets in split_outputs(model, x, y, examples):
            sums.append(batch_sums(logits, targets))
            right.append(logits.argmax(dim=1) == targets)
            losses.append(functional.cross_entropy(logits, targets, reduction="none"))
    return Predictions(
        *mean_metrics(sums), torch.cat(right).cpu().numpy(), torch.cat(losses).cpu().numpy()
    )


def split_outputs(
    model: EvaluableModel, x: torch.Tensor, y: torch.Tensor, examples: torch.Tensor | None = None
) -> Iterator[Tensors]:
    """Yield (logits, targets) of a split in batches of at most ``inputs.rows`` examples.

    Only those of ``examples``, numbers on the host, if they are given.
    """
    numbers = torch.arange(len(x)) if examples is None else examples
    for chosen in torch.split(numbers, model.inputs.rows):
        batch: slice | torch.Tensor = slice(int(chosen[0]), int(chosen[-1]) + 1)
        if examples is not None:
            batch = chosen.to(x.device)
        with model.prefix.using([(x, chosen)]):
            yield model.outputs(x[batch], y[batch])


def mean_metrics(sums: Sequence[Sums]) -> tuple[float, float]:
    """Return (accuracy 0 to 1, mean loss in nats) over all batches.

    Raises:
        TaskError: The batches have no target.
    """
    total = sum(count for count, _, _ in sums)
    if not total:
        raise TaskError("the split has no target to predict: no text has two or more tokens")
    correct = sum(right for _, right, _ in sums)
    # Weighted mean of the batch means: the mean of a single batch stays bit-identical.
    return correct / total, sum(loss * (count / total) for count, _, loss in sums)


def batch_sums(logits: torch.Tensor, targets: torch.Tensor) -> Sums:
    """Return (number of targets, correct predictions, mean loss in nats); (0, 0, 0.0) if empty."""
    if not len(targets):
        return 0, 0, 0.0
    correct = int((logits.argmax(dim=1) == targets).sum())
    return len(targets), correct, functional.cross_entropy(logits, targets).item()
