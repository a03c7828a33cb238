"""Batched local SGD of several clients on a bank; clients may have different numbers of batches.

In step t every client that has a t-th batch trains on it. Clients are sorted by their number of
batches, largest first, so the active clients are always the first rows. Consecutive clients with
equal batch sizes share batched products. The clients of several runs, one *party* per run, may
train in one pass, with results bit-identical to training alone (checked by
:mod:`floss_sim.training.side_by_side.bit_checks`).

Shapes: C clients, N entries, E examples, M rows of logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby

import numpy as np
import torch
from torch.nn import functional

from floss_sim.tasks.sections import ClientSection
from floss_sim.training.bank.model import BankModel
from floss_sim.training.bank.step import ClientRows, Step
from floss_sim.training.bank.updates import rows_of
from floss_sim.training.local_sgd import Work
from floss_sim.training.models.dropout import Share
from floss_sim.training.models.inputs import drop_full_mask
from floss_sim.training.models.square_adapters import fold_factors, with_factors


@dataclass(frozen=True)
class Party:
    """The clients of one run that train in one pass.

    Args:
        model: The run's model; the clients' values are bound to it for each step.
        x: Inputs of the training split, shape (split, ...), on the model's device.
        y: Classes of the training split, shape (split,), on the model's device.
        settings: Learning rate and momentum.
        works: The clients' work, sorted by number of batches, largest first.
    """

    model: BankModel
    x: torch.Tensor
    y: torch.Tensor
    settings: ClientSection
    works: Sequence[Work]


def train_together(
    parties: Sequence[Party], on_step: Callable[[int], object] = lambda clients: None
) -> list[torch.Tensor]:
    """Return each party's values after local SGD, float32 of shape (C, N), on the device.

    Args:
        parties: At least one party; all must use the same bank.
        on_step: Called after each step with the number of clients that took it: the first ones of
            each party.

    Raises:
        TaskError: The backbone cannot read the inputs.
    """
    bank = parties[0].model.bank
    bank.set_training(True)
    training = [_Training(party) for party in parties]
    for number in range(max(len(one.sizes) for one in training)):
        takes = [one.take(number) for one in training if number < len(one.sizes)]
        for tokens, passing in _length_groups(takes):
            bank.take(_step(passing, tokens))
        on_step(sum(len(take.sizes) for take in takes))
    return [fold_factors(one.rows.values, one.party.model.layout) for one in training]


def _frozen_mask(works: Sequence[Work], device: torch.device) -> torch.Tensor | None:
    """Return the mask of frozen entries, bool of shape (C, N); None if every entry trains."""
    if all(work.trained is None for work in works):
        return None
    all_N = np.ones(works[0].start.size, dtype=bool)
    trained = [all_N if work.trained is None else work.trained for work in works]
    return rows_of(trained, device).logical_not_()


@dataclass(frozen=True)
class _PartyStep:
    """One step of one party: the examples of its active clients, client after client."""

    training: _Training
    number: int
    chosen: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.training.sizes[self.number]

    def rows(self) -> ClientRows:
        return self.training.rows.first_clients(len(self.sizes))

    def shares(self) -> list[Share]:
        """Return the dropout shares of the active clients."""
        inputs, works = self.training.party.model.inputs, self.training.party.works
        lengths = inputs.lengths(torch.split(self.x, list(self.sizes)))
        return [
            Share(size, work.seed + self.number, length)
            for work, size, length in zip(works, self.sizes, lengths, strict=False)
        ]

    def counts(self) -> list[int]:
        """Return the number of targets of each active client."""
        return self.training.party.model.inputs.counts(torch.split(self.x, list(self.sizes)))


class _Training:
    """The training state of a party.

    Attributes:
        rows: Values and velocity of the party's clients.
        sizes: For each step the number of examples of each active client.
    """

    def __init__(self, party: Party) -> None:
        self.party = party
        device, works = party.model.device, party.works
        layout, frozen_CN = party.model.layout, _frozen_mask(works, device)
        starts_CN = with_factors(rows_of([work.start for work in works], device), layout)
        if frozen_CN is not None:  # local factors always train
            frozen_CN = functional.pad(frozen_CN, (0, layout.local_entries))
        self.rows = ClientRows.of(party.model, party.settings, starts_CN, frozen_CN)
        steps = range(len(works[0].batches))
        batches = [[w.batches[n] for w in works if len(w.batches) > n] for n in steps]
        self.sizes = [tuple(map(len, own)) for own in batches]
        every = np.concatenate([np.empty(0, dtype=np.int64), *chain.from_iterable(batches)])
        chosen = torch.from_numpy(every).to(device)
        self._chosen = torch.split(chosen, [sum(own) for own in self.sizes])

    @cached_property
    def kind(self) -> tuple[object, ...]:
        """Key that determines the shapes of the party's passes, up to text length; sortable."""
        return self.sizes, self.rows.kind

    def take(self, number: int) -> _PartyStep:
        """Return step ``number`` of the clients that have a batch for it."""
        x, y = self.party.x, self.party.y
        chosen = self._chosen[number]
        return _PartyStep(
            self, number, chosen, x.index_select(0, chosen), y.index_select(0, chosen)
        )


def _length_groups(takes: Iterable[_PartyStep]) -> Iterator[tuple[int, list[_PartyStep]]]:
    """Yield (tokens, steps): groups of steps with equal text length, which can share a pass.

    Steps are sorted by length and kind, so that the same parties always give the same pass shape.
    """

    def length(take: _PartyStep) -> int:
        return take.training.party.model.inputs.length(take.x)

    lengths = [(length(take), take) for take in takes]
    lengths.sort(key=lambda pair: (pair[0], pair[1].training.kind))
    for tokens, group in groupby(lengths, key=lambda pair: pair[0]):
        yield tokens, [take for _, take in group]


def _step(takes: Sequence[_PartyStep], tokens: int) -> Step:
    """Return one step of all given parties; ``tokens`` is their text length (0 for images)."""
    bank = takes[0].training.party.model.bank
    if bank.draws.sites:
        shares = [share for take in takes for share in take.shares()]
        bank.draws.set_shares(shares, takes[0].number)
    x_E, y_E = torch.cat([take.x for take in takes]), torch.cat([take.y for take in takes])
    arguments = bank.inputs.read(x_E)
    labels_M = bank.inputs.labels(x_E, y_E, tokens)
    sizes = [size for take in takes for size in take.sizes]
    counts = [count for take in takes for count in take.counts()]
    rows = np.array(sizes) * (len(labels_M) // len(x_E))
    weights_M = np.repeat(np.float32(1 / np.array(counts)), rows)
    return Step(
        bank, [take.rows() for take in takes], tuple(take.sizes for take in takes),
        drop_full_mask(arguments) if bank.player else arguments,
        labels_M, torch.from_numpy(weights_M).to(bank.device),
        [(take.training.party.x, take.chosen) for take in takes],
    )  # fmt: skip
