"""Slow and obvious twins of Fed-SB and Ravan, written from the papers, against the product.

Weights W + (alpha / r) sum_i s_i B_i H_i A_i are formed in full in a plain model without PEFT.
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
from floss_sim.network import NetworkProfile
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.rng import stream
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.models.flat_model import build_flat_model

RANK, WIDTH, SCALE = 4, 64, 16 / 4
Tensors = dict[str, torch.Tensor]
MODULES = {  # by canonical name, in the order of the flat vector
    f"layer.00{layer}.{role}": f"{layer}.attention.{role}_proj.weight"
    for layer in range(4)
    for role in "qv"
}


def orthonormal(name: str) -> torch.Tensor:
    """Return orthonormal columns (WIDTH, RANK) by Gram-Schmidt on a normal matrix."""
    drawn = stream(0, "initial", name).normal(size=(WIDTH, RANK))
    columns: list[np.ndarray] = []
    for column in drawn.T:
        for _ in range(2):  # twice, for rounding
            column = column - sum(q * (q @ column) for q in columns)
        columns.append(column / np.linalg.norm(column))
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


@dataclass
class SlowSquares:
    """One plain model; ``heads`` blocks H of each module, and in Ravan their factors s.

    ``averages``: the server takes the mean of full-size updates of the clients, else Adam.
    """

    config: RunConfig
    model: PreTrainedModel
    heads: int
    factors: bool
    averages: bool
    state: Tensors = field(default_factory=dict)  # server's head and blocks
    moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rank = RANK // self.heads
        self.bases = {
            m: (orthonormal(f"{m}.lora_B"), orthonormal(f"{m}.lora_A").T) for m in MODULES
        }
        weight = stream(0, "initial", "head.weight").normal(0, 0.02, 640).astype(np.float32)
        self.state = {"head.bias": torch.zeros(10), "head.weight": torch.from_numpy(weight)}
        self.state |= {m: torch.zeros(self.heads, rank, rank) for m in MODULES}
        self.moments = {
            n: (torch.zeros_like(t), torch.zeros_like(t)) for n, t in self.state.items()
        }
        self.weights = dict(self.model.named_parameters())
        ends = {name.split("layers.")[-1]: name for name in self.weights}
        self.places = {m: ends[end] for m, end in MODULES.items()}

    def update(self, module: str, blocks: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """Return sum_i s_i B_i H_i A_i, (WIDTH, WIDTH)."""
        b, a = self.bases[module]
        rank = RANK // self.heads
        return sum(
            factors[i] * b[:, i * rank : (i + 1) * rank] @ blocks[i] @ a[i * rank : (i + 1) * rank]
            for i in range(self.heads)
        )

    def loss(self, given: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        weights = {
            self.places[m]: self.weights[self.places[m]].detach()
            + SCALE * self.update(m, given[m], given[f"{m} s"])
            for m in MODULES
        }
        weights["classifier.weight"] = given["head.weight"].view(10, WIDTH)
        weights["classifier.bias"] = given["head.bias"]
        logits = functional_call(self.model, weights, kwargs={"pixel_values": x}).logits
        return functional.cross_entropy(logits, y)

    def client(self, client: int, sequence: int) -> Tensors:
        """Return the trained head and s H of a client."""
        given = {name: tensor.clone() for name, tensor in self.state.items()}
        given |= {f"{m} s": torch.ones(self.heads) for m in MODULES}
        trained = [n for n in given if self.factors or not n.endswith(" s")]
        velocity = {name: torch.zeros_like(given[name]) for name in trained}
        examples = self.config.clients[client]
        x, y = (torch.from_numpy(a)[examples] for a in self.config.task.content.train)
        order = stream(0, "client", client, "dispatch", sequence, "batches").permutation(len(y))
        for begin in range(0, len(y), 16):
            batch = order[begin : begin + 16]
            for name in trained:
                given[name] = given[name].detach().requires_grad_()
            gradients = torch.autograd.grad(
                self.loss(given, x[batch], y[batch]), [given[name] for name in trained]
            )
            for name, gradient in zip(trained, gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient
                given[name] = given[name].detach() - 0.05 * velocity[name]
        products = {m: given[m] * given[f"{m} s"].view(-1, 1, 1) for m in MODULES}
        return {name: products.get(name, given[name]).detach() for name in self.state}

    def round(self, number: int) -> None:
        cohort = draw_cohort(0, number, 50, 5).clients
        returned = [self.client(c, 5 * (number - 1) + i) for i, c in enumerate(cohort)]
        for name, before in self.state.items():
            if self.averages and name in MODULES:
                self.state[name] = self.mean_of_updates(name, [one[name] for one in returned])
                continue
            g = torch.stack([before - one[name] for one in returned]).mean(dim=0)
            self.state[name] = before - (g if self.averages else self.adam(name, g, number))

    def mean_of_updates(self, module: str, blocks: list[torch.Tensor]) -> torch.Tensor:
        """Return the blocks of the mean of full-size updates: nothing of it is lost by them."""
        ones = torch.ones(self.heads)
        whole = torch.stack([self.update(module, block, ones) for block in blocks]).mean(dim=0)
        b, a = self.bases[module]
        inside, rank = b.T @ whole @ a.T, RANK // self.heads
        kept = torch.stack([
            inside[i * rank : (i + 1) * rank, i * rank : (i + 1) * rank] for i in range(self.heads)
        ])  # fmt: skip
        assert torch.allclose(self.update(module, kept, ones), whole, atol=1e-6)
        return kept

    def adam(self, name: str, g: torch.Tensor, number: int) -> torch.Tensor:
        m, v = self.moments[name]
        m, v = self.moments[name] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        return 5e-3 * (m / (1 - 0.9**number)) / ((v / (1 - 0.999**number)).sqrt() + 1e-8)


@pytest.mark.parametrize(
    ("method", "heads", "factors", "averages"),
    [
        (method_from_name("fed-sb"), 1, False, True),
        (method_from_name("ravan", heads=2), 2, True, False),
    ],
    ids=["fed-sb, mean", "ravan, Adam"],
)
def test_the_product_agrees_with_the_papers_over_ten_rounds(
    paper: NetworkProfile, method: Method, heads: int, factors: bool, averages: bool
):
    torch.set_num_threads(1)
    config = RunConfig.of(load_task("digits"), method, rank=RANK)
    if averages:
        config = config.with_(server={"optimizer": "fedavg", "learning_rate": 1.0})
    learner = SequentialLearner(config, build_flat_model(config, torch.device("cpu")))
    run(config, paper, learner, rounds=10)
    plain = AutoModelForImageClassification.from_pretrained(
        config.task.backbone_path, num_labels=10, local_files_only=True
    ).eval()
    slow = SlowSquares(config, plain, heads, factors, averages)
    for number in range(1, 11):
        slow.round(number)
    ours = learner.snapshot().tensors["P"]
    theirs = torch.cat([slow.state[name].ravel() for name in sorted(slow.state)]).numpy()
    assert np.abs(ours).max() > 0.05
    assert np.abs(ours - theirs).max() < 1e-4
