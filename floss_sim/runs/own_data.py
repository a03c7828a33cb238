"""Data like a client's own: weights of a split's examples by the labels that the client has.

A client's own model serves the client's data, but the validation and test splits belong to nobody.
If the partition is by labels, a split's examples are weighted so that each label counts as much as
among the client's training examples. Under any other partition all examples count alike.

Shapes: C clients, E examples of a split, K labels, M targets of a split (E where weights differ).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.runs.config import RunConfig

BY_LABELS = "dirichlet"  # the partition's law that deals by labels
OWN_LABEL = "accuracy of each client's own model, mean over clients"


def own_data_text(law: str) -> str:
    """Return the definition of an own accuracy, given the partition's law."""
    if law == BY_LABELS:
        return f"{OWN_LABEL}, on examples weighted by the client's label shares"
    return f"{OWN_LABEL}, on the whole split (partition {law} is not by labels)"


@dataclass(frozen=True)
class OwnWeights:
    """Weights of a split's examples for each client, held by label.

    Attributes:
        labels: Labels of the split, shape (E,).
        by_label: Weight of an example of each label, float64 of shape (C, K).
    """

    labels: NDArray[np.int64]
    by_label: NDArray[np.float64]

    def summed(self, clients: Sequence[int]) -> NDArray[np.float64]:
        """Return the weight of each example, summed over some clients; shape (E,)."""
        weights_E: NDArray[np.float64] = self.by_label[list(clients)].sum(axis=0)[self.labels]
        return weights_E


def own_weights(config: RunConfig, labels_E: NDArray[np.int64]) -> OwnWeights | None:
    """Return the weight of each example of a split for each client.

    A client's weights add up to 1. Examples of one label share the label's weight equally. Labels
    that the split lacks are left out; a client with no other labels has equal weights.

    Args:
        config: The run, with its partition.
        labels_E: Labels of the split.

    Returns:
        The weights, or None where all examples count alike.
    """
    if config.fleet.law != BY_LABELS:
        return None
    train_labels, kinds = np.asarray(config.task.content.train[1]), config.task.labels
    of_clients = (train_labels[own] for own in config.clients)
    held_CK = np.stack([np.bincount(labels, minlength=kinds) for labels in of_clients])
    counts_K = np.bincount(labels_E, minlength=kinds)
    each_CK = np.divide(held_CK, counts_K, out=np.zeros(held_CK.shape), where=counts_K > 0)
    each_CK[~each_CK.any(axis=1)] = 1.0
    return OwnWeights(labels_E, each_CK / each_CK[:, labels_E].sum(axis=1, keepdims=True))


def own_right(
    right_M: NDArray[Any], weights: OwnWeights | None, clients: Sequence[int]
) -> NDArray[np.float64]:
    """Return by target what clients that hold one model get right, summed over these clients.

    Args:
        right_M: Whether the model's predictions are right.
        weights: Weights of the targets; None: all count alike.
        clients: Numbers of the clients.

    Returns:
        Values of shape (M,), weighted so that their mean is the sum of the clients' accuracies.
    """
    if weights is None:
        return right_M.astype(np.float64) * len(clients)
    return right_M * (len(right_M) * weights.summed(clients))


def own_test_right(config: RunConfig, rights: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """Return by target of the test split what own models get right, as the mean over clients.

    Args:
        config: A run whose clients all hold the global model.
        rights: Whether the predictions of global models are right, of shape (M,) each.
    """
    weights = own_weights(config, config.task.content.test[1])
    everyone = range(config.fleet.clients)
    return [own_right(right_M, weights, everyone) / len(everyone) for right_M in rights]
