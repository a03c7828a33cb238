"""Evaluation of several runs over one bank: accuracy and loss, with one pass for each batch."""

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
    """One run's vector and the split on which it is evaluated.

    Args:
        model: The run's model; evaluation rebinds its rows of the bank.
        vector: Offsets from the model's base, float32 of shape (N,).
        x: Inputs of the split, shape (examples, ...), on the model's device.
        y: Classes of the split, shape (examples,), on the model's device.
    """

    model: BankModel
    vector: Vector
    x: torch.Tensor
    y: torch.Tensor

    def batches(self) -> Iterable[Tensors]:
        """Return the batches (inputs, classes) of the split, in order of evaluation."""
        return split_batches(self.x, self.y, self.model.inputs)


class SideBySideMetrics(NamedTuple):
    """Accuracy (0 to 1), mean cross-entropy in nats, and a checksum of the bits of all logits."""

    accuracy: float
    loss: float
    logits: int


def measure_side_by_side(questions: Sequence[EvaluationInput]) -> list[SideBySideMetrics]:
    """Return the metrics of each input, as :func:`measure` does, with one pass for each batch.

    Args:
        questions: One or more inputs over one bank; their splits have batches of equal shapes.

    Raises:
        TaskError: The backbone cannot read the inputs, or a split has no target.
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
    """Yield the logits and the targets of each run, for one batch of every run."""
    xs, ys = zip(*batches, strict=True)
    logits, targets = bank.outputs(torch.cat(xs), torch.cat(ys), [[len(x)] for x in xs])
    counts = bank.inputs.counts(xs)
    # Cloned, so that their alignment in memory equals that of a run evaluated alone.
    parts = torch.split(logits, counts), torch.split(targets, counts)
    for own, wanted in zip(*parts, strict=True):
        yield own.clone(), wanted.clone()


def _checksum(logits_MK: torch.Tensor) -> int:
    """Return a checksum of the bits of logits (M, K): equal metrics may hide a difference."""
    bits_MK, check = logits_MK.view(torch.int32), 0
    for dimension in (0, 1):  # weighted, so that opposite changes do not cancel
        sums = bits_MK.sum(dimension, dtype=torch.int64)
        places = torch.arange(1, len(sums) + 1, device=sums.device)
        check = 1_000_003 * check + int((sums * places).sum())
    return check
