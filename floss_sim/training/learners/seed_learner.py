"""Learner without gradients: clients measure the loss on both sides along seeded directions.

A step along z_k from weights w (Qin et al., ICML 2024; the estimate from two losses is that of
Malladi et al., NeurIPS 2023)::

    g = (L(w + epsilon z_k) - L(w - epsilon z_k)) / (2 epsilon)
    w = w - lr g z_k ;  a_k = a_k - lr g

Shapes: N = K scalars, M entries of the model.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
import torch
from torch.nn import functional

from floss_sim.methods.zeroth_order import ZerothOrder
from floss_sim.protocol import Dispatch
from floss_sim.rng import stream
from floss_sim.runs.config import RunConfig
from floss_sim.training.learner_choice import SEQUENTIAL
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.models.seed_model import SeedModel
from floss_sim.vectors.top_k import Vector


class SeedLearner(TorchLearner):
    """Learner that trains scalars along seeded directions, one client at a time, without dropout.

    Args:
        config: The run; lr is the method's rate, or else the client's learning rate. The steps take
            the batches of the client's epochs in turn, and the first ones again after the last. Its
            momentum is not used.
        model: Model with the run's directions.
    """

    def __init__(self, config: RunConfig, model: SeedModel) -> None:
        super().__init__(config, model, SEQUENTIAL)
        self._model = model
        self._settings = config.method.zeroth_order or ZerothOrder()
        self._rate = self._settings.learning_rate(config.client.learning_rate)

    def _planned_steps(self, client: int) -> int:
        return self._settings.steps

    @torch.no_grad()
    def _update(self, dispatch: Dispatch) -> Vector:
        model, (work,) = self._model, self._works.of(dispatch)
        self.steps.begin({dispatch.sequence: self._settings.steps})
        names = ("client", dispatch.client, "dispatch", dispatch.sequence, "seeds")
        draw = stream(self.config.seed, *names)
        chosen = draw.choice(self._settings.seeds, self._settings.steps, replace=False)
        model.load(work.start)
        model.set_training(False)
        update_N = np.zeros(self._settings.seeds, dtype=np.float32)
        for number, batch in zip(chosen, cycle(work.batches), strict=False):
            z_M = model.direction(int(number))
            move = self._rate * self._slope(z_M, torch.from_numpy(batch))
            model.weights.sub_(z_M, alpha=move)
            update_N[number] = move
            self._count([dispatch.sequence])
        return update_N

    def _slope(self, z_M: torch.Tensor, batch: torch.Tensor) -> float:
        """Return the estimate of the loss's slope along a direction; the weights stay."""
        epsilon, weights_M = self._settings.epsilon, self._model.weights
        before_M = weights_M.clone()
        losses = []
        for side in (1, -1):
            weights_M.copy_(before_M).add_(z_M, alpha=side * epsilon)
            losses.append(self._loss(batch.to(weights_M.device)))
        weights_M.copy_(before_M)
        return (losses[0] - losses[1]) / (2 * epsilon)

    def _loss(self, batch: torch.Tensor) -> float:
        x, y = self._split
        logits, targets = self._model.outputs(x[batch], y[batch])
        return float(functional.cross_entropy(logits, targets))
