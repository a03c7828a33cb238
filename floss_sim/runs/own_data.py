"""Data like a client's own: weights of a split's examples by the labels that the client has.

A client's own model serves the client's data, but the validation and test splits belong to nobody.
If the partition is by labels, a split's examples are weighted so that each label counts as much as
among the client's training examples. Under any other partition all examples count alike.

Shapes: C clients, E examples of a split, K labels.
"""

from __future__ import annotations

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


def own_weights(config: RunConfig, labels_E: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the weight of each example for each client, float64 of shape (C, E).

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
    weights_CE = each_CK[:, labels_E]
    weights_CE[~weights_CE.any(axis=1)] = 1.0
    normed_CE: NDArray[np.float64] = weights_CE / weights_CE.sum(axis=1, keepdims=True)
    return normed_CE
