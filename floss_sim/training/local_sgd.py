"""Local training: epochs of SGD on one client's examples, over all or some of the entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from floss_sim.methods import TopK
from floss_sim.rng import stream, stream_seed
from floss_sim.tasks.sections import ClientSection
from floss_sim.training.models.dropout import Share
from floss_sim.training.models.flat_model import FlatModel
from floss_sim.training.models.inputs import Reader
from floss_sim.vectors.top_k import Mask, Vector

Batches = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class Work:
    """What one client trains: from which values, on which batches, with which draws.

    Args:
        start: The values that it decoded, float32 of shape (N,).
        trained: The entries that train, bool of shape (N,); None: all.
        batches: Its examples in each step, as positions in the training split.
        seed: Of its dropout in step 0; those of the next steps follow.
        ranked: Where its upload is the top-k of its update and of nothing else, which top-k.
    """

    start: Vector
    trained: Mask | None
    batches: Batches
    seed: int
    ranked: TopK | None = None

    @property
    def examples(self) -> int:
        """How many examples it works through, epochs included."""
        return sum(map(len, self.batches))


def work_of(
    start_N: Vector,
    trained_N: Mask | None,
    examples: NDArray[np.int64],
    x: torch.Tensor,
    inputs: Reader,
    settings: ClientSection,
    seed: int,
    names: Sequence[str | int],
) -> Work:
    """Return a client's work; the last partial batch of an epoch is kept.

    Args:
        start_N: The values that it decoded, float32 of shape (N,).
        trained_N: The entries that train, bool of shape (N,); None: all.
        examples: The client's, as positions in the training split.
        x: The split's inputs, shape (split, ...).
        inputs: Tells which batches have anything to learn from.
        settings: Batch size and epochs.
        seed: The run's.
        names: Name the client's streams.
    """
    draw = stream(seed, *names, "batches")
    size, batches = settings.batch_size, list[NDArray[np.int64]]()
    for _ in range(settings.epochs):
        order = examples[draw.permutation(len(examples))]
        batches += [order[first : first + size] for first in range(0, len(order), size)]
    taught = tuple(batch for batch in batches if inputs.has_targets(x, batch))
    return Work(start_N, trained_N, taught, stream_seed(seed, *names, "dropout"))


def train_locally(
    model: FlatModel, x: torch.Tensor, y: torch.Tensor, settings: ClientSection, work: Work
) -> Vector:
    """Train the model's vector in place; return what it is then, float32 of shape (N,).

    Args:
        model: Whose vector is overwritten.
        x: The training split's inputs, shape (split, ...), on the model's device.
        y: Their classes, shape (split,).
        settings: Learning rate and momentum.
        work: The client's. Entries outside its mask keep their bits.

    Raises:
        TaskError: Inputs that the backbone cannot read.
    """
    model.load(work.start)
    optimizer = torch.optim.SGD(
        [model.flat], lr=settings.learning_rate, momentum=settings.momentum, foreach=False
    )
    gradient = model.flat.grad
    assert gradient is not None  # noqa: S101 - for the type checker: it is never replaced
    trained_N = work.trained
    frozen = None if trained_N is None else torch.from_numpy(~trained_N).to(model.device)
    model.set_training(True)
    for step, batch in enumerate(work.batches):
        chosen = torch.from_numpy(batch).to(model.device)
        model.draws.set_shares([Share(len(batch), work.seed + step)])
        logits, targets = model.outputs(x[chosen], y[chosen])
        functional.cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]
        if frozen is not None:
            gradient.masked_fill_(frozen, 0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # the gradients stay views of one vector
    return model.vector()
