"""Accuracy and loss of several runs over one bank, in one pass a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from floss_sim.training.bank.model import Bank, BankModel
from floss_sim.training.evaluation import Sums, batch_sums, mean_metrics, split_batches
from floss_sim.training.models.inputs import Tensors
from floss_sim.vectors.top_k import Vector


@dataclass(frozen=True)
class EvaluationInput:
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
        return split_batches(self.x, self.y, self.model.inputs)


class SideBySideMetrics(NamedTuple):
    """Accuracy, 0 to 1, mean cross-entropy in nats, and a checksum of all logits' bits."""

    accuracy: float
    loss: float
    logits: int


def measure_side_by_side(questions: Sequence[EvaluationInput]) -> list[SideBySideMetrics]:
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
                sums[index].append(batch_sums(logits, targets))
                checks[index] += _checksum(logits)
    return [
        SideBySideMetrics(*mean_metrics(own), check)
        for own, check in zip(sums, checks, strict=True)
    ]


def _outputs(bank: Bank, batches: Sequence[Tensors]) -> Iterator[Tensors]:
    """Yield the logits and targets of each run's batch."""
    xs, ys = zip(*batches, strict=True)
    logits, targets = bank.outputs(torch.cat(xs), torch.cat(ys), [[len(x)] for x in xs])
    counts = bank.inputs.counts(xs)
    # Copied, so that they begin in memory as those of a run alone do.
    parts = torch.split(logits, counts), torch.split(targets, counts)
    for own, wanted in zip(*parts, strict=True):
        yield own.clone(), wanted.clone()


def _checksum(logits_MK: torch.Tensor) -> int:
    """Return a number that tells where a bit differs: metrics alone may hide it."""
    bits_MK, check = logits_MK.view(torch.int32), 0
    for dimension in (0, 1):  # weighted, so that opposite changes do not cancel
        sums = bits_MK.sum(dimension, dtype=torch.int64)
        places = torch.arange(1, len(sums) + 1, device=sums.device)
        check = 1_000_003 * check + int((sums * places).sum())
    return check
