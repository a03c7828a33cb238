"""The server's step: one optimiser step on P with the mean decoded update as the gradient.

FedAdam is Adam with betas 0.9 and 0.999, eps 1e-8 and no weight decay (the thesis, section 4.1).
FedAvg is SGD with learning rate 1 by default: P minus the mean update.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim.sparsity import Vector
from floss_sim.tasks.task import ServerSection

_MOMENTS = ("exp_avg", "exp_avg_sq")


class ServerOptimizer:
    """Owns the dense server vector P, float32 of shape (N,), and the optimiser's moments."""

    def __init__(self, initial_N: Vector, settings: ServerSection) -> None:
        self._parameter = torch.nn.Parameter(torch.from_numpy(initial_N.copy()))
        self._optimizer: torch.optim.Optimizer
        if settings.optimizer == "fedadam":
            self._optimizer = torch.optim.Adam(
                [self._parameter], lr=settings.learning_rate, foreach=False
            )
        else:
            self._optimizer = torch.optim.SGD(
                [self._parameter], lr=settings.learning_rate, foreach=False
            )

    def vector(self) -> Vector:
        """Return P without copying; callers do not write to it."""
        return self._parameter.detach().numpy()

    def step(self, gradient_N: Vector) -> None:
        """Take one step along a mean update, float32 of shape (N,)."""
        self._parameter.grad = torch.from_numpy(gradient_N)
        self._optimizer.step()

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of P, the moments and the step count, by name."""
        tensors = {"P": self.vector().copy()}
        for name, value in self._optimizer.state.get(self._parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[name] = value.numpy().copy()
        return tensors

    def restore(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Go on from a state that :meth:`state` returned."""
        with torch.no_grad():
            self._parameter.copy_(torch.from_numpy(tensors["P"].copy()))
        moments = {
            name: torch.from_numpy(tensors[name].copy())
            for name in (*_MOMENTS, "step")
            if name in tensors
        }
        if moments:
            self._optimizer.state[self._parameter] = moments
