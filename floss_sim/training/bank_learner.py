"""The learner that trains all clients at work in one batched pass.

When the first of the dispatches that are under way is asked for, its neighbours are computed with
it: ``train`` is a pure function of each of them. What was computed is kept until the dispatch is
over, and is part of the checkpoint, so that an interrupted run meets the same passes again: who
shares a pass shifts the last bits of a result.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch

from floss_sim.config import RunConfig
from floss_sim.errors import ConfigError
from floss_sim.messages import Arrival, Dispatch, Snapshot
from floss_sim.sparsity import Vector
from floss_sim.training.bank_model import BankModel
from floss_sim.training.cohort import Party, train_together
from floss_sim.training.evaluation import Question
from floss_sim.training.grid import Grid
from floss_sim.training.learner import TorchLearner
from floss_sim.training.local import Work

_UPDATE = "update/"  # of a snapshot's tensors: what a dispatch under way has led to


class BankLearner(TorchLearner):
    """Trains the clients that are under way together, so many in a pass.

    Args:
        config: The run.
        model: Of its layout.
        chunk: How many clients a pass has at most; halved where they do not fit in memory.
        grid: Where its clients train beside those of other runs, if anywhere.
    """

    def __init__(
        self, config: RunConfig, model: BankModel, chunk: int, grid: Grid | None = None
    ) -> None:
        super().__init__(config, model)
        self._model = model
        self._grid = grid
        self._chunk = chunk
        self._under_way: dict[int, Dispatch] = {}  # by sequence: not computed yet
        self._updates: dict[int, Vector] = {}  # by sequence: computed, not over yet

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version, encoded; remember that it is under way."""
        sent = self._under_way[sequence] = super().dispatch(client, sequence)
        self._updates.pop(sequence, None)
        return sent

    def forget(self, dispatch: Dispatch) -> None:
        """Drop what was kept of a dispatch that is over."""
        self._under_way.pop(dispatch.sequence, None)
        self._updates.pop(dispatch.sequence, None)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a server step; what arrived is over."""
        for arrival in arrivals:
            self.forget(arrival.dispatch)
        return super().aggregate(arrivals)

    def _update(self, dispatch: Dispatch) -> Vector:
        if dispatch.sequence not in self._updates:
            self._under_way[dispatch.sequence] = dispatch
            self._compute(dispatch.sequence)
        return self._updates[dispatch.sequence]

    def _compute(self, asked: int) -> None:
        """Compute the pass of a dispatch: all that is under way, the most work first, in chunks."""
        clients, under_way = self.config.clients, self._under_way
        order = sorted(under_way, key=lambda n: (-len(clients[under_way[n].client]), n))
        first = order.index(asked) // self._chunk * self._chunk
        works = {n: self._work(under_way[n]) for n in order[first : first + self._chunk]}
        order = sorted(works, key=lambda n: -len(works[n].batches))
        values = self._trained([works[n] for n in order])
        for n, value_N in zip(order, values, strict=True):
            self._updates[n] = works[n].start - value_N
            del under_way[n]

    def _trained(self, works: Sequence[Work]) -> list[Vector]:
        """Return the clients' values after training, in smaller passes where memory ends."""
        try:
            parts = [works[i : i + self._chunk] for i in range(0, len(works), self._chunk)]
            return [value for part in parts for value in self._pass(part)]
        except (MemoryError, RuntimeError) as error:
            if not _is_of_memory(error):
                raise
        self._halve(len(works))
        return self._trained(works)

    def _pass(self, works: Sequence[Work]) -> list[Vector]:
        if self._grid is None:
            return train_together(self._model, *self._split, self.config.client, works)
        party = Party(self._model, *self._split, self.config.client, works)
        return self._grid.train(party, self._chunk)

    def _measure(self, vector_N: Vector) -> tuple[float, float]:
        if self._grid is None:
            return super()._measure(vector_N)
        question = Question(self._model, vector_N, *self._validation)
        return self._grid.measure(question, self.config.client.batch_size, self._chunk)

    def _halve(self, clients: int) -> None:
        size = self.config.client.batch_size
        if min(self._chunk, clients) == 1:
            raise ConfigError(
                f"a batch of {size} examples does not fit in the memory of "
                f"{self._model.device.type!r}; lower client.batch_size, or set "
                "client.gradient_checkpointing = true"
            )
        self._chunk = min(self._chunk, clients) // 2
        warnings.warn(
            f"{clients} clients at once do not fit in memory; going on with {self._chunk}",
            RuntimeWarning,
            stacklevel=2,
        )

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version, with what is computed and not over."""
        taken = super().snapshot()
        updates = {f"{_UPDATE}{n}": update_N for n, update_N in self._updates.items()}
        return replace(taken, tensors={**taken.tensors, **updates})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot, and from the dispatches that were under way."""
        super().restore(snapshot)
        self._updates = {
            int(name.removeprefix(_UPDATE)): tensor.copy()
            for name, tensor in snapshot.tensors.items()
            if name.startswith(_UPDATE)
        }
        self._under_way = {
            sent.sequence: sent for sent in snapshot.in_flight if sent.sequence not in self._updates
        }


def _is_of_memory(error: Exception) -> bool:
    """Return whether a device, or torch on the CPU, says that its memory is full."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or "can't allocate memory" in str(error)
