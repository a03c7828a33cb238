"""One SGD step of several clients.

All work of the host is finished before a step is built: examples are read and checked, targets are
counted. :meth:`Step.run` only launches kernels. It never waits for the device and copies nothing
to it, so a GPU can record a step once and replay it (``gpu/cuda_graphs.py``). A *party* is the
clients of one run.

Shapes: C clients, N entries, E examples, M rows of logits, K classes or words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from floss_sim.tasks.sections import ClientSection
from floss_sim.training.bank.model import Bank, BankModel
from floss_sim.training.models.frozen_prefix import Part


@dataclass(frozen=True)
class ClientRows:
    """The clients of one run, one row each, with SGD equal to ``torch.optim.SGD`` on each row.

    Args:
        model: The run's model.
        settings: Learning rate and momentum.
        values: The clients' values, float32 of shape (C, N), local factors included.
        velocity: The momentum buffers, float32 of shape (C, N); None without momentum.
        frozen: Mask of the entries that do not train, bool of shape (C, N); None if every entry of
            every client trains.
        room: Buffer for the gradient, float32 of shape (C, N).
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
        """Return clients at their first step: zero velocity and a new gradient buffer."""
        velocity_CN = torch.zeros_like(values_CN) if settings.momentum else None
        room_CN = torch.empty_like(values_CN)
        return cls(model, settings, values_CN, velocity_CN, frozen_CN, room_CN)

    def first_clients(self, count: int) -> ClientRows:
        """Return the first ``count`` clients, as views of the same tensors."""
        return replace(
            self,
            values=self.values[:count],
            velocity=None if self.velocity is None else self.velocity[:count],
            frozen=None if self.frozen is None else self.frozen[:count],
            room=self.room[:count],
        )

    @property
    def kind(self) -> tuple[bytes, float, float, float, bool]:
        """Constants of a step's computation, without tensors and sizes; sortable."""
        settings, layout = self.settings, self.model.layout.digest
        masked = self.frozen is not None
        return layout, self.model.scale, settings.learning_rate, settings.momentum, masked

    def collect(self, gradients: Sequence[torch.Tensor]) -> None:
        """Write the gradients of the layout's tensors, (C, *shape) each, into the buffer."""
        torch.cat([part.flatten(1) for part in gradients], dim=1, out=self.room)

    def move(self) -> None:
        """Update the values by one SGD step with the gradient in the buffer."""
        gradient = self.room
        if self.frozen is not None:
            gradient.masked_fill_(self.frozen, 0)
        if self.velocity is not None:
            gradient = self.velocity.mul_(self.settings.momentum).add_(gradient)
        self.values.add_(gradient, alpha=-self.settings.learning_rate)


@dataclass(frozen=True)
class Step:
    """One SGD step of the clients of several runs that share a bank.

    Args:
        bank: The bank of the runs.
        parties: For each run the clients that take the step.
        sizes: For each run the number of examples of each client; clients are consecutive.
        arguments: The backbone's keyword arguments for all examples.
        labels: The target of each row of logits, (M,); negative: the row has no target.
        weights: The weight of each row's loss, float32 of shape (M,).
        examples: The examples of each run, to find their kept activations.
    """

    bank: Bank
    parties: Sequence[ClientRows]
    sizes: tuple[tuple[int, ...], ...]
    arguments: Mapping[str, torch.Tensor]
    labels: torch.Tensor
    weights: torch.Tensor
    examples: Sequence[Part] = ()

    def run(self) -> None:
        """Run the step. If the device runs out of memory, no client's values have changed."""
        bound = self.bank.bind([(rows.model, rows.values) for rows in self.parties], train=True)
        with self.bank.prefix.using(self.examples):
            gradients = iter(torch.autograd.grad(self.loss(), [p for ps in bound for p in ps]))
        for rows, tensors in zip(self.parties, bound, strict=True):
            rows.collect([next(gradients) for _ in tensors])
        for rows in self.parties:
            rows.move()

    def loss(self) -> torch.Tensor:
        """Return the sum of the clients' mean losses, so each gradient is one client's."""
        logits_MK = self.bank.logits(self.arguments, self.sizes).flatten(0, -2).float()
        return functional.cross_entropy(logits_MK, self.labels, reduction="none") @ self.weights
