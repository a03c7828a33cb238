"""A slow and obvious FLoSS, written from the pseudocode alone, against the product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForImageClassification

from floss_sim import RunConfig, floss, load_task, open_learner, run
from floss_sim.messages import draw_cohort
from floss_sim.network import NetworkProfile
from floss_sim.rng import stream
from floss_sim.training.parameters import parameter_names


def keep_largest(vector: torch.Tensor, density: float) -> torch.Tensor:
    k = max(1, int(density * len(vector)))
    kept = torch.zeros_like(vector)
    largest = vector.abs().sort(descending=True, stable=True).indices[:k]
    kept[largest] = vector[largest]
    return kept


class SlowFloss:
    """One plain torch model; a dict of tensors is flattened by sorted canonical name."""

    def __init__(self, config: RunConfig) -> None:
        base = AutoModelForImageClassification.from_pretrained(
            config.task.backbone_path, num_labels=10, local_files_only=True
        )
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=16,
            target_modules=["q_proj", "v_proj"],
            modules_to_save=["classifier"],
        )
        self.config = config
        self.model = get_peft_model(base, lora)
        parameters = dict(self.model.named_parameters())
        names = parameter_names(config.layout, self.model)
        self.parameters = [parameters[names[n]] for n in sorted(names)]
        self.P = torch.from_numpy(config.layout.initial(config.seed))
        self.m, self.v = torch.zeros_like(self.P), torch.zeros_like(self.P)

    def local_epoch(self, start: torch.Tensor, client: int, sequence: int) -> torch.Tensor:
        pieces = start.split([p.numel() for p in self.parameters])
        with torch.no_grad():
            for parameter, piece in zip(self.parameters, pieces, strict=True):
                parameter.copy_(piece.view_as(parameter))
        x, y = (torch.from_numpy(a)[self.config.clients[client]] for a in self.data)
        order = stream(0, "client", client, "dispatch", sequence, "batches").permutation(len(y))
        momentum = [torch.zeros_like(p) for p in self.parameters]
        for begin in range(0, len(y), 16):
            batch = order[begin : begin + 16]
            loss = functional.cross_entropy(self.model(pixel_values=x[batch]).logits, y[batch])
            gradients = torch.autograd.grad(loss, self.parameters)
            with torch.no_grad():
                for parameter, velocity, gradient in zip(
                    self.parameters, momentum, gradients, strict=True
                ):
                    velocity.mul_(0.9).add_(gradient)
                    parameter.sub_(0.05 * velocity)
        return torch.cat([p.detach().ravel() for p in self.parameters])

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return self.config.task.content.train

    def round(self, number: int) -> None:
        tier = self.config.method.tiers[0]
        down, up = tier.download.density, tier.upload.density
        sent = keep_largest(self.P, down)
        updates = []
        for i, client in enumerate(draw_cohort(0, number, 50, 5).clients):
            final = self.local_epoch(sent, client, 5 * (number - 1) + i)
            updates.append(keep_largest(sent - final, up))
        g = torch.stack(updates).mean(dim=0)
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m_hat, v_hat = self.m / (1 - 0.9**number), self.v / (1 - 0.999**number)
        self.P = self.P - 5e-3 * m_hat / (v_hat.sqrt() + 1e-8)


@pytest.mark.parametrize(("down", "up"), [(1.0, 1.0), (1 / 4, 1 / 16), (1 / 16, 1.0)])
def test_the_product_agrees_with_the_pseudocode_over_ten_rounds(
    paper: NetworkProfile, down: float, up: float
):
    config = RunConfig.of(load_task("digits"), floss(down, up), rank=2)
    learner = open_learner(config, "cpu")
    run(config, paper, learner, rounds=10)
    slow = SlowFloss(config)
    for number in range(1, 11):
        slow.round(number)
    # Rounding may flip near ties of the top-k; a flipped entry differs by a step at most.
    difference = np.abs(learner.snapshot().tensors["P"] - slow.P.numpy())
    assert np.quantile(difference, 0.99) < 1e-5
    assert difference.max() < 10 * 5e-3
