"""Jobs that runs submit to the scheduler: training of a cohort, or evaluation of a version.

Jobs of one kind over one bank can be computed in one pass. The *shape* of a pass is everything by
which matrix libraries choose their kernels: for each job the layout and the number of rows of each
client in each step. It contains no values.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from floss_sim.training.bank.batched_sgd import Party, train_side_by_side
from floss_sim.training.bank.model import Bank
from floss_sim.training.side_by_side.measuring import (
    EvaluationInput,
    SideBySideMetrics,
    measure_side_by_side,
)
from floss_sim.vectors.top_k import Vector

ClientVectors = list[Vector]
PassShape = tuple[Any, ...]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Job(ABC, Generic[Result]):
    """A unit of computation for which one run waits.

    Args:
        chunk: Largest number of clients in a pass that includes this job.
    """

    chunk: int

    @property
    @abstractmethod
    def bank(self) -> Bank:
        """The bank of models that computes the job."""

    @property
    @abstractmethod
    def clients(self) -> int:
        """Memory of the job, in units of one client's batch."""

    @property
    def kind(self) -> Hashable:
        """Key that is equal for jobs of one bank that can be computed in one pass."""
        return type(self)

    @property
    @abstractmethod
    def shape(self) -> PassShape:
        """The job's part of the shape of a pass; shapes of one kind can be sorted."""

    @staticmethod
    @abstractmethod
    def compute_pass(jobs: Sequence[Any]) -> list[Result]:
        """Return the result of each job, all of this kind and one bank, computed in one pass.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """

    @staticmethod
    @abstractmethod
    def bits(result: Any) -> bytes:
        """Return bytes that are equal exactly when two results are bit-identical."""


@dataclass(frozen=True, eq=False)
class TrainingJob(Job[ClientVectors]):
    """Local training of one run's clients.

    Args:
        party: The run's clients, their data and their SGD settings.
    """

    party: Party

    @property
    def bank(self) -> Bank:
        """The bank of the run's model."""
        return self.party.model.bank

    @property
    def clients(self) -> int:
        """The number of clients that train."""
        return len(self.party.works)

    @cached_property
    def shape(self) -> PassShape:
        """The rows of each client in each step, the tokens of each step, and the layout's hash."""
        batches = [work.batches for work in self.party.works]
        rows = tuple(tuple(map(len, own)) for own in batches)
        return rows, self._lengths(), self.party.model.layout.digest

    def _lengths(self) -> tuple[int, ...]:
        """Return the tokens of the longest text in each step; empty if inputs are equally long."""
        party, inputs = self.party, self.bank.inputs
        if not inputs.length(party.x[:1]):
            return ()
        batches = [work.batches for work in party.works]
        steps = (
            np.concatenate([own[step] for own in batches if len(own) > step])
            for step in range(len(batches[0]))
        )
        return tuple(
            inputs.length(party.x.index_select(0, torch.from_numpy(chosen).to(party.x.device)))
            for chosen in steps
        )

    @staticmethod
    def compute_pass(jobs: Sequence[TrainingJob]) -> list[ClientVectors]:
        """Return for each job the trained values of its clients, float32 of shape (N,) each."""
        return train_side_by_side([job.party for job in jobs])

    @staticmethod
    def bits(result: ClientVectors) -> bytes:
        """Return the bytes of all clients' values."""
        return b"".join(values_N.tobytes() for values_N in result)


@dataclass(frozen=True, eq=False)
class EvaluationJob(Job[SideBySideMetrics]):
    """Evaluation of one run's vector.

    Args:
        question: The run's vector and validation data.
        batch_size: Examples in a client's training batch; converts examples to clients' memory.
    """

    question: EvaluationInput
    batch_size: int

    @property
    def bank(self) -> Bank:
        """The bank of the run's model."""
        return self.question.model.bank

    @property
    def clients(self) -> int:
        """Examples in the split's largest batch, divided by ``batch_size`` and rounded up."""
        return math.ceil(max(rows for rows, _ in self._batches) / self.batch_size)

    @property
    def kind(self) -> Hashable:
        """The class of the job and the shapes of its batches, which must be equal in one pass."""
        return type(self), self._batches

    @cached_property
    def shape(self) -> PassShape:
        """The examples and the sequence length of each batch, and the layout's digest."""
        return self._batches, self.question.model.layout.digest

    @cached_property
    def _batches(self) -> tuple[tuple[int, int], ...]:
        """The number of examples and the sequence length of each batch."""
        length = self.bank.inputs.length
        return tuple((len(x), length(x)) for x, _ in self.question.batches())

    @staticmethod
    def compute_pass(jobs: Sequence[EvaluationJob]) -> list[SideBySideMetrics]:
        """Return the metrics of each job."""
        return measure_side_by_side([job.question for job in jobs])

    @staticmethod
    def bits(result: SideBySideMetrics) -> bytes:
        """Return accuracy, loss and the checksum of the logits, as text."""
        return repr(result).encode()
