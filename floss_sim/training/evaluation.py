"""Accuracy and loss of a vector on a split."""

from __future__ import annotations

import torch
from torch.nn import functional

from floss_sim.sparsity import Vector
from floss_sim.training.backbone import FlatModel

_BATCH = 512


def measure(
    model: FlatModel, vector_N: Vector, pixels: torch.Tensor, labels: torch.Tensor
) -> tuple[float, float]:
    """Return (accuracy 0 to 1, mean cross-entropy in nats) of a vector on a split.

    Args:
        model: Any model of the vector's layout; its vector is overwritten.
        vector_N: The offsets from the layout's base.
        pixels: Inputs, shape (examples, C, H, W), on the model's device.
        labels: Their classes, shape (examples,).
    """
    model.load(model.layout.base() + vector_N)
    model.set_training(False)
    with torch.no_grad():
        logits = torch.cat([model.logits(part) for part in torch.split(pixels, _BATCH)])
        correct = (logits.argmax(dim=1) == labels).sum().item()
        loss = functional.cross_entropy(logits, labels).item()
    return correct / len(labels), loss
