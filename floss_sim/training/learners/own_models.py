"""Clients' own models, measured on one split: means over the clients.

A client's own model is what it would train from next: the shared values of its next download, and
its own private entries (initial values, where it has never trained). Where a method has none, all
clients hold the global model.

Shapes: C clients, N entries, M targets of the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim.protocol import OwnMetrics
from floss_sim.runs.config import RunConfig
from floss_sim.runs.own_data import OwnWeights, own_right, own_weights
from floss_sim.training.device_data import device_tensors
from floss_sim.training.evaluation import EvaluableModel, Predictions, predictions
from floss_sim.training.learners.client_memory import ClientMemory
from floss_sim.training.learners.downloads import Downloads
from floss_sim.vectors.top_k import Vector

Split = Literal["validation", "test"]
_Group = tuple[Sequence[int], Vector]  # clients that hold the same model, and its offsets


class _WeightedSplit(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor
    weights: OwnWeights | None


class OwnModels:
    """The own models of a run's clients.

    Args:
        config: The run.
        model: A model of the run's layout; its current vector is overwritten.
        clients: What the clients hold.
        downloads: What they download next.
    """

    def __init__(
        self, config: RunConfig, model: EvaluableModel, clients: ClientMemory, downloads: Downloads
    ) -> None:
        self._config = config
        self._model = model
        self._clients = clients
        self._downloads = downloads
        self._everyone = range(config.fleet.clients)
        self._splits: dict[Split, _WeightedSplit] = {}

    def metrics(self, split: Split) -> OwnMetrics:
        """Return the means over the clients of each one's own model on a split.

        Raises:
            TaskError: The backbone cannot read the inputs, or the split has no target.
        """
        sums = (self._sums(split, clients, vector_N) for clients, vector_N in self._groups())
        return self._means(reduce(np.add, sums))

    def metrics_of_client(self, client: int, own_N: Vector) -> OwnMetrics:
        """Return accuracy and loss of one client's own model on the validation split.

        Args:
            client: Number of the client.
            own_N: Offsets of the model.
        """
        return OwnMetrics(*self._sums("validation", [client], own_N).tolist())

    def _sums(self, split: Split, clients: Sequence[int], vector_N: Vector) -> NDArray[np.float64]:
        """Return accuracy and loss of a model, summed over clients that hold it; shape (2,)."""
        x, y, weights = self._split(split)
        if weights is None:
            return own_sums(clients, predictions(self._model, vector_N, x, y), None)
        weights_M = weights.summed(clients)
        used = np.flatnonzero(weights_M)  # examples without weight need no prediction
        made = predictions(self._model, vector_N, x, y, torch.from_numpy(used))
        return own_sums(clients, made, weights_M[used])

    def metrics_of_global(self, split: Split, made: Predictions) -> OwnMetrics:
        """Return the means over the clients where all hold the global model.

        Args:
            split: Name of the split.
            made: The model's predictions of all its targets.
        """
        weights = self._split(split).weights
        weights_M = None if weights is None else weights.summed(self._everyone)
        return self._means(own_sums(self._everyone, made, weights_M))

    def right(self, split: Split) -> NDArray[np.float64]:
        """Return by target what the clients' own models get right, float64 of shape (M,).

        It is the mean over the clients, weighted so that the mean over the targets is the accuracy
        of :meth:`metrics`, whose errors are the same.
        """
        x, y, weights = self._split(split)
        rights = (
            own_right(predictions(self._model, vector_N, x, y).right, weights, clients)
            for clients, vector_N in self._groups()
        )
        return reduce(np.add, rights) / len(self._everyone)

    def _split(self, name: Split) -> _WeightedSplit:
        if name not in self._splits:
            content = self._config.task.content
            arrays = content.validation if name == "validation" else content.test
            tensors = device_tensors(arrays, self._model.device)
            self._splits[name] = _WeightedSplit(*tensors, own_weights(self._config, arrays[1]))
        return self._splits[name]

    def _means(self, sums: NDArray[np.float64]) -> OwnMetrics:
        return OwnMetrics(*(sums / len(self._everyone)).tolist())

    def _groups(self) -> Iterator[_Group]:
        """Yield clients that hold the same model, and its offsets."""
        private = self._clients.private
        untrained: dict[int, list[int]] = {}  # by tier
        for client in self._everyone:
            tier = self._config.tier_of(client)
            if private.vector(client) is None:
                untrained.setdefault(tier, []).append(client)
            else:
                yield [client], private.start(client, self._downloads.values(tier))
        for tier, clients in untrained.items():
            yield clients, private.start(clients[0], self._downloads.values(tier))


def own_sums(
    clients: Sequence[int], made: Predictions, weights_M: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return accuracy and loss of a model, summed over clients that hold it; shape (2,).

    Args:
        clients: Numbers of the clients.
        made: The model's predictions of M targets.
        weights_M: Weights of these targets, summed over the clients; None: all count alike.
    """
    if weights_M is None:
        return np.array([made.accuracy, made.loss]) * len(clients)
    return np.array([weights_M @ made.right, weights_M @ made.losses])
