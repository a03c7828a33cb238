"""Local works of dispatches: what a client trains, from which values, on which batches.

Shapes: N adapter entries.
"""

from __future__ import annotations

import torch

from floss_sim.protocol import Dispatch
from floss_sim.runs.config import RunConfig
from floss_sim.training.evaluation import EvaluableModel
from floss_sim.training.learners.client_memory import ClientMemory
from floss_sim.training.local_sgd import Work, work_of
from floss_sim.vectors.top_k import Mask, Vector


class LocalWorks:
    """Local works of a run's clients.

    Args:
        config: The run.
        model: A model of the run's layout; its base and its reader are used.
        x: Inputs of the training split, shape (examples, ...).
        clients: What the clients hold.
    """

    def __init__(
        self, config: RunConfig, model: EvaluableModel, x: torch.Tensor, clients: ClientMemory
    ) -> None:
        self._config = config
        self._model = model
        self._x = x
        self._clients = clients
        self._last: tuple[Vector, Vector] | None = None  # last start: offsets, values

    def of(self, dispatch: Dispatch) -> list[Work]:
        """Return the local training of a dispatch: one work, or two where adapters take turns.

        In turns, the private entries train beside the frozen shared ones, and the shared entries
        without the client's own. Neither needs the result of the other, and their updates add up.
        """
        offsets_N, trained_N, _ = self._clients.content(dispatch)
        own_N = self._clients.start(dispatch)
        if self._config.method.local_passes == 1:
            return [self._work(dispatch, own_N, trained_N)]
        private = self._clients.private
        shared_N = private.shared_start(offsets_N)
        return [
            self._work(dispatch, shared_N, ~private.is_private_N),
            self._work(dispatch, own_N, private.is_private_N, "private"),
        ]

    def _work(
        self, dispatch: Dispatch, start_N: Vector, trained_N: Mask | None, *names: str
    ) -> Work:
        """Return a local training of a dispatch: start values, mask, batches and seed.

        Args:
            dispatch: The dispatch.
            start_N: Offsets from which the client trains.
            trained_N: Mask of the entries that train; None: all.
            names: Names that tell the random streams of one training from those of another.
        """
        config = self._config
        return work_of(
            self._values(start_N),
            trained_N,
            config.clients[dispatch.client],
            self._x,
            self._model.inputs,
            config.client,
            config.seed,
            ("client", dispatch.client, "dispatch", dispatch.sequence, *names),
        )

    def _values(self, offsets_N: Vector) -> Vector:
        """Return base + offsets; clients with the same message share one array."""
        if self._last is None or offsets_N is not self._last[0]:
            self._last = offsets_N, self._model.base + offsets_N
        return self._last[1]
