"""Local training of one client: epochs of SGD over all entries or a subset of them.

Shapes: N entries of the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Inputs of one client's local training: start values, trained entries, batches and seed.

    Args:
        start: Values that the client decoded from the download, float32 of shape (N,).
        trained: Mask of the entries that train, bool of shape (N,); None: all entries.
        batches: Example indices into the training split, one array per step.
        seed: Seed of the dropout in step 0; step t uses ``seed + t``.
        ranked: The top-k selector of the upload, if the upload is the top-k of this update alone
            (no error feedback); None otherwise.
    """

    start: Vector
    trained: Mask | None
    batches: Batches
    seed: int
    ranked: TopK | None = None

    @property
    def examples(self) -> int:
        """Number of examples over all steps; an example counts once per epoch."""
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
    """Return a client's work. The last, smaller batch of an epoch is kept.

    Args:
        start_N: Values that the client decoded from the download, float32 of shape (N,).
        trained_N: Mask of the entries that train, bool of shape (N,); None: all entries.
        examples: Indices of the client's examples in the training split.
        x: Inputs of the training split, shape (split, ...).
        inputs: The task's reader; batches without any target are skipped.
        settings: Batch size and number of epochs.
        seed: Seed of the run.
        names: Names of the client's random streams.
    """
    draw = stream(seed, *names, "batches")
    size, batches = settings.batch_size, list[NDArray[np.int64]]()
    for _ in range(settings.epochs):
        order = examples[draw.permutation(len(examples))]
        batches += [order[first : first + size] for first in range(0, len(order), size)]
    taught = tuple(batch for batch in batches if inputs.has_targets(x, batch))
    return Work(start_N, trained_N, taught, stream_seed(seed, *names, "dropout"))


def joined(updates: Sequence[Vector]) -> Vector:
    """Return the update of a client whose entries trained in one work each: their sum."""
    return updates[0] if len(updates) == 1 else np.sum(updates, axis=0)


def train_locally(
    model: FlatModel,
    x: torch.Tensor,
    y: torch.Tensor,
    settings: ClientSection,
    work: Work,
    on_step: Callable[[], object] = lambda: None,
) -> Vector:
    """Train a model with SGD; return the trained values, float32 of shape (N,).

    Args:
        model: The model; its vector is overwritten.
        x: Inputs of the training split, shape (split, ...), on the model's device.
        y: Classes of the training split, shape (split,), on the model's device.
        settings: Learning rate and momentum.
        work: The client's work. Entries outside its mask stay bit-identical.
        on_step: Called after each step.

    Raises:
        TaskError: The backbone cannot read the inputs.
    """
    model.load(work.start)
    optimizer = torch.optim.SGD(
        [model.flat], lr=settings.learning_rate, momentum=settings.momentum, foreach=False
    )
    gradient = model.flat.grad
    assert gradient is not None  # noqa: S101 - for the type checker: FlatModel always sets it
    trained_N = work.trained
    frozen = None
    if trained_N is not None:  # local factors always train
        frozen = functional.pad(torch.from_numpy(~trained_N), (0, model.layout.local_entries))
        frozen = frozen.to(model.device)
    model.set_training(True)
    for step, batch in enumerate(work.batches):
        chosen = torch.from_numpy(batch).to(model.device)
        model.draws.set_shares([Share(len(batch), work.seed + step)], step)
        with model.prefix.using([(x, chosen)]):
            logits, targets = model.outputs(x[chosen], y[chosen])
            functional.cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]
        if frozen is not None:
            gradient.masked_fill_(frozen, 0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # gradients must stay views of one flat vector
        on_step()
    return model.vector()
