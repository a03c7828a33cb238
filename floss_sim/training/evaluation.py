"""Accuracy and loss of a vector on a split; those of several runs over one bank in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch.nn import functional

from floss_sim.errors import TaskError
from floss_sim.training.bank_model import Bank, BankModel
from floss_sim.training.inputs import Reader, Tensors
from floss_sim.vectors.top_k import Vector

Sums = tuple[int, int, float]  # targets, how many are met, and their mean loss


class Measured(Protocol):
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
    model: Measured, vector_N: Vector, x: torch.Tensor, y: torch.Tensor
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
        return _means([_sums(*model.outputs(*batch)) for batch in _batches(x, y, model.inputs)])


@dataclass(frozen=True)
class Question:
    """What is to be measured of one run.

    Args:
        model: The run's; its rows are bound anew.
        vector: The offsets from the model's base, float32 of shape (N,).
        x: Inputs (examples, ...), on the model's device.
        y: Their classes, shape (examples,).
    """

    model: BankModel
    vector: Vector
    x: torch.Tensor
    y: torch.Tensor

    def batches(self) -> Iterable[Tensors]:
        """Return the batches that are measured one after another."""
        return _batches(self.x, self.y, self.model.inputs)


class Reading(NamedTuple):
    """Accuracy, 0 to 1, mean cross-entropy in nats, and a checksum of all logits' bits."""

    accuracy: float
    loss: float
    logits: int


def measure_side_by_side(questions: Sequence[Question]) -> list[Reading]:
    """Return what :func:`measure` would of each question, all of them in one pass a batch.

    Args:
        questions: At least one; of one bank, with splits of equal batches.

    Raises:
        TaskError: Inputs that the backbone cannot read, or a split without a target.
    """
    bank = questions[0].model.bank
    values = [torch.from_numpy(q.model.base + q.vector).to(bank.device) for q in questions]
    rows = [(q.model, row_N.unsqueeze(0)) for q, row_N in zip(questions, values, strict=True)]
    bank.bind(rows, train=False)
    bank.set_training(False)
    sums: list[list[Sums]] = [[] for _ in questions]
    checks = [0] * len(questions)
    with torch.no_grad():
        for batches in zip(*(q.batches() for q in questions), strict=True):
            for index, (logits, targets) in enumerate(_outputs(bank, batches)):
                sums[index].append(_sums(logits, targets))
                checks[index] += _checksum(logits)
    return [Reading(*_means(own), check) for own, check in zip(sums, checks, strict=True)]


def _outputs(bank: Bank, batches: Sequence[Tensors]) -> Iterator[Tensors]:
    """Yield the logits and targets of each run's batch."""
    xs, ys = zip(*batches, strict=True)
    logits, targets = bank.outputs(torch.cat(xs), torch.cat(ys), [[len(x)] for x in xs])
    counts = bank.inputs.counts(xs)
    # Copied, so that they begin in memory as those of a run alone do.
    parts = torch.split(logits, counts), torch.split(targets, counts)
    for own, wanted in zip(*parts, strict=True):
        yield own.clone(), wanted.clone()


def _batches(x: torch.Tensor, y: torch.Tensor, inputs: Reader) -> Iterable[Tensors]:
    return zip(torch.split(x, inputs.rows), torch.split(y, inputs.rows), strict=True)


def _means(sums: Sequence[Sums]) -> tuple[float, float]:
    """Return accuracy and loss over all batches."""
    total = sum(count for count, _, _ in sums)
    if not total:
        raise TaskError("there is no target to measure: no text has two tokens")
    correct = sum(right for _, right, _ in sums)
    # A mean of means; one batch alone keeps its mean to the last bit.
    return correct / total, sum(loss * (count / total) for count, _, loss in sums)


def _sums(logits: torch.Tensor, targets: torch.Tensor) -> Sums:
    """Return the targets' count, how many are met, and their mean loss (0 where there is none)."""
    if not len(targets):
        return 0, 0, 0.0
    correct = int((logits.argmax(dim=1) == targets).sum())
    return len(targets), correct, functional.cross_entropy(logits, targets).item()


def _checksum(logits_MK: torch.Tensor) -> int:
    """Return a number that tells where a bit differs: metrics alone may hide it."""
    bits_MK, check = logits_MK.view(torch.int32), 0
    for dimension in (0, 1):  # weighted, so that opposite changes do not cancel
        sums = bits_MK.sum(dimension, dtype=torch.int64)
        places = torch.arange(1, len(sums) + 1, device=sums.device)
        check = 1_000_003 * check + int((sums * places).sum())
    return check
