"""One training pass of a run's clients: directly, batched with other runs, or in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from floss_sim.tasks.sections import ClientSection
from floss_sim.training.bank.batched_sgd import Party, train_together
from floss_sim.training.bank.model import BankModel
from floss_sim.training.bank.updates import Update, full_updates, top_k_updates
from floss_sim.training.local_sgd import Work
from floss_sim.training.side_by_side.scheduler import PassScheduler


@dataclass(frozen=True)
class Passes:
    """Training passes of one run. No reference to the learner is kept, so threads may hold this.

    Args:
        model: The run's model.
        x: Inputs of the training split, shape (split, ...), on the model's device.
        y: Classes of the training split, shape (split,), on the model's device.
        settings: Learning rate and momentum of local SGD.
        ranks: Whether the device selects the top-k of updates whose upload is only that top-k.
        grid: Scheduler that batches this run with others, which then returns full updates; None:
            the run trains alone.
    """

    model: BankModel
    x: torch.Tensor
    y: torch.Tensor
    settings: ClientSection
    ranks: bool
    grid: PassScheduler | None

    def updates(self, works: Mapping[int, Work], chunk: int) -> dict[int, Update]:
        """Return the clients' updates, keyed as ``works``.

        Args:
            works: Local training of each client, by sequence; those with most batches first.
            chunk: Largest number of clients in a pass.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """
        return dict(zip(works, self._updates(list(works.values()), chunk), strict=True))

    def _updates(self, works: Sequence[Work], chunk: int) -> list[Update]:
        if self.grid:
            party = Party(self.model, self.x, self.y, self.settings, works)
            return full_updates(works, self.grid.train(party, chunk))
        values_CN = train_together(self.model, self.x, self.y, self.settings, works)
        if self.ranks:
            return top_k_updates(works, values_CN, self.model.layout)
        return full_updates(works, values_CN.cpu().numpy())
