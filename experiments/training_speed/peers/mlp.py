"""The task's model for peers that train torch modules."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import task
import torch
from torch import nn


def mlp() -> nn.Sequential:
    """Return the MLP with the weights that every peer begins with."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(task.WIDTHS):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    assign(model.parameters(), map(torch.from_numpy, task.first_weights()))
    return model


@torch.no_grad()
def assign(parameters: Iterable[nn.Parameter], values: Iterable[torch.Tensor]) -> None:
    """Copy values into parameters."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def weights_of(model: nn.Module) -> list[np.ndarray]:
    """Return a module's weights in order."""
    return [p.detach().numpy() for p in model.parameters()]
