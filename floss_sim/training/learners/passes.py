"""One pass: the updates of clients that train together, here, in a grid or in a thread."""

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
    """What trains the clients of one run; it holds no learner.

    Args:
        model: The run's.
        x: The training split's inputs, on the model's device.
        y: Their classes.
        settings: Learning rate and momentum.
        ranks: Whether updates are ranked on the device, where their top-k alone travels.
        grid: Where clients train beside those of other runs, if anywhere; updates are whole then.
    """

    model: BankModel
    x: torch.Tensor
    y: torch.Tensor
    settings: ClientSection
    ranks: bool
    grid: PassScheduler | None

    def updates(self, works: Mapping[int, Work], chunk: int) -> dict[int, Update]:
        """Return updates by the numbers of the works.

        Args:
            works: What the clients train, those with most batches first.
            chunk: How many clients a pass may have.

        Raises:
            TaskError: Inputs that the backbone cannot read.
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
