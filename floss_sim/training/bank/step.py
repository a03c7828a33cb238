"""One step of local SGD of several clients, as a value: what it reads, and what it changes.

Whatever the host has to know is known before there is a step: examples are read and checked,
targets are counted. :meth:`Step.run` only computes, asks the device nothing and copies nothing to
it, so that what it does may be recorded once and replayed (``cuda_graphs.py``).

Shapes: C clients, N entries, E examples, M rows of logits, K classes or words.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from floss_sim.tasks.sections import ClientSection
from floss_sim.training.bank.model import Bank, BankModel


@dataclass(frozen=True)
class ClientRows:
    """The clients of one run: SGD with momentum on all at once, as ``torch.optim.SGD`` on each.

    Args:
        model: The run's.
        settings: Learning rate and momentum.
        values: What the clients train, float32 of shape (C, N).
        velocity: Likewise; None without momentum.
        frozen: What does not train, bool of shape (C, N); None where all of all clients does.
        room: For their gradient, float32 of shape (C, N).
    """

    model: BankModel
    settings: ClientSection
    values: torch.Tensor
    velocity: torch.Tensor | None
    frozen: torch.Tensor | None
    room: torch.Tensor

    @classmethod
    def of(
        cls,
        model: BankModel,
        settings: ClientSection,
        values_CN: torch.Tensor,
        frozen_CN: torch.Tensor | None,
    ) -> ClientRows:
        """Return clients that have not moved yet."""
        velocity_CN = torch.zeros_like(values_CN) if settings.momentum else None
        room_CN = torch.empty_like(values_CN)
        return cls(model, settings, values_CN, velocity_CN, frozen_CN, room_CN)

    def first_clients(self, count: int) -> ClientRows:
        """Return the first clients; they stay the same rows."""
        return replace(
            self,
            values=self.values[:count],
            velocity=None if self.velocity is None else self.velocity[:count],
            frozen=None if self.frozen is None else self.frozen[:count],
            room=self.room[:count],
        )

    @property
    def kind(self) -> tuple[bytes, float, float, float, bool]:
        """What computing a step depends on besides tensors and sizes; can be sorted."""
        settings, layout = self.settings, self.model.layout.digest
        masked = self.frozen is not None
        return layout, self.model.scale, settings.learning_rate, settings.momentum, masked

    @property
    def state(self) -> list[torch.Tensor]:
        """What a step changes."""
        return [self.values] if self.velocity is None else [self.values, self.velocity]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What a step reads: the state, the masks, and what the run's layout does not train."""
        masks = [] if self.frozen is None else [self.frozen]
        return [*self.state, *masks, *self.model.frozen.values()]

    def with_tensors(self, tensors: Iterator[torch.Tensor]) -> ClientRows:
        """Return the same clients, taking what they read from elsewhere."""
        values = next(tensors)
        velocity = None if self.velocity is None else next(tensors)
        frozen = None if self.frozen is None else next(tensors)
        model = self.model.with_frozen({spec: next(tensors) for spec in self.model.frozen})
        return ClientRows(model, self.settings, values, velocity, frozen, torch.empty_like(values))

    def collect(self, gradients: Sequence[torch.Tensor]) -> None:
        """Take gradients of the layout's tensors, (C, *shape) each."""
        torch.cat([part.flatten(1) for part in gradients], dim=1, out=self.room)

    def move(self) -> None:
        """Go one step along what was collected."""
        gradient = self.room
        if self.frozen is not None:
            gradient.masked_fill_(self.frozen, 0)
        if self.velocity is not None:
            gradient = self.velocity.mul_(self.settings.momentum).add_(gradient)
        self.values.add_(gradient, alpha=-self.settings.learning_rate)


@dataclass(frozen=True)
class Step:
    """One step of the clients of several runs over one bank.

    Args:
        bank: Of the runs.
        parties: Of each run, the clients that take the step.
        sizes: How many examples each of them has; they follow one another.
        arguments: Of the backbone, for all examples.
        labels: What each row of logits should have been, (M,); negative: nothing.
        weights: Of the rows' losses, float32 of shape (M,).
    """

    bank: Bank
    parties: Sequence[ClientRows]
    sizes: tuple[tuple[int, ...], ...]
    arguments: Mapping[str, torch.Tensor]
    labels: torch.Tensor
    weights: torch.Tensor

    def run(self) -> None:
        """Take the step. Where memory ends, no client has moved."""
        bound = self.bank.bind([(rows.model, rows.values) for rows in self.parties], train=True)
        gradients = iter(torch.autograd.grad(self.loss(), [p for ps in bound for p in ps]))
        for rows, tensors in zip(self.parties, bound, strict=True):
            rows.collect([next(gradients) for _ in tensors])
        for rows in self.parties:
            rows.move()

    def loss(self) -> torch.Tensor:
        """Return the sum of the clients' mean losses: no client's gradient sees another's."""
        logits_MK = self.bank.logits(self.arguments, self.sizes).flatten(0, -2).float()
        return functional.cross_entropy(logits_MK, self.labels, reduction="none") @ self.weights

    @property
    def examples(self) -> int:
        """How many there are."""
        return sum(map(sum, self.sizes))

    @property
    def shape(self) -> Hashable:
        """What computing it depends on besides the values in its tensors."""
        inputs = {**self.arguments, "": self.labels}
        kinds = tuple(rows.kind for rows in self.parties)
        return kinds, self.sizes, tuple((n, t.shape, t.dtype) for n, t in inputs.items())

    @property
    def state(self) -> list[torch.Tensor]:
        """What it changes."""
        return [tensor for rows in self.parties for tensor in rows.state]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What it reads, but for the backbone."""
        own = [tensor for rows in self.parties for tensor in rows.tensors]
        return [*own, *self.arguments.values(), self.labels, self.weights]

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> Step:
        """Return the same step, taking what it reads from other tensors of the same shapes."""
        given = iter(tensors)
        parties = [rows.with_tensors(given) for rows in self.parties]
        arguments = {name: next(given) for name in self.arguments}
        return Step(self.bank, parties, self.sizes, arguments, next(given), next(given))
