"""What a run of a grid waits for: its cohort to be trained, or its version to be measured.

Jobs of one kind over one bank can be computed together, in a pass. Its *shape* is all that the
matrix libraries choose their kernels by: what the entries are and how many rows each client has in
each step, party after party; no value is part of it.
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
    """What one run waits for.

    Args:
        chunk: How many clients of such a run a pass may have.
    """

    chunk: int

    @property
    @abstractmethod
    def bank(self) -> Bank:
        """What computes it."""

    @property
    @abstractmethod
    def clients(self) -> int:
        """How many clients' memory it takes."""

    @property
    def kind(self) -> Hashable:
        """What jobs that can share a pass have in common, besides their bank."""
        return type(self)

    @property
    @abstractmethod
    def shape(self) -> PassShape:
        """Its part of a pass' shape; those of one kind can be sorted."""

    @staticmethod
    @abstractmethod
    def compute_pass(jobs: Sequence[Any]) -> list[Result]:
        """Return what comes of jobs of this kind, computed in one pass.

        Raises:
            TaskError: Inputs that the backbone cannot read.
        """

    @staticmethod
    @abstractmethod
    def bits(result: Any) -> bytes:
        """Return what is the same if no bit of a result differs."""


@dataclass(frozen=True, eq=False)
class TrainingJob(Job[ClientVectors]):
    """A party to be trained."""

    party: Party

    @property
    def bank(self) -> Bank:
        """The run's."""
        return self.party.model.bank

    @property
    def clients(self) -> int:
        """The party's."""
        return len(self.party.works)

    @cached_property
    def shape(self) -> PassShape:
        """The rows of each client in each step, the tokens of each step, and the layout."""
        batches = [work.batches for work in self.party.works]
        rows = tuple(tuple(map(len, own)) for own in batches)
        return rows, self._lengths(), self.party.model.layout.digest

    def _lengths(self) -> tuple[int, ...]:
        """Return how many tokens each step reads; nothing where all read equally many."""
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
        """Return the values of each party's clients."""
        return train_side_by_side([job.party for job in jobs])

    @staticmethod
    def bits(result: ClientVectors) -> bytes:
        """Return the values' bytes."""
        return b"".join(values_N.tobytes() for values_N in result)


@dataclass(frozen=True, eq=False)
class EvaluationJob(Job[SideBySideMetrics]):
    """A vector to be measured; its examples take the memory of a client's batch each.

    Args:
        question: What is measured.
        batch_size: A client's.
    """

    question: EvaluationInput
    batch_size: int

    @property
    def bank(self) -> Bank:
        """The run's."""
        return self.question.model.bank

    @property
    def clients(self) -> int:
        """How many have as many examples in a step as the largest batch of the split has."""
        return math.ceil(max(rows for rows, _ in self._batches) / self.batch_size)

    @property
    def kind(self) -> Hashable:
        """Splits of equal batches can be measured together."""
        return type(self), self._batches

    @cached_property
    def shape(self) -> PassShape:
        """The examples and tokens of each batch, and the layout."""
        return self._batches, self.question.model.layout.digest

    @cached_property
    def _batches(self) -> tuple[tuple[int, int], ...]:
        """The examples and the tokens of each batch."""
        length = self.bank.inputs.length
        return tuple((len(x), length(x)) for x, _ in self.question.batches())

    @staticmethod
    def compute_pass(jobs: Sequence[EvaluationJob]) -> list[SideBySideMetrics]:
        """Return what each question reads."""
        return measure_side_by_side([job.question for job in jobs])

    @staticmethod
    def bits(result: SideBySideMetrics) -> bytes:
        """Return accuracy, loss and the checksum of the logits, as text."""
        return repr(result).encode()
