"""Local training: epochs of SGD on one client's examples, all entries of the vector trained."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from floss_sim.sparsity import Mask
from floss_sim.tasks.task import ClientSection
from floss_sim.training.backbone import FlatModel


def train_locally(
    model: FlatModel,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    settings: ClientSection,
    draw: np.random.Generator,
    trained_N: Mask | None = None,
) -> None:
    """Train the model's vector in place; the last partial batch of an epoch is kept.

    Args:
        model: Holds the vector that the client decoded.
        pixels: The client's inputs, shape (examples, C, H, W), on the model's device.
        labels: Their classes, shape (examples,).
        settings: Learning rate, momentum, batch size, epochs.
        draw: Shuffles each epoch.
        trained_N: The entries that train, bool of shape (N,); None for all.
    """
    frozen_N = None if trained_N is None else torch.from_numpy(~trained_N).to(model.device)
    optimizer = torch.optim.SGD(
        [model.flat], lr=settings.learning_rate, momentum=settings.momentum, foreach=False
    )
    model.set_training(True)
    for _ in range(settings.epochs):
        for batch in _batches(len(labels), settings.batch_size, draw):
            chosen = torch.from_numpy(batch).to(model.device)
            loss = functional.cross_entropy(model.logits(pixels[chosen]), labels[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            if frozen_N is not None:
                model.gradient[frozen_N] = 0
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)  # the gradients stay views of one vector


def _batches(examples: int, size: int, draw: np.random.Generator) -> list[NDArray[np.int64]]:
    order = draw.permutation(examples)
    return [order[start : start + size] for start in range(0, examples, size)]
