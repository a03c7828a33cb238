"""The published style of federated LoRA: what FLASC's and FLoSS's own loops do.

For each client of a round the whole model is copied; PEFT runs forward and backward; torch's
optimiser is given all parameters; updates are dense tensors in memory, cut by ``torch.topk``, and
nothing is encoded. The server takes an AdamW step.
"""

from __future__ import annotations

import copy

import torch
from torch.nn import functional

from floss_sim.protocol.sampling import draw_cohort
from floss_sim.rng import stream
from floss_sim.runs.config import RunConfig
from floss_sim.training.device_data import device_tensors
from floss_sim.training.models.inputs import Tensors, reader
from floss_sim.training.models.loading import load_backbone
from floss_sim.training.models.peft_adapters import with_adapters

DOWN, UP = 1 / 4, 1 / 16


class Published:
    """The loop, one model copied for every client of every round."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        backbone = load_backbone(config.task)
        self.config, self.device = config, device
        self.inputs = reader(config.task)
        model = with_adapters(backbone, config.layout, config.task, config.adapters)
        self.model = model.to(device)
        self.train = device_tensors(config.task.content.train, device)
        self.server = torch.optim.AdamW(self.trained(self.model), lr=config.server.learning_rate)

    @staticmethod
    def trained(model: torch.nn.Module) -> list[torch.nn.Parameter]:
        """Return the adapters and the head."""
        return [p for p in model.parameters() if p.requires_grad]

    def round(self, number: int) -> None:
        """Play one round."""
        config, server = self.config, self.trained(self.model)
        vector = torch.cat([p.detach().flatten() for p in server])
        sent = vector * largest(vector, DOWN)
        total = torch.zeros_like(vector)
        cohort = draw_cohort(config.seed, number, config.fleet.clients, config.server.cohort)
        for client in cohort.clients:
            local = copy.deepcopy(self.model)
            put(self.trained(local), sent)
            self.epochs(local, client, number)
            delta = sent - torch.cat([p.detach().flatten() for p in self.trained(local)])
            total += delta * largest(delta, UP) / len(cohort.clients)
        for parameter, gradient in zip(
            server, total.split([p.numel() for p in server]), strict=True
        ):
            parameter.grad = gradient.view_as(parameter)
        self.server.step()

    def epochs(self, model: torch.nn.Module, client: int, number: int) -> None:
        """Train a client's copy on its examples."""
        settings, draw = self.config.client, stream(self.config.seed, "published", client, number)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=settings.learning_rate, momentum=settings.momentum
        )
        model.train()
        for _ in range(settings.epochs):
            order = draw.permutation(self.config.clients[client])
            for first in range(0, len(order), settings.batch_size):
                chosen = torch.from_numpy(order[first : first + settings.batch_size])
                x, y = (part[chosen.to(self.device)] for part in self.train)
                optimizer.zero_grad()
                functional.cross_entropy(*self.outputs(model, x, y)).backward()
                optimizer.step()

    def outputs(self, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return a batch's logits and targets."""
        bf16 = self.config.client.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits = model(**self.inputs.read(x)).logits
        return self.inputs.targets(logits.float(), x, y)


def largest(vector: torch.Tensor, density: float) -> torch.Tensor:
    """Return the mask of the largest entries by magnitude."""
    chosen = torch.topk(vector.abs(), max(1, int(density * len(vector)))).indices
    return torch.zeros_like(vector).scatter_(0, chosen, 1.0)


def put(parameters: list[torch.nn.Parameter], vector: torch.Tensor) -> None:
    """Copy a flat vector into parameters."""
    parts = vector.split([p.numel() for p in parameters])
    with torch.no_grad():
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))
