"""A training step as CUDA graphs need it: its key, its tensors, and the same step over others."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch

from floss_sim.training.bank.model import BankModel
from floss_sim.training.bank.step import ClientRows, Step


@dataclass(frozen=True)
class RecordableStep:
    """One SGD step of the clients of several runs, which can be recorded and replayed.

    Args:
        step: The step.
    """

    step: Step

    def run(self) -> None:
        """Compute the step."""
        self.step.run()

    @property
    def examples(self) -> int:
        """Number of examples of all clients."""
        return sum(map(sum, self.step.sizes))

    @property
    def shape(self) -> Hashable:
        """Key of the step's computation: equal steps differ only in the values of their tensors."""
        inputs = {**self.step.arguments, "": self.step.labels}
        kinds = tuple(rows.kind for rows in self.step.parties)
        return kinds, self.step.sizes, tuple((n, t.shape, t.dtype) for n, t in inputs.items())

    @property
    def state(self) -> list[torch.Tensor]:
        """Tensors that the step changes."""
        return [tensor for rows in self.step.parties for tensor in _state(rows)]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Tensors that the step reads, without the backbone's."""
        step = self.step
        own = [tensor for rows in step.parties for tensor in _tensors(rows)]
        return [*own, *step.arguments.values(), step.labels, step.weights]

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> RecordableStep:
        """Return the same step over other tensors of equal shapes, in the order of ``tensors``."""
        given, step = iter(tensors), self.step
        parties = [_with_tensors(rows, given) for rows in step.parties]
        arguments = {name: next(given) for name in step.arguments}
        made = Step(step.bank, parties, step.sizes, arguments, next(given), next(given))
        return RecordableStep(made)


def _state(rows: ClientRows) -> list[torch.Tensor]:
    """Return the tensors of some clients that a step changes: values and velocity."""
    return [rows.values] if rows.velocity is None else [rows.values, rows.velocity]


def _tensors(rows: ClientRows) -> list[torch.Tensor]:
    """Return the tensors that a step reads: state, mask, and the frozen adapter tensors."""
    masks = [] if rows.frozen is None else [rows.frozen]
    return [*_state(rows), *masks, *rows.model.frozen.values()]


def _with_tensors(rows: ClientRows, tensors: Iterator[torch.Tensor]) -> ClientRows:
    """Return the same clients over other tensors, in the order of :func:`_tensors`."""
    values = next(tensors)
    velocity = None if rows.velocity is None else next(tensors)
    mask = None if rows.frozen is None else next(tensors)
    own, frozen = rows.model, {spec: next(tensors) for spec in rows.model.frozen}
    model = BankModel(own.bank, own.layout, own.scale, frozen, own.base)
    return ClientRows(model, rows.settings, values, velocity, mask, torch.empty_like(values))
