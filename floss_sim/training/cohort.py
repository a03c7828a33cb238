"""Local training of several clients at once, on a banked model: ragged cohorts in lockstep.

In step t each client that has a t-th batch takes it. Clients with most batches come first, so
that those at work are always the first rows; neighbours with equal batches share their products.
The cohorts of several runs, *parties*, may train side by side: to the last bit as each alone
(:mod:`floss_sim.training.grid` says what is known about that).

Shapes: C clients, N entries, E examples, M targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from torch.nn import functional

from floss_sim.sparsity import Vector
from floss_sim.tasks.task import ClientSection
from floss_sim.training.bank_model import BankModel
from floss_sim.training.dropout import Share
from floss_sim.training.local import Work
from floss_sim.training.updates import rows_of


@dataclass(frozen=True)
class Party:
    """Clients of one run that train together.

    Args:
        model: The run's; its rows are bound anew.
        x: The training split's inputs, shape (split, ...), on the model's device.
        y: Their classes, shape (split,).
        settings: Learning rate and momentum.
        works: What the clients train, those with most batches first.
    """

    model: BankModel
    x: torch.Tensor
    y: torch.Tensor
    settings: ClientSection
    works: Sequence[Work]


def train_together(
    model: BankModel,
    x: torch.Tensor,
    y: torch.Tensor,
    settings: ClientSection,
    works: Sequence[Work],
) -> torch.Tensor:
    """Return each client's values after local SGD, float32 of shape (C, N), on the device.

    Args:
        model: As of a party, likewise the others.
        x: Inputs.
        y: Classes.
        settings: Learning rate and momentum.
        works: What the clients train, those with most batches first.

    Raises:
        TaskError: Inputs that the backbone cannot read.
    """
    (values_CN,) = _train([Party(model, x, y, settings, works)])
    return values_CN


def train_side_by_side(parties: Sequence[Party]) -> list[list[Vector]]:
    """Return the values after local SGD of each party's clients, float32 of shape (N,) each.

    Args:
        parties: At least one; of one bank.

    Raises:
        TaskError: Inputs that the backbone cannot read.
    """
    return [list(values_CN.cpu().numpy()) for values_CN in _train(parties)]


def _train(parties: Sequence[Party]) -> list[torch.Tensor]:
    bank = parties[0].model.bank
    bank.set_training(True)
    training = [_Training(party) for party in parties]
    for step in range(max(len(party.works[0].batches) for party in parties)):
        takes = [one.take(step) for one in training if one.active(step)]
        for passing in _of_equal_length(takes):
            bound = bank.bind([(t.party.model, t.values) for t in passing], train=True)
            gradients = iter(torch.autograd.grad(_loss(passing), [p for ps in bound for p in ps]))
            for take, tensors in zip(passing, bound, strict=True):
                take.step([next(gradients) for _ in tensors])
    return [one.values_CN for one in training]


def _frozen(works: Sequence[Work], device: torch.device) -> torch.Tensor | None:
    """Return what does not train, bool of shape (C, N); None where all of all clients does."""
    if all(work.trained is None for work in works):
        return None
    all_N = np.ones(works[0].start.size, dtype=bool)
    trained = [all_N if work.trained is None else work.trained for work in works]
    return rows_of(trained, device).logical_not_()


@dataclass(frozen=True)
class _Take:
    """A step of one party: the examples, those of its clients at work one after another."""

    party: Party
    active: Sequence[Work]
    values: torch.Tensor  # (C, N)
    optimizer: _Momentum
    number: int
    x: torch.Tensor
    y: torch.Tensor

    @cached_property
    def sizes(self) -> list[int]:
        return [len(work.batches[self.number]) for work in self.active]

    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        self.optimizer.step(gradients)

    def shares(self) -> list[Share]:
        """Return what the clients' dropout draws from."""
        lengths = self.party.model.inputs.lengths(torch.split(self.x, self.sizes))
        return [
            Share(size, work.seed + self.number, length)
            for work, size, length in zip(self.active, self.sizes, lengths, strict=True)
        ]

    def counts(self) -> list[int]:
        """Return how many targets each client has."""
        return self.party.model.inputs.counts(torch.split(self.x, self.sizes))


class _Training:
    """A party's values and optimiser while it trains."""

    def __init__(self, party: Party) -> None:
        device = party.model.device
        self.values_CN = rows_of([work.start for work in party.works], device)
        self._party = party
        self._optimizer = _Momentum(self.values_CN, party.settings, _frozen(party.works, device))

    def active(self, number: int) -> list[Work]:
        """Return the work of the clients that have such a step."""
        return [work for work in self._party.works if len(work.batches) > number]

    def take(self, number: int) -> _Take:
        """Return a step of these clients."""
        active, party = self.active(number), self._party
        batches = np.concatenate([work.batches[number] for work in active])
        chosen = torch.from_numpy(batches).to(party.model.device)
        return _Take(
            party, active, self.values_CN[: len(active)], self._optimizer, number,
            party.x.index_select(0, chosen), party.y.index_select(0, chosen),
        )  # fmt: skip


def _of_equal_length(takes: Iterable[_Take]) -> Iterator[list[_Take]]:
    """Yield steps that can share a pass: as long as their longest example makes them."""

    def length(take: _Take) -> int:
        return take.party.model.inputs.length(take.x)

    for _, group in groupby(sorted(takes, key=length), key=length):
        yield list(group)


def _loss(takes: Sequence[_Take]) -> torch.Tensor:
    """Return the sum of the clients' mean losses: no client's gradient sees another's."""
    bank = takes[0].party.model.bank
    if bank.draws.sites:
        bank.draws.share([share for take in takes for share in take.shares()])
    x_E, y_E = torch.cat([take.x for take in takes]), torch.cat([take.y for take in takes])
    logits, targets = bank.outputs(x_E, y_E, [take.sizes for take in takes])
    counts = [count for take in takes for count in take.counts()]
    weights_C = torch.tensor([1 / count for count in counts], device=bank.device)
    weights_M = weights_C.repeat_interleave(torch.tensor(counts, device=bank.device))
    return functional.cross_entropy(logits, targets, reduction="none") @ weights_M


class _Momentum:
    """SGD with momentum on all clients' rows at once, as ``torch.optim.SGD`` on each."""

    def __init__(
        self, values_CN: torch.Tensor, settings: ClientSection, frozen_CN: torch.Tensor | None
    ) -> None:
        self._values = values_CN
        self._gradient = torch.empty_like(values_CN)
        self._velocity = torch.zeros_like(values_CN) if settings.momentum else None
        self._frozen = frozen_CN
        self._lr, self._momentum = settings.learning_rate, settings.momentum

    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Take one step of the first rows, along gradients of the layout's tensors."""
        active = len(gradients[0])
        gradient = self._gradient[:active]
        torch.cat([part.flatten(1) for part in gradients], dim=1, out=gradient)
        if self._frozen is not None:
            gradient.masked_fill_(self._frozen[:active], 0)
        if self._velocity is not None:
            gradient = self._velocity[:active].mul_(self._momentum).add_(gradient)
        self._values[:active].add_(gradient, alpha=-self._lr)
