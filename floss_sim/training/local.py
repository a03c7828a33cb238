"""Local training: epochs of SGD on one client's examples, over all or some of the entries."""

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
    x: torch.Tensor,
    y: torch.Tensor,
    settings: ClientSection,
    draw: np.random.Generator,
    trained: Mask | None = None,
) -> None:
    """Train the model's vector in place; the last partial batch of an epoch is kept.

    Dropout draws from torch's generator, which the caller seeds.

    Args:
        model: Holds the values that the client decoded.
        x: The client's inputs, shape (examples, ...), on the model's device.
        y: Their classes, shape (examples,).
        settings: Learning rate, momentum, batch size, epochs.
        draw: Shuffles each epoch.
        trained: The entries that train, shape (N,); all by default. The others keep their bits.

    Raises:
        TaskError: Inputs that the backbone cannot read.
    """
    optimizer = torch.optim.SGD(
        [model.flat], lr=settings.learning_rate, momentum=settings.momentum, foreach=False
    )
    gradient = model.flat.grad
    assert gradient is not None  # noqa: S101 - for the type checker: it is never replaced
    frozen = None if trained is None else torch.from_numpy(~trained).to(model.device)
    model.set_training(True)
    for _ in range(settings.epochs):
        for batch in _batches(len(y), settings.batch_size, draw):
            chosen = torch.from_numpy(batch).to(model.device)
            logits, targets = model.outputs(x[chosen], y[chosen])
            if not len(targets):
                continue  # texts of one token have nothing to predict
            functional.cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]
            if frozen is not None:
                gradient.masked_fill_(frozen, 0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)  # the gradients stay views of one vector


def _batches(examples: int, size: int, draw: np.random.Generator) -> list[NDArray[np.int64]]:
    order = draw.permutation(examples)
    return [order[start : start + size] for start in range(0, examples, size)]
