"""Clients' own models, measured on one split: means over the clients.

A client's own model is what it would train from next: the shared values of its next download, and
its own private entries. Where a method has none, all clients hold the global model.

Shapes: C clients, N entries, M targets of the split.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim.protocol import OwnMetrics
from floss_sim.training.evaluation import EvaluableModel, Predictions, predictions
from floss_sim.vectors.top_k import Vector

Group = tuple[Sequence[int], Vector]  # clients that hold the same model, and its offsets


def measure_own(
    model: EvaluableModel,
    groups: Iterable[Group],
    x: torch.Tensor,
    y: torch.Tensor,
    weights_CM: NDArray[np.float64] | None,
) -> OwnMetrics:
    """Return the means over the clients of each one's own model.

    Args:
        model: A model of the vectors' layout; its current vector is overwritten.
        groups: Clients by model; every client is in one group.
        x: Inputs of the split, on the model's device.
        y: Classes of the inputs.
        weights_CM: Weights of the targets for each client; None: all count alike.

    Raises:
        TaskError: The backbone cannot read the inputs, or the split has no target.
    """
    sums, count = np.zeros(2), 0
    for clients, vector_N in groups:
        if weights_CM is None:
            sums += own_sums(clients, predictions(model, vector_N, x, y), None)
        else:  # examples without weight need no prediction
            used = np.flatnonzero(weights_CM[list(clients)].any(axis=0))
            made = predictions(model, vector_N, x, y, torch.from_numpy(used))
            sums += own_sums(clients, made, weights_CM[:, used])
        count += len(clients)
    return OwnMetrics(*(sums / count).tolist())


def own_right(
    model: EvaluableModel,
    groups: Iterable[Group],
    x: torch.Tensor,
    y: torch.Tensor,
    weights_CM: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return by target what clients' own models get right, float64 of shape (M,).

    It is the mean over the clients, weighted so that the mean over the targets is the accuracy of
    :func:`measure_own`. Arguments and errors are those of it.
    """
    right_M, count = np.zeros(0), 0
    for clients, vector_N in groups:
        made_M = predictions(model, vector_N, x, y).right.astype(np.float64)
        if weights_CM is None:
            made_M *= len(clients)
        else:
            made_M *= len(made_M) * weights_CM[list(clients)].sum(axis=0)
        right_M, count = (right_M + made_M if count else made_M), count + len(clients)
    return right_M / count


def own_sums(
    clients: Sequence[int], made: Predictions, weights_CM: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return accuracy and loss of a model, summed over clients that hold it; shape (2,).

    Args:
        clients: Numbers of the clients.
        made: The model's predictions of M targets.
        weights_CM: Weights of these targets for each client; None: all count alike.
    """
    if weights_CM is None:
        return np.array([made.accuracy, made.loss]) * len(clients)
    weights_M = weights_CM[list(clients)].sum(axis=0)
    return np.array([weights_M @ made.right, weights_M @ made.losses])
