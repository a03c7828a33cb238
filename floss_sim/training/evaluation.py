"""Evaluation: accuracy and loss of a vector on a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch.nn import functional

from floss_sim.errors import TaskError
from floss_sim.training.models.inputs import Reader, Tensors
from floss_sim.vectors.top_k import Vector

Sums = tuple[int, int, float]  # targets, how many are met, and their mean loss


class EvaluableModel(Protocol):
    """A model that can take a vector of its layout and answer with it."""

    base: Vector
    inputs: Reader

    @property
    def device(self) -> torch.device:
        """Where it lives."""

    def load(self, vector_N: Vector) -> None:
        """Take values (base + offsets), float32 of shape (N,)."""

    def set_training(self, on: bool) -> None:
        """Switch dropout on or off."""

    def outputs(self, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return (logits, targets) of a batch."""


def measure(
    model: EvaluableModel, vector_N: Vector, x: torch.Tensor, y: torch.Tensor
) -> tuple[float, float]:
    """Return (accuracy 0 to 1, mean cross-entropy in nats) of a vector on a split.

    Both are means over the split's targets: its examples, or every token but the first of each
    text in next-token prediction.

    Args:
        model: Any model of the vector's layout; its vector is overwritten.
        vector_N: The offsets from the model's base.
        x: Inputs (examples, ...), on the model's device.
        y: Their classes, shape (examples,).

    Raises:
        TaskError: Inputs that the backbone cannot read, or a split without a target.
    """
    model.load(model.base + vector_N)
    model.set_training(False)
    with torch.no_grad():
        return mean_metrics(
            [batch_sums(*model.outputs(*batch)) for batch in split_batches(x, y, model.inputs)]
        )


def split_batches(x: torch.Tensor, y: torch.Tensor, inputs: Reader) -> Iterable[Tensors]:
    """Return inputs and classes in batches of as many rows as the reader takes."""
    return zip(torch.split(x, inputs.rows), torch.split(y, inputs.rows), strict=True)


def mean_metrics(sums: Sequence[Sums]) -> tuple[float, float]:
    """Return accuracy and loss over all batches."""
    total = sum(count for count, _, _ in sums)
    if not total:
        raise TaskError("there is no target to measure: no text has two tokens")
    correct = sum(right for _, right, _ in sums)
    # A mean of means; one batch alone keeps its mean to the last bit.
    return correct / total, sum(loss * (count / total) for count, _, loss in sums)


def batch_sums(logits: torch.Tensor, targets: torch.Tensor) -> Sums:
    """Return the targets' count, how many are met, and their mean loss (0 where there is none)."""
    if not len(targets):
        return 0, 0, 0.0
    correct = int((logits.argmax(dim=1) == targets).sum())
    return len(targets), correct, functional.cross_entropy(logits, targets).item()
