"""A plain torch loop: one model in place, reset for each client, what they become averaged."""

from __future__ import annotations

import task
import torch
from mlp import assign, mlp, weights_of
from torch import nn
from torch.nn import functional


def train(clock: task.Clock) -> nn.Module:
    """Return the model after the rounds."""
    cohorts, model = task.cohorts(), mlp()
    x, y = map(torch.from_numpy, task.clients())
    parameters = list(model.parameters())
    server = [p.detach().clone() for p in parameters]
    for number in range(1, clock.last + 1):
        total = [torch.zeros_like(p) for p in server]
        for client in next(cohorts):
            assign(parameters, server)
            optimizer = torch.optim.SGD(parameters, lr=task.LEARNING_RATE)
            for first in range(0, task.EXAMPLES, task.BATCH):
                batch = slice(first, first + task.BATCH)
                optimizer.zero_grad()
                functional.cross_entropy(model(x[client, batch]), y[client, batch]).backward()
                optimizer.step()
            for summed, parameter in zip(total, parameters, strict=True):
                summed.add_(parameter.detach(), alpha=1 / task.COHORT)
        server = total
        clock.after(number)
    assign(parameters, server)
    return model


def main() -> None:
    """Train, and print what it took."""
    torch.set_num_threads(1)
    clock = task.Clock(task.rounds_wanted())
    model = train(clock)
    clock.report({"torch": torch.__version__}, weights_of(model))


if __name__ == "__main__":
    main()
