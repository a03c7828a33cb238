"""Local training of several clients at once, on a banked model: a ragged cohort in lockstep.

In step t each client that has a t-th batch takes it. Clients with most batches come first, so
that those at work are always the first rows; neighbours with equal batches share their products.

Shapes: C clients, N entries, E examples, M targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from floss_sim.sparsity import Vector
from floss_sim.tasks.task import ClientSection
from floss_sim.training.bank_model import BankModel
from floss_sim.training.dropout import Share
from floss_sim.training.local import Work


def train_together(
    model: BankModel,
    x: torch.Tensor,
    y: torch.Tensor,
    settings: ClientSection,
    works: Sequence[Work],
) -> list[Vector]:
    """Return each client's values after local SGD, float32 of shape (N,) each.

    Args:
        model: Whose rows are bound anew.
        x: The training split's inputs, shape (split, ...), on the model's device.
        y: Their classes, shape (split,).
        settings: Learning rate and momentum.
        works: What the clients train, those with most batches first.

    Raises:
        TaskError: Inputs that the backbone cannot read.
    """
    values_CN = torch.from_numpy(np.stack([work.start for work in works])).to(model.device)
    optimizer = _Momentum(values_CN, settings, _frozen(works, model.device))
    model.set_training(True)
    bound: list[torch.Tensor] = []
    for step in range(len(works[0].batches)):
        active = [work for work in works if len(work.batches) > step]
        if not bound or len(active) < len(bound[0]):
            bound = model.bind(values_CN[: len(active)], train=True)
        gradients = torch.autograd.grad(_loss(model, x, y, active, step), bound)
        optimizer.step(gradients)
    return list(values_CN.cpu().numpy())


def _frozen(works: Sequence[Work], device: torch.device) -> torch.Tensor | None:
    """Return what does not train, bool of shape (C, N); None where all of all clients does."""
    if all(work.trained is None for work in works):
        return None
    nothing_N = np.zeros(works[0].start.size, dtype=bool)
    frozen = [nothing_N if work.trained is None else ~work.trained for work in works]
    return torch.from_numpy(np.stack(frozen)).to(device)


def _loss(
    model: BankModel, x: torch.Tensor, y: torch.Tensor, active: Sequence[Work], step: int
) -> torch.Tensor:
    """Return the sum of the clients' mean losses: no client's gradient sees another's."""
    batches = [work.batches[step] for work in active]
    sizes = [len(batch) for batch in batches]
    chosen = torch.from_numpy(np.concatenate(batches)).to(model.device)
    x_E, y_E = x[chosen], y[chosen]
    if model.draws.sites:
        lengths = model.inputs.lengths(torch.split(x_E, sizes))
        shares = zip(active, sizes, lengths, strict=True)
        model.draws.share([Share(size, w.seed + step, length) for w, size, length in shares])
    logits, targets = model.outputs(x_E, y_E, sizes)
    counts = model.inputs.counts(torch.split(x_E, sizes))
    weights_C = torch.tensor([1 / count for count in counts], device=model.device)
    weights_M = weights_C.repeat_interleave(torch.tensor(counts, device=model.device))
    return functional.cross_entropy(logits, targets, reduction="none") @ weights_M


class _Momentum:
    """SGD with momentum on all clients' rows at once, as ``torch.optim.SGD`` on each."""

    def __init__(
        self, values_CN: torch.Tensor, settings: ClientSection, frozen_CN: torch.Tensor | None
    ) -> None:
        self._values = values_CN
        self._velocity = torch.zeros_like(values_CN)
        self._gradient = torch.empty_like(values_CN)
        self._frozen = frozen_CN
        self._lr, self._momentum = settings.learning_rate, settings.momentum

    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Take one step of the first rows, along gradients of the layout's tensors."""
        active = len(gradients[0])
        gradient, velocity = self._gradient[:active], self._velocity[:active]
        torch.cat([part.flatten(1) for part in gradients], dim=1, out=gradient)
        if self._frozen is not None:
            gradient.masked_fill_(self._frozen[:active], 0)
        velocity.mul_(self._momentum).add_(gradient)
        self._values[:active].add_(velocity, alpha=-self._lr)
