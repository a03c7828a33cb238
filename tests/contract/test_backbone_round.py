"""Slow and obvious twins of FLoRA and FedEx-LoRA, written from the papers, against the product.

Whole weights are changed in a plain model without PEFT: no factors, no messages, no missed rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional
from transformers import AutoModelForImageClassification, PreTrainedModel

from floss_sim import RunConfig, load_task, run
from floss_sim.methods import Method, method_from_name
from floss_sim.methods.factor_messages import Bundle
from floss_sim.network import NetworkProfile
from floss_sim.protocol import Dispatch
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.rng import stream
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.vectors.top_k import Vector

RANK, WIDTH, SCALE = 4, 64, 16 / 4
RATE = 0.3  # of clients: the residual of means grows with its square
Tensors = dict[str, torch.Tensor]
MODULES = {  # by canonical name, in the order of the flat vector
    f"layer.00{layer}.{role}": f"{layer}.attention.{role}_proj.weight"
    for layer in range(4)
    for role in "qv"
}


def new_a(module: str, *names: str | int) -> torch.Tensor:
    """Return A as PEFT initialises it: uniform in 1 / sqrt(fan_in) either way."""
    draw = stream(0, *names, "initial", f"{module}.lora_A")
    drawn = draw.uniform(-1 / 8, 1 / 8, RANK * WIDTH).astype(np.float32)
    return torch.from_numpy(drawn).view(RANK, WIDTH)


@dataclass
class SlowMerges:
    """One plain model; the server averages, with plain means in the place of an optimiser.

    ``restarts``: FLoRA, else FedEx-LoRA.
    """

    config: RunConfig
    model: PreTrainedModel
    restarts: bool
    state: Tensors = field(default_factory=dict)  # server's head and adapters
    weights: Tensors = field(default_factory=dict)  # of adapted modules

    def __post_init__(self) -> None:
        weight = stream(0, "initial", "head.weight").normal(0, 0.02, 640).astype(np.float32)
        self.state = {"head.bias": torch.zeros(10), "head.weight": torch.from_numpy(weight)}
        for module in MODULES:
            self.state[f"{module}.lora_A"] = new_a(module)
            self.state[f"{module}.lora_B"] = torch.zeros(WIDTH, RANK)
        named = dict(self.model.named_parameters())
        ends = {name.split("layers.")[-1]: name for name in named}
        self.places = {m: ends[end] for m, end in MODULES.items()}
        self.pretrained = {m: named[self.places[m]].detach().clone() for m in MODULES}
        self.weights = {m: weight.clone() for m, weight in self.pretrained.items()}

    def loss(self, given: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        weights = {
            self.places[m]: self.weights[m] + SCALE * given[f"{m}.lora_B"] @ given[f"{m}.lora_A"]
            for m in MODULES
        }
        weights["classifier.weight"] = given["head.weight"].view(10, WIDTH)
        weights["classifier.bias"] = given["head.bias"]
        logits = functional_call(self.model, weights, kwargs={"pixel_values": x}).logits
        return functional.cross_entropy(logits, y)

    def client(self, client: int, sequence: int) -> Tensors:
        """Return the trained head and adapters of a client."""
        given = {name: tensor.clone() for name, tensor in self.state.items()}
        if self.restarts:
            given |= {f"{m}.lora_A": new_a(m, "dispatch", sequence) for m in MODULES}
        velocity = {name: torch.zeros_like(tensor) for name, tensor in given.items()}
        examples = self.config.clients[client]
        x, y = (torch.from_numpy(a)[examples] for a in self.config.task.content.train)
        order = stream(0, "client", client, "dispatch", sequence, "batches").permutation(len(y))
        for begin in range(0, len(y), 16):
            batch = order[begin : begin + 16]
            given = {name: tensor.detach().requires_grad_() for name, tensor in given.items()}
            loss = self.loss(given, x[batch], y[batch])
            gradients = torch.autograd.grad(loss, list(given.values()))
            for name, gradient in zip(list(given), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient
                given[name] = given[name].detach() - RATE * velocity[name]
        return given

    def round(self, number: int) -> None:
        cohort = draw_cohort(0, number, 50, 2).clients
        returned = [self.client(c, 2 * (number - 1) + i) for i, c in enumerate(cohort)]
        means = {n: torch.stack([one[n] for one in returned]).mean(dim=0) for n in self.state}
        for m in MODULES:
            a, b = f"{m}.lora_A", f"{m}.lora_B"
            products = [one[b].double() @ one[a].double() for one in returned]
            change = torch.stack(products).mean(dim=0)
            if not self.restarts:
                change -= means[b].double() @ means[a].double()
            self.weights[m] = (self.weights[m] + SCALE * change).float()
        kept = [n for n in self.state if n.startswith("head.") or not self.restarts]
        self.state |= {name: means[name] for name in kept}


class Witness(SequentialLearner):
    """A real learner, which notes whether clients get dense weights, and compares them."""

    seen: list[tuple[bool, int]]
    versions: dict[int, Vector]

    def _update(self, dispatch: Dispatch) -> Vector:
        start_N = self._clients.start(dispatch)
        bundle = Bundle.unpack(dispatch.blob)
        self.seen.append((bundle.dense, len(bundle.changes)))
        for tensor in self.layout.tensors:
            at = self.layout.slices[tensor.name]
            if tensor.kind == "adapted_weight":
                assert np.array_equal(start_N[at], self._server.vector()[at])
        return super()._update(dispatch)


@pytest.mark.parametrize("name", ["flora", "fedex-lora"])
def test_the_product_agrees_with_the_papers_over_ten_rounds(paper: NetworkProfile, name: str):
    torch.set_num_threads(1)
    method: Method = method_from_name(name)
    config = RunConfig.of(load_task("digits"), method, rank=RANK).with_(
        client={"learning_rate": RATE},
        server={"optimizer": "fedavg", "learning_rate": 1.0, "cohort": 2},
    )
    learner = Witness(config, build_flat_model(config, torch.device("cpu")))
    learner.seen = []
    run(config, paper, learner, rounds=10, eval_every=10)
    assert {dense for dense, _ in learner.seen} == {True, False}
    assert {count for dense, count in learner.seen if not dense} >= {0, 1, 2, 3}
    plain = AutoModelForImageClassification.from_pretrained(
        config.task.backbone_path, num_labels=10, local_files_only=True
    ).eval()
    slow = SlowMerges(config, plain, restarts=name == "flora")
    for number in range(1, 11):
        slow.round(number)
    ours = learner.snapshot().tensors["P"]
    for tensor in config.layout.tensors:
        module, _, kind = tensor.name.rpartition(".")
        found = torch.from_numpy(ours[config.layout.slices[tensor.name]])
        if tensor.kind == "adapted_weight":
            expected = slow.weights[module] - slow.pretrained[module]
            assert expected.abs().max() > 1e-4
            assert (found - expected.ravel()).abs().max() < 2e-3 * expected.abs().max()
        else:
            expected = slow.state[tensor.name]
        assert (found - expected.ravel()).abs().max() < 1e-4, kind
