"""What accuracies of a task are measured on, and what chance reaches there."""

from __future__ import annotations

from typing import Any

import numpy as np

from floss_sim.families import NEXT_TOKEN
from floss_sim.runs.config import RunConfig
from floss_sim.runs.own_data import own_weights
from floss_sim.tasks import Task


def prediction_counts(task: Task) -> dict[str, Any]:
    """Return how many predictions an accuracy is the mean of: examples, or next tokens."""
    splits = {"validation": task.content.validation, "test": task.content.test}
    if task.kind != NEXT_TOKEN:
        return {"what": "examples", **{name: len(y) for name, (_, y) in splits.items()}}
    tokens = {name: int((x[:, 1:] >= 0).sum()) for name, (x, _) in splits.items()}
    return {"what": "next tokens", **tokens}


def chance_accuracy(config: RunConfig, *, own: bool) -> float:
    """Return the validation accuracy of always predicting the most frequent class or token.

    Args:
        config: A run of the task, with its partition.
        own: Whether accuracies are those of own models: then the mean over clients of each one's
            largest label share, as each of them may always name another label.
    """
    task = config.task
    x, y = task.content.validation
    weights = own_weights(config, y) if own else None
    if weights is not None:
        weights_CE = weights.by_label[:, y]
        shares_KC = [weights_CE[:, y == label].sum(axis=1) for label in np.unique(y)]
        return float(np.max(shares_KC, axis=0).mean())
    targets = x[:, 1:][x[:, 1:] >= 0] if task.kind == NEXT_TOKEN else y
    return float(np.unique(targets, return_counts=True)[1].max() / len(targets))
